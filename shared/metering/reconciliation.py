"""Compare closed usage with what was emitted and with what the sinks have: nothing is billed that isn't here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.access import policy
from shared.access.meters import METERS, Meter, list_sold
from shared.core.context import Ctx
from shared.metering import emission_repository, emissions, sinks
from shared.metering.actions import USAGE_READ
from shared.metering.models import WindowSize
from shared.metering.months import get_month, get_next_month


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
