"""What the list of noisy tenants shows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NoisyOrder(StrEnum):
    DATABASE = "database"
    REQUESTS = "requests"  # of the API, and events of pages
    WAITING = "waiting"  # jobs
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class NoisyTenant:
    """`refused`: requests, events and jobs above the tenant's share. Throttle fields are empty without one in force."""

    tenant_id: str
    name: str  # the id, for a test tenant
    database_seconds: float
    requests: int
    events: int
    jobs: int
    refused: int
    waiting_jobs: int  # now
    throttle_percent: int | None
    throttle_reason: str
    throttle_expires_at: datetime | None
