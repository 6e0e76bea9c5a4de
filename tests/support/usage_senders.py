"""A process that sends usage and adds it up until it is killed. It says which batches were acknowledged."""

import asyncio
from datetime import datetime, timedelta

from shared import modules
from shared.core import db
from shared.metering import rollups, usage
from shared.tenancy import entry

METER = "usage_events"
BATCH_SIZE = 7
SPAN_HOURS = 5


def build_items(batch: int, first_hour: datetime) -> list[dict[str, object]]:
    """The same each time."""
    return [
        {
            "meter": METER,
            "idempotency_key": f"{batch}-{number}",
            "quantity": number,
            "occurred_at": (first_hour + timedelta(hours=(batch + number) % SPAN_HOURS)).isoformat(),
        }
        for number in range(BATCH_SIZE)
    ]


def send_until_killed(tenant_id: str, first_hour: str, first_batch: str) -> None:
    """Prints the number of each batch after its commit; adds up after each."""
    modules.load()
    asyncio.run(_send(tenant_id, datetime.fromisoformat(first_hour), int(first_batch)))


async def _send(tenant_id: str, first_hour: datetime, batch: int) -> None:
    try:
        while True:
            await send(tenant_id, build_items(batch, first_hour))
            print(batch, flush=True)
            batch += 1
            async with entry.enter_job(tenant_id, rollups.TASK, "") as ctx:
                await rollups.roll_up(ctx)
    finally:
        await db.dispose()


async def send(tenant_id: str, items: list[dict[str, object]]) -> int:
    """How many were new."""
    async with entry.enter_job(tenant_id, "metering.test", "") as ctx:
        results = await usage.ingest(ctx, items)
    return sum(result.status is usage.ItemStatus.ACCEPTED for result in results)
