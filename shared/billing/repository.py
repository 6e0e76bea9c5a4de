"""SQL of what is known about a tenant's billing. In a transaction of that tenant."""

from collections.abc import Sequence

from sqlmodel import col, select

from shared.billing.models import BillingCustomer, BillingInvoice, BillingStanding, BillingSubscription
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
