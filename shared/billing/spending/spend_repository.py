"""SQL of the amount that a tenant may spend on metered use."""

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import SpendLimit
from shared.core import rows
from shared.core.context import Ctx

ROW_ID = "limit"


async def find_limit(session: AsyncSession, tenant_id: str) -> SpendLimit | None:
    return (await session.exec(select(SpendLimit).where(SpendLimit.tenant_id == tenant_id))).first()


async def lock_limit(ctx: Ctx) -> SpendLimit | None:
    return await rows.lock(ctx, SpendLimit, ROW_ID)
