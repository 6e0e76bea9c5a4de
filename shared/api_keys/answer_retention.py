"""Delete kept answers after their day, including those of tenants that send no further request."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.api_keys import idempotency
from shared.api_keys import idempotency_repository as repository
from shared.core import request_ids
from shared.core.db import now
from shared.tenancy import cleaning, entry

TASK = "api_keys.delete_old_answers"
ROUND_SIZE = 1_000  # answers of one tenant in one round
INTERVAL_S = 600.0


async def run() -> None:
    """Until cancelled."""
    await cleaning.run_rounds(find_next, clean_tenant, interval_s=INTERVAL_S)


async def find_next(session: AsyncSession, former_tenant_id: str) -> str:
    """The tenant after this one that has something to delete; "" for none."""
    return await repository.find_next_with_old_answers(session, former_tenant_id)


async def clean_tenant(tenant_id: str) -> bool:
    """At most `ROUND_SIZE`. True where there may be more."""
    async with entry.enter_cleaning(tenant_id, TASK, request_ids.current()) as ctx:
        count = await repository.delete_expired(ctx, before=now() - idempotency.RETENTION, limit=ROUND_SIZE)
    return count == ROUND_SIZE
