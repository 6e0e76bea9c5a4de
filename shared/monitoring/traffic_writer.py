"""Store the traffic of finished minutes: one statement a minute and process, however many requests there were."""

import asyncio

from shared.core import db, log, traffic
from shared.monitoring import traffic_repository as repository

WRITE_INTERVAL_S = 10.0


async def run(role: db.DatabaseRole = "app") -> None:
    """A lifespan task: stores what this process counts until it is cancelled."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await store_minutes(role)
    finally:
        await store_minutes(role, also_current=True)


async def store_minutes(role: db.DatabaseRole = "app", *, also_current: bool = False) -> None:
    """Minutes that can't be stored now are stored later. `also_current`: the running one too, at the end."""
    if not (minutes := traffic.take_minutes(also_current=also_current)):
        return
    try:
        async with db.transaction(role) as session:
            await repository.record_minutes(session, minutes)
    except BaseException as problem:  # the writer has to survive until the database is back
        traffic.put_back(minutes)
        if not isinstance(problem, Exception):
            raise
        log.get_logger(__name__).warning("traffic_not_stored", problem=type(problem).__name__)
