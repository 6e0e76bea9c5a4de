"""SQL of orders to the provider. In a transaction of the tenant."""

from collections.abc import Sequence

from sqlmodel import col, select

from shared.billing.models import BillingInvoice, BillingOrder, BillingOrderKind, BillingOrderState
from shared.core import rows
from shared.core.context import Ctx


async def get_order(ctx: Ctx, order_id: str) -> BillingOrder | None:
    return await ctx.session.get(BillingOrder, (ctx.tenant_id, order_id))


async def lock_order(ctx: Ctx, order_id: str) -> BillingOrder | None:
    return await rows.lock(ctx, BillingOrder, order_id)


async def find_open_order(ctx: Ctx, kind: BillingOrderKind, subject_id: str) -> BillingOrder | None:
    statement = (
        select(BillingOrder)
        .where(BillingOrder.tenant_id == ctx.tenant_id)
        .where(BillingOrder.kind == kind)
        .where(BillingOrder.subject_id == subject_id)
        .where(BillingOrder.state == BillingOrderState.REQUESTED)
    )
    return await rows.one(ctx, statement)


async def list_orders(ctx: Ctx, limit: int) -> Sequence[BillingOrder]:
    """The newest first."""
    statement = (
        select(BillingOrder)
        .where(BillingOrder.tenant_id == ctx.tenant_id)
        .order_by(col(BillingOrder.created_at).desc(), BillingOrder.id)
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice | None:
    return await ctx.session.get(BillingInvoice, (ctx.tenant_id, invoice_id))
