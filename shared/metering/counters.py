"""Add what was drawn to its counters. Draws are made with their events, and this runs with each roll-up."""

from shared.core.context import Ctx
from shared.metering import allowances, counter_repository
from shared.metering.counter_repository import CounterKey

COUNTERS_AT_ONCE = 100


async def add_draws(ctx: Ctx) -> list[CounterKey]:
    """The counters that were added to. Needs the lock of the roll-up."""
    keys = await counter_repository.list_drawn_counters(ctx, COUNTERS_AT_ONCE)
    if not keys:
        return []
    for key in keys:
        await counter_repository.create_counter(ctx, key)
    await counter_repository.add_drawn(ctx, [key.id for key in keys])
    for source in allowances.SOURCES:
        await source.note_counted(ctx)
    return keys
