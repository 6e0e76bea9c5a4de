"""Meters, as modules declare them in their manifests: what is measured, in which unit, and how its events add up.

`shared.metering` records, adds up and shows it; `shared.billing` sells the meters that have a unit of sale.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from shared.core import registry
from shared.core.registry import Module

# An event of another time is refused. Keys are kept for `KEY_RETENTION`: at least the longest billing period, which is a
# year, and the time for which its last event may be late.
LONGEST_LATE_WINDOW = timedelta(days=34)
KEY_RETENTION = timedelta(days=400)
EVENT_RETENTION = KEY_RETENTION + LONGEST_LATE_WINDOW  # of months of events, after their end


class Aggregation(StrEnum):
    """How the events of a period become one number."""

    SUM = "sum"
    MAX = "max"  # the largest quantity
    LAST = "last"  # the quantity of the latest event
    UNIQUE = "unique"  # how many different subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Raises ValueError for a late window that is longer than `LONGEST_LATE_WINDOW`."""

    key: str  # stored
    title: str
    plural: str  # unit, as in "calls"
    aggregation: Aggregation = Aggregation.SUM
    late_window: timedelta = timedelta(days=30)  # how old an event may be when it arrives
    future_tolerance: timedelta = timedelta(minutes=5)  # how far ahead the clock of its sender may be
    dimensions: tuple[str, ...] = ()  # names that events may carry
    is_open: bool = False  # programs of tenants send its events; else only the platform counts
    per_unit: int = 0  # number in one unit of sale; 0: it isn't sold

    def __post_init__(self) -> None:
        if self.late_window > LONGEST_LATE_WINDOW:
            raise ValueError(
                f"Events of {self.key} could be counted twice: their keys aren’t kept that long."
            )

    @property
    def unit_text(self) -> str:
        """The unit of sale, as in "$0.10 per 1,000 calls"."""
        return self.format_units(1)

    def format_units(self, quantity: int) -> str:
        """`quantity`: in units of sale."""
        return f"{quantity * self.per_unit:,} {self.plural}"


METERS: dict[str, Meter] = {}  # by key, of all manifests, alphabetical


@registry.each_module
def _add_meters(module: Module) -> None:
    meters = {**METERS, **{meter.key: meter for meter in module.meters}}
    METERS.clear()
    METERS.update(sorted(meters.items()))


def is_sold(meter: str) -> bool:
    """Whether the meter exists and has a unit of sale."""
    return meter in METERS and METERS[meter].per_unit > 0


def list_sold() -> list[Meter]:
    return [meter for meter in METERS.values() if is_sold(meter.key)]
