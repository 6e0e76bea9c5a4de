"""Emit closed windows to the sinks, in whole units of sale. The remainder is carried to the next window.

A window that changed after its emission is emitted again with its next revision, for the difference only. The record of
an emission and what the sinks store are one transaction, so neither is without the other.
"""

from decimal import Decimal

from shared.access.meters import METERS, Aggregation, is_sold
from shared.core.context import Ctx
from shared.metering import emission_repository, rollup_repository, sinks
from shared.metering.models import UsageEmission, UsageWindow, WindowSize
from shared.metering.sinks import ClosedUsage


async def emit_closed(ctx: Ctx, *, limit: int) -> int:
    """Returns how many windows were settled: emitted, or not for sale. Needs the lock of the roll-up."""
    windows = await rollup_repository.list_unsettled(ctx, limit)
    if not windows:
        return 0
    last = await emission_repository.list_last(
        ctx, {window.meter for window in windows if is_sold(window.meter)}
    )
    for window in windows:
        if not is_emitted(window.meter, window.size):
            continue
        last[window.meter] = emission = build_emission(window, last.get(window.meter))
        ctx.session.add(emission)
        if emission.units:
            await _send(ctx, emission)
    await ctx.session.flush()
    await rollup_repository.settle_windows(ctx, [window.id for window in windows])
    return len(windows)


def is_emitted(meter: str, size: WindowSize) -> bool:
    """Whether windows of this size are for sale.

    Sums leave by the hour. The others leave as one number for the month, because their hours don't add up.
    """
    if not is_sold(meter):
        return False
    return (size is WindowSize.HOUR) == (METERS[meter].aggregation is Aggregation.SUM)


def build_emission(window: UsageWindow, last: UsageEmission | None) -> UsageEmission:
    """`last`: of the same meter. What became less is carried too, and lowers what follows."""
    gained = window.quantity - window.settled
    carried_in = last.carried_out if last is not None else Decimal(0)
    units, carried_out = split_units(window.meter, carried_in + gained)
    return UsageEmission(
        tenant_id=window.tenant_id,
        id=f"{window.id}:{window.revision}",
        window_id=window.id,
        meter=window.meter,
        starts_at=window.starts_at,
        seq=last.seq + 1 if last is not None else 1,
        quantity=gained,
        carried_in=carried_in,
        units=units,
        carried_out=carried_out,
    )


def split_units(meter: str, quantity: Decimal) -> tuple[int, Decimal]:
    """Whole units of sale, and what is carried; a quantity below zero is carried and lowers what follows."""
    per_unit = METERS[meter].per_unit
    units = max(0, int(quantity // per_unit))
    return units, quantity - units * per_unit


async def _send(ctx: Ctx, emission: UsageEmission) -> None:
    usage = ClosedUsage(
        meter=emission.meter, starts_at=emission.starts_at, units=emission.units, identifier=emission.id
    )
    for sink in sinks.SINKS:
        await sink.emit(ctx, usage)
