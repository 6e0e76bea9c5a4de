"""SQL of prices."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import Price
from shared.entitlements.models import Plan, PlanVersion


async def list_priced(session: AsyncSession) -> Sequence[tuple[Price, Plan]]:
    statement = (
        select(Price, Plan)
        .join(PlanVersion, col(PlanVersion.id) == col(Price.plan_version_id))
        .join(Plan, col(Plan.id) == col(PlanVersion.plan_id))
    )
    return (await session.exec(statement)).all()
