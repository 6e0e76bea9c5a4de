"""SQL of what is known about a tenant's billing. In a transaction of that tenant."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from shared.billing.models import (
    BillingCustomer,
    BillingInvoice,
    BillingStanding,
    BillingSubscription,
    DunningNotice,
)
from shared.core.ctx import Ctx


async def get_customer(ctx: Ctx, account_id: str) -> BillingCustomer | None:
    statement = (
        select(BillingCustomer)
        .where(BillingCustomer.tenant_id == ctx.tenant_id)
        .where(BillingCustomer.account_id == account_id)
    )
    return (await ctx.session.exec(statement)).first()


async def get_standing(ctx: Ctx) -> BillingStanding | None:
    statement = select(BillingStanding).where(BillingStanding.tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).first()


async def list_subscriptions(ctx: Ctx) -> Sequence[BillingSubscription]:
    statement = (
        select(BillingSubscription)
        .where(BillingSubscription.tenant_id == ctx.tenant_id)
        .order_by(col(BillingSubscription.created_at), BillingSubscription.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_subscriptions_of(ctx: Ctx, customer_id: str) -> Sequence[BillingSubscription]:
    statement = (
        select(BillingSubscription)
        .where(BillingSubscription.tenant_id == ctx.tenant_id)
        .where(BillingSubscription.customer_id == customer_id)
        .order_by(BillingSubscription.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_invoices_of(ctx: Ctx, customer_id: str) -> Sequence[BillingInvoice]:
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(BillingInvoice.customer_id == customer_id)
        .order_by(BillingInvoice.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_invoices(ctx: Ctx) -> Sequence[BillingInvoice]:
    """All that the provider knows, newest first."""
    statement = (
        select(BillingInvoice)
        .where(BillingInvoice.tenant_id == ctx.tenant_id)
        .where(col(BillingInvoice.absent_at).is_(None))
        .order_by(col(BillingInvoice.created_at).desc(), BillingInvoice.id)
    )
    return (await ctx.session.exec(statement)).all()


async def list_notices(ctx: Ctx) -> Sequence[tuple[str, str]]:
    """(kind, about) of what was said."""
    statement = (
        select(DunningNotice.kind, DunningNotice.about)
        .where(DunningNotice.tenant_id == ctx.tenant_id)
        .order_by(DunningNotice.kind, DunningNotice.about)
    )
    return (await ctx.session.exec(statement)).all()


async def add_notice(ctx: Ctx, kind: str, about: str) -> str | None:
    """Its id; None where it was said before. Waits for somebody who is saying it."""
    row = DunningNotice(tenant_id=ctx.tenant_id, kind=kind, about=about)
    statement = (
        insert(DunningNotice)
        .values(row.model_dump())
        .on_conflict_do_nothing()
        .returning(col(DunningNotice.id))
    )
    connection = await ctx.session.connection()
    found = (await connection.execute(statement)).first()
    return str(found[0]) if found else None
