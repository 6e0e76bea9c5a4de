"""SQL of automatic top-ups. In a transaction of the tenant."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import BillingDispute, TopUp, TopUpSetting
from shared.billing.provider_values import PAUSING_DISPUTE_STATUSES
from shared.core import rows
from shared.core.context import Ctx

REQUESTED, PAID, FAILED = "requested", "paid", "failed"  # states of a top-up


async def get_setting(ctx: Ctx) -> TopUpSetting | None:
    return await rows.one(ctx, select(TopUpSetting).where(TopUpSetting.tenant_id == ctx.tenant_id))


async def lock_setting(session: AsyncSession, tenant_id: str) -> TopUpSetting | None:
    """Serialises requests: a second one waits, and then sees the first."""
    statement = (
        select(TopUpSetting)
        .where(TopUpSetting.tenant_id == tenant_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.exec(statement)).first()


async def find_open_top_up(session: AsyncSession, tenant_id: str) -> TopUp | None:
    statement = select(TopUp).where(TopUp.tenant_id == tenant_id, TopUp.state == REQUESTED)
    return (await session.exec(statement)).first()


async def has_collection_dispute(session: AsyncSession, tenant_id: str) -> bool:
    """Whether a payment is disputed, so that nothing else is charged."""
    statement = (
        select(BillingDispute.id)
        .where(BillingDispute.tenant_id == tenant_id)
        .where(col(BillingDispute.status).in_(PAUSING_DISPUTE_STATUSES))
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None


async def sum_since(session: AsyncSession, tenant_id: str, since: datetime) -> int:
    """Of requested and paid top-ups."""
    statement = (
        select(sa.func.coalesce(sa.func.sum(TopUp.amount), 0))
        .where(TopUp.tenant_id == tenant_id)
        .where(TopUp.state != FAILED)
        .where(TopUp.created_at >= since)
    )
    return int((await session.exec(statement)).one())


async def list_unpaid_ids(ctx: Ctx, top_up_ids: Sequence[str]) -> Sequence[str]:
    """Those of these top-ups that are requested or failed."""
    statement = (
        select(TopUp.id)
        .where(TopUp.tenant_id == ctx.tenant_id)
        .where(TopUp.state != PAID)
        .where(col(TopUp.id).in_(top_up_ids))
        .order_by(TopUp.id)
    )
    return await rows.all(ctx, statement)


async def lock_top_up(ctx: Ctx, top_up_id: str) -> TopUp | None:
    return await rows.lock(ctx, TopUp, top_up_id)
