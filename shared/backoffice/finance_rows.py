"""A row of the finance report that its page shows."""

from datetime import datetime
from typing import NamedTuple


class DueTenant(NamedTuple):
    tenant_id: str
    name: str
    at: datetime
