"""Seal audit events: give each its place in the hash chain of its tenant, once its transaction has ended.

Events are written without a lock, so their order is decided afterwards: by transaction, time and id, as soon as no
older transaction is still writing. Functions of the database do it; the app's role can call them and write no seal.
The worker seals all tenants; exports and verifications seal one tenant first. Several sealers are harmless: a second
one leaves the work to the first, or waits for it where it needs the seals.
"""

import asyncio

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import sealing_repository as repository
from shared.core import db, log
from shared.core.context import Ctx

INTERVAL_S = 1.0  # an event is sealed within two seconds of the oldest transaction's end
BATCH_SIZE = 20_000  # events in one transaction of the worker
BATCH_SIZE_ON_DEMAND = 5_000


async def seal_tenant(ctx: Ctx) -> int:
    """Seal this tenant's events whose transactions have ended, the oldest first, and return how many.

    At most `BATCH_SIZE_ON_DEMAND`: the worker seals the rest. Other sealers of this tenant wait until the commit.
    """
    await ctx.session.flush()
    return await repository.seal_tenant(ctx.session, BATCH_SIZE_ON_DEMAND)


async def seal_all(session: AsyncSession, batch_size: int = BATCH_SIZE) -> bool:
    """Seal the events of all tenants, at most `batch_size`. True when there may be more.

    Does nothing while another sealer is at work. Needs the app's role, in a transaction without a tenant.
    """
    return await repository.seal_all(session, batch_size)


async def run() -> None:
    """Seal until cancelled. A sealer that dies loses nothing: its transaction is undone, and the next one does it."""
    while True:
        has_more = False
        try:
            async with db.transaction() as session:
                has_more = await seal_all(session)
        except Exception as problem:  # the loop has to survive until the database is back
            log.get_logger(__name__).error("sealing_failed", problem=type(problem).__name__)
        if not has_more:
            await asyncio.sleep(INTERVAL_S)
