"""Learn which tenants operators throttle: each process asks every two seconds, so a change holds within seconds.

A process that can't ask keeps what it knows; a throttle that is over ends by its own time.
"""

import asyncio

from shared.core import db, live_events, log, tenant_limits
from shared.core.tenant_limits import Throttle
from shared.fairness import load_repository as repository

INTERVAL_S = 2.0
_known: dict[str, Throttle] = {}


async def refresh() -> None:
    """Read them, and let the pages of tenants load again where something has changed: they show a banner."""
    global _known
    async with db.transaction() as session:
        throttles = await repository.list_throttles(session)
        changed = {tenant_id for tenant_id, _ in _known.items() ^ throttles.items()}
        tenant_limits.set_throttles(throttles)
        _known = throttles
        for tenant_id in sorted(changed):
            await live_events.refresh_pages(session, tenant_id, "tenant")


async def run() -> None:
    """A lifespan task of the tenant app and the worker."""
    while True:
        try:
            await refresh()
        except Exception as problem:
            log.get_logger(__name__).error("throttles_not_read", problem=type(problem).__name__)
        await asyncio.sleep(INTERVAL_S)
