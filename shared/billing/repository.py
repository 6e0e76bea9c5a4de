"""SQL of a tenant's billing records. In a transaction of that tenant."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, func, select

from shared.billing.models import (
    BillingAdjustment,
    BillingCustomer,
    BillingDispute,
    BillingFraudWarning,
    BillingInvoice,
    BillingRefund,
    BillingSnapshot,
    BillingSubscription,
    DunningNotice,
)
from shared.billing.provider_values import ENDED_DISPUTE_STATUSES
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor

DRAFT, OPEN = "draft", "open"  # statuses of invoices at the provider


async def get_customer(ctx: Ctx, account_id: str) -> BillingCustomer | None:
    """The current customer."""
    statement = (
        select(BillingCustomer)
        .where(BillingCustomer.tenant_id == ctx.tenant_id)
        .where(BillingCustomer.account_id == account_id)
        .order_by(col(BillingCustomer.generation).desc())
        .limit(1)
    )
    return await rows.one(ctx, statement)


async def has_customer(ctx: Ctx, account_id: str, customer_id: str) -> bool:
    """Whether this customer is or was the tenant's."""
    customer = await ctx.session.get(BillingCustomer, (ctx.tenant_id, customer_id))
    return customer is not None and customer.account_id == account_id


async def get_billing_snapshot(ctx: Ctx) -> BillingSnapshot | None:
    statement = select(BillingSnapshot).where(BillingSnapshot.tenant_id == ctx.tenant_id)
    return await rows.one(ctx, statement)


async def list_subscriptions(ctx: Ctx) -> Sequence[BillingSubscription]:
    statement = (
        select(BillingSubscription)
        .where(BillingSubscription.tenant_id == ctx.tenant_id)
        .order_by(col(BillingSubscription.created_at), BillingSubscription.id)
    )
    return await rows.all(ctx, statement)


async def list_customer_subscriptions(ctx: Ctx, customer_id: str) -> Sequence[BillingSubscription]:
    statement = (
        select(BillingSubscription)
        .where(BillingSubscription.tenant_id == ctx.tenant_id)
        .where(BillingSubscription.customer_id == customer_id)
        .order_by(BillingSubscription.id)
    )
    return await rows.all(ctx, statement)


async def list_customer_invoices(ctx: Ctx, customer_id: str) -> Sequence[BillingInvoice]:
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.customer_id == customer_id)
        .order_by(BillingInvoice.id)
    )
    return await rows.all(ctx, statement)


async def list_customer_refunds(ctx: Ctx, customer_id: str) -> Sequence[BillingRefund]:
    statement = (
        select(BillingRefund)
        .where(BillingRefund.tenant_id == ctx.tenant_id)
        .where(BillingRefund.customer_id == customer_id)
        .order_by(BillingRefund.id)
    )
    return await rows.all(ctx, statement)


async def list_customer_disputes(ctx: Ctx, customer_id: str) -> Sequence[BillingDispute]:
    statement = (
        select(BillingDispute)
        .where(BillingDispute.tenant_id == ctx.tenant_id)
        .where(BillingDispute.customer_id == customer_id)
        .order_by(BillingDispute.id)
    )
    return await rows.all(ctx, statement)


async def list_customer_fraud_warnings(ctx: Ctx, customer_id: str) -> Sequence[BillingFraudWarning]:
    statement = (
        select(BillingFraudWarning)
        .where(BillingFraudWarning.tenant_id == ctx.tenant_id)
        .where(BillingFraudWarning.customer_id == customer_id)
        .order_by(BillingFraudWarning.id)
    )
    return await rows.all(ctx, statement)


async def list_actionable_fraud_warnings(ctx: Ctx) -> Sequence[BillingFraudWarning]:
    """Of all customers, the oldest first."""
    statement = (
        select(BillingFraudWarning)
        .where(BillingFraudWarning.tenant_id == ctx.tenant_id)
        .where(col(BillingFraudWarning.is_actionable))
        .order_by(col(BillingFraudWarning.created_at), BillingFraudWarning.id)
    )
    return await rows.all(ctx, statement)


async def list_refunds(ctx: Ctx) -> Sequence[BillingRefund]:
    """Of all customers, the oldest first."""
    statement = (
        select(BillingRefund)
        .where(BillingRefund.tenant_id == ctx.tenant_id)
        .order_by(col(BillingRefund.created_at), BillingRefund.id)
    )
    return await rows.all(ctx, statement)


async def list_open_disputes(ctx: Ctx) -> Sequence[BillingDispute]:
    """Of all customers, the oldest first."""
    statement = (
        select(BillingDispute)
        .where(BillingDispute.tenant_id == ctx.tenant_id)
        .where(col(BillingDispute.status).not_in(ENDED_DISPUTE_STATUSES))
        .order_by(col(BillingDispute.created_at), BillingDispute.id)
    )
    return await rows.all(ctx, statement)


async def lock_adjustment(ctx: Ctx, adjustment_id: str) -> BillingAdjustment | None:
    return await rows.lock(ctx, BillingAdjustment, adjustment_id)


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice | None:
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.id == invoice_id)
        .where(col(BillingInvoice.absent_at).is_(None))
    )
    return await rows.one(ctx, statement)


async def list_invoice_page(ctx: Ctx, *, after: str, limit: int) -> Sequence[BillingInvoice]:
    """Newest first, without drafts. Raises Invalid for a page that doesn't exist."""
    key = (col(BillingInvoice.created_at), col(BillingInvoice.id))
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.status != DRAFT)
        .where(col(BillingInvoice.absent_at).is_(None))
        .where(*after_cursor(key, after, descending=True))
        .order_by(*(column.desc() for column in key))
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def count_invoices(ctx: Ctx) -> int:
    """Of those that `list_invoice_page` lists."""
    statement = (
        select(func.count())
        .select_from(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.status != DRAFT)
        .where(col(BillingInvoice.absent_at).is_(None))
    )
    return (await ctx.session.exec(statement)).one()


async def list_unpaid_invoices(ctx: Ctx) -> Sequence[BillingInvoice]:
    """Drafts and open invoices with an amount due, the oldest first."""
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(col(BillingInvoice.status).in_((DRAFT, OPEN)))
        .where(BillingInvoice.due > 0)
        .where(col(BillingInvoice.absent_at).is_(None))
        .order_by(col(BillingInvoice.created_at), BillingInvoice.id)
    )
    return await rows.all(ctx, statement)


async def list_invoices(ctx: Ctx) -> Sequence[BillingInvoice]:
    """All invoices that the provider has, newest first."""
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(col(BillingInvoice.absent_at).is_(None))
        .order_by(col(BillingInvoice.created_at).desc(), BillingInvoice.id)
    )
    return await rows.all(ctx, statement)


async def list_dunning_notices(ctx: Ctx) -> Sequence[tuple[str, str]]:
    """(kind, about) of sent messages."""
    statement = (
        select(DunningNotice.kind, DunningNotice.about)
        .where(DunningNotice.tenant_id == ctx.tenant_id)
        .order_by(DunningNotice.kind, DunningNotice.about)
    )
    return await rows.all(ctx, statement)


async def add_dunning_notice(ctx: Ctx, kind: str, about: str) -> str | None:
    """Id of the new notice; None where it was sent before.

    Waits for a concurrent transaction that adds the same notice.
    """
    row = DunningNotice(tenant_id=ctx.tenant_id, kind=kind, about=about)
    statement = (
        insert(DunningNotice)
        .values(row.model_dump())
        .on_conflict_do_nothing()
        .returning(col(DunningNotice.id))
    )
    connection = await ctx.session.connection()
    inserted_row = (await connection.execute(statement)).first()
    return str(inserted_row[0]) if inserted_row else None
