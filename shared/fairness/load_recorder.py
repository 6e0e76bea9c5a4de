"""Record what this process counted of each tenant, once a minute and in one statement for all of them.

A killed process loses a minute. A request writes nothing for this.
"""

import asyncio

from shared.core import db, log, tenant_load
from shared.fairness import load_repository as repository

WRITE_INTERVAL_S = 60.0


async def record() -> None:
    """What can't be recorded now is kept."""
    loads = tenant_load.take_loads()
    if not loads:
        return
    try:
        async with db.transaction() as session:
            await repository.record_loads(session, loads)
    except Exception as problem:  # counting must not break what was counted
        tenant_load.put_back(loads)
        log.get_logger(__name__).exception("loads_not_recorded", problem=type(problem).__name__)


async def run_writer() -> None:
    """A lifespan task of the tenant app and the worker. Records the rest at shutdown."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await record()
    finally:
        await record()
