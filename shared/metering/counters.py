"""Add what was drawn to its counters. Draws are made with their events, and this runs with each roll-up."""

from collections.abc import Collection, Sequence
from decimal import Decimal

from shared.core.context import Ctx
from shared.metering import counter_repository
from shared.metering.counter_keys import CounterKey
from shared.metering.models import UsageCounter

COUNTERS_AT_ONCE = 100


async def sum_used(ctx: Ctx, keys: Collection[CounterKey]) -> dict[str, Decimal]:
    """By counter, with what waits to be added. It checks no permission."""
    return await counter_repository.sum_used(ctx, keys)


async def list_counters(ctx: Ctx, keys: Collection[CounterKey]) -> Sequence[UsageCounter]:
    """Those of these that exist. It checks no permission."""
    return await counter_repository.list_counters(ctx, [key.id for key in keys])


async def create_drawn(ctx: Ctx) -> list[CounterKey]:
    """The counters that have draws, made where they don't exist. Call it before marks are taken, which it reads."""
    keys = await counter_repository.list_drawn_counters(ctx, COUNTERS_AT_ONCE)
    for key in keys:
        await counter_repository.create_counter(ctx, key)
    return keys


async def add_draws(ctx: Ctx, keys: Collection[CounterKey]) -> None:
    """Needs the lock of the roll-up."""
    if keys:
        await counter_repository.add_drawn(ctx, [key.id for key in keys])
