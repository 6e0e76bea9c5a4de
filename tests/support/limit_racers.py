"""Processes that ask for the last unit of a limit at once."""

import asyncio
import sys
from collections.abc import Sequence

from shared import modules
from shared.core import db
from shared.metering import usage
from shared.metering.usage import ItemStatus
from shared.tenancy import entry

METER = "usage_events"
CALLS_AT_ONCE = 6  # of one process: opening more connections takes longer than waiting for one


def race(name: str, calls: str) -> None:
    """For each line "TENANT ROUND": send as many events at once, and print how many were accepted. Ends with its input."""
    modules.load()
    asyncio.run(_race(name, int(calls)))


async def _race(name: str, calls: int) -> None:
    places = asyncio.Semaphore(CALLS_AT_ONCE)
    print("ready", flush=True)
    try:
        while line := (await asyncio.to_thread(sys.stdin.readline)).split():
            results = await asyncio.gather(
                *(_send(places, line[0], f"{name}-{line[1]}-{call}") for call in range(calls))
            )
            print(sum(results), flush=True)
    finally:
        await db.dispose()


async def _send(places: asyncio.Semaphore, tenant_id: str, key: str) -> bool:
    items: Sequence[dict[str, object]] = [{"meter": METER, "idempotency_key": key, "quantity": 1}]
    async with places, entry.enter_job(tenant_id, "metering.test", "") as ctx:
        (result,) = await usage.ingest(ctx, items)
    return result.status is ItemStatus.ACCEPTED
