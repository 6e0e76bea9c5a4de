"""SQL of prepaid credits. In a transaction of the tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm.attributes import set_committed_value
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingDispute, BillingInvoice, BillingRefund, PrepaidEntry, PrepaidGrant
from shared.billing.provider_values import FAILED_REFUND_STATUSES, WITHDRAWN_DISPUTE_STATUSES
from shared.core import rows
from shared.core.context import Ctx
from shared.core.errors import Conflict


class Reversal(NamedTuple):
    """Money that went back to the customer, or that their bank holds. `paid`: the total of the invoice, with tax."""

    grant_id: str
    paid: int
    reversed: int


async def list_grants(ctx: Ctx) -> Sequence[PrepaidGrant]:
    """All grants, the oldest first."""
    statement = (
        select(PrepaidGrant)
        .where(PrepaidGrant.tenant_id == ctx.tenant_id)
        .order_by(col(PrepaidGrant.created_at), PrepaidGrant.id)
    )
    return await rows.all(ctx, statement)


async def list_entries(ctx: Ctx, limit: int) -> Sequence[PrepaidEntry]:
    """The newest entries first."""
    statement = (
        select(PrepaidEntry)
        .where(PrepaidEntry.tenant_id == ctx.tenant_id)
        .order_by(col(PrepaidEntry.at).desc(), col(PrepaidEntry.id).desc())
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_last_kinds(ctx: Ctx) -> dict[str, str]:
    """The kind of the last entry of each grant with nothing left, by the grant's id."""
    last_kind = (
        select(PrepaidEntry.kind)
        .where(PrepaidEntry.tenant_id == PrepaidGrant.tenant_id)
        .where(PrepaidEntry.grant_id == PrepaidGrant.id)
        .order_by(col(PrepaidEntry.at).desc(), col(PrepaidEntry.id).desc())
        .limit(1)
        .correlate(PrepaidGrant)
        .scalar_subquery()
    )
    statement = select(PrepaidGrant.id, last_kind).where(
        PrepaidGrant.tenant_id == ctx.tenant_id, PrepaidGrant.remaining == 0
    )
    return dict(await rows.all(ctx, statement))


async def get_grant(ctx: Ctx, grant_id: str) -> PrepaidGrant | None:
    return await ctx.session.get(PrepaidGrant, (ctx.tenant_id, grant_id))


async def lock_grant(ctx: Ctx, grant_id: str) -> PrepaidGrant | None:
    return await rows.lock(ctx, PrepaidGrant, grant_id)


async def lock_usable_grants(session: AsyncSession, tenant_id: str) -> Sequence[PrepaidGrant]:
    """The grants with something left, as they are now, locked in one order until the transaction ends."""
    statement = (
        select(PrepaidGrant)
        .where(PrepaidGrant.tenant_id == tenant_id)
        .where(PrepaidGrant.remaining > 0)
        .order_by(col(PrepaidGrant.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.exec(statement)).all()


async def list_usable_grants(session: AsyncSession, tenant_id: str) -> Sequence[PrepaidGrant]:
    """The grants with something left, expired ones included."""
    statement = select(PrepaidGrant).where(PrepaidGrant.tenant_id == tenant_id, PrepaidGrant.remaining > 0)
    return (await session.exec(statement)).all()


async def lock_expired_grants(ctx: Ctx, expired_before: datetime) -> Sequence[PrepaidGrant]:
    statement = (
        select(PrepaidGrant)
        .where(PrepaidGrant.tenant_id == ctx.tenant_id)
        .where(PrepaidGrant.remaining > 0)
        .where(col(PrepaidGrant.expires_at) <= expired_before)
        .order_by(col(PrepaidGrant.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return await rows.all(ctx, statement)


async def take(session: AsyncSession, grant: PrepaidGrant, amount: int) -> None:
    """Takes an amount from a grant. Raises Conflict where less is left, which callers who hold the lock never see."""
    statement = (
        update(PrepaidGrant)
        .where(
            col(PrepaidGrant.tenant_id) == grant.tenant_id,
            col(PrepaidGrant.id) == grant.id,
            col(PrepaidGrant.remaining) >= amount,
        )
        .values(remaining=col(PrepaidGrant.remaining) - amount)
        .execution_options(synchronize_session=False)
    )
    if (await session.exec(statement)).rowcount != 1:
        raise Conflict("These credits were used meanwhile.", "Try again.")
    set_committed_value(grant, "remaining", grant.remaining - amount)


async def give_back(session: AsyncSession, grant: PrepaidGrant, amount: int) -> None:
    """Returns to a grant what was taken from it. The caller holds its lock; the database refuses more than was granted."""
    statement = (
        update(PrepaidGrant)
        .where(col(PrepaidGrant.tenant_id) == grant.tenant_id, col(PrepaidGrant.id) == grant.id)
        .values(remaining=col(PrepaidGrant.remaining) + amount)
        .execution_options(synchronize_session=False)
    )
    await session.exec(statement)
    set_committed_value(grant, "remaining", grant.remaining + amount)


async def list_reversals(ctx: Ctx) -> Sequence[Reversal]:
    """Of grants whose payment was refunded or disputed: those sums, without failed refunds and disputes that were won."""
    refunds = (
        select(BillingRefund.invoice_id, BillingRefund.amount)
        .where(BillingRefund.tenant_id == ctx.tenant_id)
        .where(col(BillingRefund.status).not_in(FAILED_REFUND_STATUSES))
    )
    disputes = (
        select(BillingDispute.invoice_id, BillingDispute.amount)
        .where(BillingDispute.tenant_id == ctx.tenant_id)
        .where(col(BillingDispute.status).in_(WITHDRAWN_DISPUTE_STATUSES))
    )
    reversals = sa.union_all(refunds, disputes).subquery()
    invoice = sa.and_(
        col(BillingInvoice.tenant_id) == PrepaidGrant.tenant_id,
        col(BillingInvoice.id) == PrepaidGrant.invoice_id,
    )
    statement = (
        select(
            PrepaidGrant.id,
            sa.func.coalesce(BillingInvoice.total, PrepaidGrant.amount),
            sa.func.sum(reversals.c.amount),
        )
        .join(reversals, reversals.c.invoice_id == col(PrepaidGrant.invoice_id))
        .outerjoin(BillingInvoice, invoice)
        .where(PrepaidGrant.tenant_id == ctx.tenant_id, PrepaidGrant.invoice_id != "")
        .group_by(col(PrepaidGrant.id), col(PrepaidGrant.amount), col(BillingInvoice.total))
        .order_by(col(PrepaidGrant.id))
    )
    return [
        Reversal(grant_id, total, int(amount)) for grant_id, total, amount in await rows.all(ctx, statement)
    ]


async def list_entry_sums(ctx: Ctx, kinds: Sequence[str]) -> dict[str, int]:
    """The sum of the entries of these kinds, by grant."""
    statement = (
        select(PrepaidEntry.grant_id, sa.func.sum(PrepaidEntry.amount))
        .where(PrepaidEntry.tenant_id == ctx.tenant_id)
        .where(col(PrepaidEntry.kind).in_(kinds))
        .group_by(col(PrepaidEntry.grant_id))
    )
    return {grant_id: int(amount) for grant_id, amount in await rows.all(ctx, statement)}
