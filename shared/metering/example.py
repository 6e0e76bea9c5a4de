"""Example rows of metering: an hour that was closed, a late event that changed it, and an event that waits."""

from datetime import timedelta

from shared.core.context import Ctx
from shared.core.db import now
from shared.metering import rollups, usage

METER = "api_calls"


async def create_example(ctx: Ctx) -> None:
    hour = now() - timedelta(hours=3)
    for key, quantity in (("example-1", 20), ("example-late", 1)):
        await usage.record(ctx, METER, key, quantity=quantity, occurred_at=hour)
        await rollups.roll_up(ctx)
    await usage.record(ctx, METER, "example-waiting", occurred_at=hour)
