"""What a price of ours stands for."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import prices_repository as repository
from shared.billing.course import Priced


async def priced(session: AsyncSession) -> dict[str, Priced]:
    return {
        price.id: Priced(price.plan_version_id, plan.kind == "addon", price.kind == "seat", plan.position)
        for price, plan in await repository.list_priced(session)
    }
