"""SQL of adjustments. In a transaction of the tenant."""

from collections.abc import Sequence

from sqlalchemy import exists, func
from sqlmodel import col, select

from shared.billing.models import (
    BillingAdjustment,
    BillingDispute,
    BillingInvoice,
    BillingRefund,
    BillingSnapshot,
)
from shared.billing.provider_values import FAILED_REFUND_STATUSES
from shared.core import rows
from shared.core.context import Ctx


async def get_adjustment(ctx: Ctx, adjustment_id: str) -> BillingAdjustment | None:
    return await ctx.session.get(BillingAdjustment, (ctx.tenant_id, adjustment_id))


async def lock_adjustment(ctx: Ctx, adjustment_id: str) -> BillingAdjustment | None:
    return await rows.lock(ctx, BillingAdjustment, adjustment_id)


async def list_adjustments(ctx: Ctx, limit: int) -> Sequence[BillingAdjustment]:
    statement = (
        select(BillingAdjustment)
        .where(BillingAdjustment.tenant_id == ctx.tenant_id)
        .order_by(col(BillingAdjustment.created_at).desc(), BillingAdjustment.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_refunds(ctx: Ctx) -> Sequence[BillingRefund]:
    statement = (
        select(BillingRefund)
        .where(BillingRefund.tenant_id == ctx.tenant_id)
        .where(BillingRefund.adjustment_id != "")
        .order_by(BillingRefund.id)
    )
    return await rows.all(ctx, statement)


async def sum_refunded(ctx: Ctx, invoice_id: str) -> int:
    """The sum of completed and requested refunds of an invoice."""
    statement = (
        select(func.coalesce(func.sum(BillingAdjustment.amount), 0))
        .where(BillingAdjustment.tenant_id == ctx.tenant_id)
        .where(BillingAdjustment.invoice_id == invoice_id)
        .where(BillingAdjustment.kind == "refund")
        .where(BillingAdjustment.state != "failed")
    )
    return int((await ctx.session.exec(statement)).one())


async def sum_refunded_at_provider(ctx: Ctx, invoice_id: str) -> int:
    """The sum of refunds of an invoice beside those of `sum_refunded`: made at the provider without an adjustment, or as
    the part of a failed adjustment that didn't fail.
    """
    is_counted_there = exists().where(
        col(BillingAdjustment.tenant_id) == BillingRefund.tenant_id,
        col(BillingAdjustment.id) == BillingRefund.adjustment_id,
        col(BillingAdjustment.state) != "failed",
    )
    statement = (
        select(func.coalesce(func.sum(BillingRefund.amount), 0))
        .where(BillingRefund.tenant_id == ctx.tenant_id)
        .where(BillingRefund.invoice_id == invoice_id)
        .where(~is_counted_there)
        .where(col(BillingRefund.status).not_in(FAILED_REFUND_STATUSES))
    )
    return int((await ctx.session.exec(statement)).one())


async def find_blocking_dispute(ctx: Ctx, invoice_id: str) -> BillingDispute | None:
    """A dispute of the invoice's payment that forbids refunds: open, or lost. The newest one."""
    statement = (
        select(BillingDispute)
        .where(BillingDispute.tenant_id == ctx.tenant_id)
        .where(BillingDispute.invoice_id == invoice_id)
        .where(col(BillingDispute.status).not_in(("won", "warning_closed")))
        .where(~col(BillingDispute.is_refundable))
        .order_by(col(BillingDispute.created_at).desc(), BillingDispute.id)
        .limit(1)
    )
    return await rows.one(ctx, statement)


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice | None:
    return await ctx.session.get(BillingInvoice, (ctx.tenant_id, invoice_id))


async def list_paid_invoices(ctx: Ctx, subscription_id: str) -> Sequence[BillingInvoice]:
    """Invoices of a subscription with a payment, newest first."""
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.subscription_id == subscription_id)
        .where(BillingInvoice.paid > 0)
        .order_by(col(BillingInvoice.created_at).desc(), BillingInvoice.id)
    )
    return await rows.all(ctx, statement)


async def get_currency(ctx: Ctx) -> str:
    """The currency in which the tenant pays; "" while it is unknown."""
    statement = select(BillingSnapshot.currency).where(BillingSnapshot.tenant_id == ctx.tenant_id)
    return await rows.one(ctx, statement) or ""
