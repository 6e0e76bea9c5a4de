"""Delete what is over, tenant after tenant: so much of each in a round, so that none makes the others wait.

The worker runs it beside the queue. Suspended and deleted tenants are included. Where one fails, the round goes on with the
next, and the next round tries again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db, log, request_ids

FindNext = Callable[
    [AsyncSession, str], Awaitable[str]
]  # the tenant after this one that has something, or ""
CleanTenant = Callable[[str], Awaitable[bool]]  # of this tenant; True where there is more than a round takes


async def clean_tenants(find_next: FindNext, clean_tenant: CleanTenant) -> bool:
    """One round over all tenants. True where one of them has more. A failure is reported and ends nothing."""
    tenant_id, has_more = "", False
    while True:
        async with db.transaction() as session:
            tenant_id = await find_next(session, tenant_id)
        if not tenant_id:
            return has_more
        request_ids.begin()
        try:
            has_more |= await clean_tenant(tenant_id)
        except Exception as problem:
            log.get_logger(__name__).error(
                "tenant_not_cleaned", tenant_id=tenant_id, problem=type(problem).__name__
            )


async def run_rounds(find_next: FindNext, clean_tenant: CleanTenant, *, interval_s: float) -> None:
    """Until cancelled. A round that leaves something is followed by another one at once."""
    while True:
        has_more = False
        try:
            has_more = await clean_tenants(find_next, clean_tenant)
        except Exception as problem:  # the loop has to survive until the database is back
            log.get_logger(__name__).error("round_failed", problem=type(problem).__name__)
        await asyncio.sleep(0 if has_more else interval_s)
