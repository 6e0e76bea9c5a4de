"""What a correction would change, as its preview shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.metering.models import WindowSize


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEffect:
    """What a correction would make of one hour or month."""

    id: str
    meter: str
    size: WindowSize
    starts_at: datetime
    ends_at: datetime
    quantity_before: Decimal
    count_before: int
    quantity_after: Decimal
    count_after: int
    is_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledPart:
    """What leaves for one hour or month."""

    starts_at: datetime
    units: int  # of sale


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledEffect:
    """Of one sold meter: what the correction changes of what leaves to be billed."""

    meter: str
    quantity: Decimal  # more, or less where it is negative
    units: int  # of sale, that leave at once
    carried_in: Decimal  # before
    carried: Decimal  # left for what follows; negative where it lowers that
    parts: Sequence[BilledPart]  # of these units, the earliest first


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionEffect:
    windows: Sequence[WindowEffect]  # that would change
    billed: Sequence[BilledEffect]  # of windows that are closed, or will be at once
