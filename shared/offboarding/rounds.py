"""What runs beside the queue."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import request_ids
from shared.offboarding import deletion_repository, deletions
from shared.tenancy import cleaning, entry

DELETE_TASK = "tenant.delete_due"
INTERVAL_S = 60.0


async def run_deletions() -> None:
    """Delete the tenants whose grace period is over, until cancelled."""
    await cleaning.run_rounds(find_next, delete_due, interval_s=INTERVAL_S)


async def find_next(session: AsyncSession, former_tenant_id: str) -> str:
    return await deletion_repository.find_next_due_tenant(session, former_tenant_id)


async def delete_due(tenant_id: str) -> bool:
    """False: nothing of it is left for the same round."""
    async with entry.enter_cleaning(tenant_id, DELETE_TASK, request_ids.current()) as ctx:
        await deletions.finish(ctx)
    return False
