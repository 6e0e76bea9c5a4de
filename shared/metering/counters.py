"""Add what was drawn to its counters, and what corrections change. Draws are made with their events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from shared.core.context import Ctx
from shared.metering import allowances, counter_repository
from shared.metering.allowances import Allowance
from shared.metering.counter_keys import CounterKey
from shared.metering.models import UsageCounter
from shared.metering.reservations import Exceeded

COUNTERS_AT_ONCE = 100


async def sum_used(ctx: Ctx, keys: Collection[CounterKey], *, is_current: bool = True) -> dict[str, Decimal]:
    """By counter, with what waits to be added. It checks no permission.

    `is_current` False: the counters didn't count for a while, so what was recorded is summed.
    """
    return await counter_repository.sum_used(ctx, keys, is_current=is_current)


async def begin_again(ctx: Ctx, keys: Collection[CounterKey]) -> None:
    """After a while in which these didn't count. It checks no permission."""
    await counter_repository.begin_again(ctx, keys)


async def list_counters(ctx: Ctx, keys: Collection[CounterKey]) -> Sequence[UsageCounter]:
    """Those of these that exist. It checks no permission."""
    return await counter_repository.list_counters(ctx, [key.id for key in keys])


async def add_up(
    ctx: Ctx, gained: Mapping[tuple[str, datetime], Decimal], *, is_limited: bool
) -> Collection[CounterKey]:
    """Add what was drawn, and what a correction has gained or lost by meter and month. Returns the counters with draws.

    Call it when all marks that were taken are recomputed: a new counter begins with the aggregates. `is_limited`: a
    hard limit holds for the correction. Needs the lock of the roll-up. Raises Exceeded.
    """
    keys = await counter_repository.list_drawn_counters(ctx, COUNTERS_AT_ONCE)
    new_ids = {key.id for key in keys if await counter_repository.create_counter(ctx, key)}
    if keys:
        await counter_repository.add_drawn(ctx, [key.id for key in keys])
    if any(gained.values()):
        await _change_counters(ctx, gained, new_ids, is_limited=is_limited)
    return keys


async def _change_counters(
    ctx: Ctx,
    gained: Mapping[tuple[str, datetime], Decimal],
    new_ids: set[str],
    *,
    is_limited: bool,
) -> None:
    """`new_ids`: of counters that contain it already. Raises Exceeded."""
    budget = await allowances.find_budget(ctx.tenant_id, ctx.session)
    for (meter, month), quantity in sorted(gained.items()):
        for allowance in allowances.list_allowances(ctx.rights, meter, month, budget):
            key = allowance.key
            if key.id not in new_ids and not await counter_repository.create_counter(ctx, key):
                await counter_repository.change_counter(ctx, key.id, quantity)
            if is_limited and allowance.is_hard and quantity > 0:
                await _require_room(ctx, allowance, quantity)


async def _require_room(ctx: Ctx, allowance: Allowance, quantity: Decimal) -> None:
    """For what was added to its counter already. Raises Exceeded."""
    key, budget, allowed = allowance.key, allowance.budget, allowance.amount
    keys = [key] if budget is None else budget.list_keys()
    states = await counter_repository.read_counters(ctx, [each.id for each in keys])
    if budget is not None:
        allowed = budget.get_room(key.meter, {state.meter: state.claimed for state in states.values()})
    state = states[key.id]
    if allowed is not None and state.claimed > allowed:
        room = max(Decimal(0), allowed - state.claimed + quantity)
        raise Exceeded(allowance, used=state.used - quantity, allowed=allowed, room=room)
