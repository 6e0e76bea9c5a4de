"""Compare closed usage with what was emitted and with what the sinks have: nothing is billed that isn't here."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.access import policy
from shared.access.meters import METERS, Meter, list_sold
from shared.core.context import Ctx
from shared.metering import emission_repository, emissions, sinks
from shared.metering.actions import USAGE_READ
from shared.metering.models import UsageEmission, WindowSize
from shared.metering.months import get_month, get_next_month
from shared.metering.sinks import ReceivedUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkComparison:
    """One sold meter in one month. Quantities are in the unit of the meter, units are units of sale."""

    meter: Meter
    closed_quantity: Decimal
    emitted_quantity: Decimal
    carried: Decimal  # by how much the remainder grew: emitted_quantity less the emitted units
    emitted_units: int
    received_units: int  # by the sinks
    confirmed_units: int  # by whoever bills, or free
    is_billed: bool = True  # False for test tenants, whose usage costs nothing

    @property
    def is_equal(self) -> bool:
        return (
            self.closed_quantity == self.emitted_quantity
            and self.emitted_quantity == self.emitted_units * self.meter.per_unit + self.carried
            and self.received_units == (self.emitted_units if self.is_billed else 0)
        )


async def compare_month(ctx: Ctx, at: datetime) -> Sequence[SinkComparison]:
    """For each sold meter. `at`: a moment of the month. Raises Refused."""
    policy.require(ctx, USAGE_READ)
    month = get_month(at)
    return [await _compare(ctx, METERS[meter.key], month) for meter in list_sold()]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowComparison:
    """One emission of one window, with what became of it. `received_units`: None where nothing had to leave."""

    emission: UsageEmission
    received_units: int | None
    is_confirmed: bool

    @property
    def is_equal(self) -> bool:
        """The carry adds up, and the sinks have what left."""
        emission = self.emission
        per_unit = METERS[emission.meter].per_unit
        adds_up = emission.carried_in + emission.quantity == emission.units * per_unit + emission.carried_out
        return adds_up and self.received_units in (None, emission.units)


async def list_window_comparisons(
    ctx: Ctx, meter: str, at: datetime, *, limit: int = 100
) -> Sequence[WindowComparison]:
    """Of one meter in the month of `at`, the latest windows first. Raises Refused."""
    policy.require(ctx, USAGE_READ)
    month = get_month(at)
    rows = await emission_repository.list_emissions(
        ctx, meter, since=month, until=get_next_month(month), limit=limit
    )
    identifiers = [row.id for row in rows if row.units]
    received = defaultdict[str, list[ReceivedUsage]](list)
    for sink in sinks.SINKS:
        for identifier, usage in (await sink.list_received(ctx, identifiers)).items():
            received[identifier].append(usage)
    return [
        WindowComparison(
            emission=row,
            received_units=sum(usage.units for usage in received[row.id])
            if row.units and not ctx.is_test
            else None,
            is_confirmed=sum(usage.confirmed_units for usage in received[row.id]) >= row.units,
        )
        for row in rows
    ]


async def _compare(ctx: Ctx, meter: Meter, month: datetime) -> SinkComparison:
    end = get_next_month(month)
    size = next(size for size in WindowSize if emissions.is_emitted(meter.key, size))
    quantity, carried, units = await emission_repository.sum_emitted(ctx, meter.key, since=month, until=end)
    received = [await sink.read_back(ctx, meter.key, since=month, until=end) for sink in sinks.SINKS]
    return SinkComparison(
        meter=meter,
        closed_quantity=await emission_repository.sum_closed(ctx, meter.key, size, since=month, until=end),
        emitted_quantity=quantity,
        carried=carried,
        emitted_units=units,
        received_units=sum(each.units for each in received),
        confirmed_units=sum(each.confirmed_units for each in received),
        is_billed=not ctx.is_test,
    )
