"""What names a counter."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterKey:
    """A counter and its period, end-exclusive."""

    id: str
    meter: str
    starts_at: datetime
    ends_at: datetime
