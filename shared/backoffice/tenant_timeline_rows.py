"""A row of a tenant's timeline that is stored nowhere."""

from datetime import datetime
from typing import NamedTuple


class DailyEmission(NamedTuple):
    """What one meter reported to the sinks on one day. `id`: of the last emission."""

    at: datetime
    id: str
    meter: str
    units: int
    report_count: int
