"""What each tenant costs, counted in this process until `fairness.load_recorder` records it once a minute.

Database seconds are the time from sending a statement of the tenant's transactions to its answer, seen from here. They
include the wait for locks and for this process, so they are an upper bound.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class TenantLoad:
    requests: int = 0  # of the API
    events: int = 0  # of pages
    jobs: int = 0  # begun
    refused: int = 0  # requests, events and jobs above the tenant's share
    database_seconds: float = 0.0

    def add(self, other: "TenantLoad") -> None:
        self.requests += other.requests
        self.events += other.events
        self.jobs += other.jobs
        self.refused += other.refused
        self.database_seconds += other.database_seconds


_loads: dict[str, TenantLoad] = {}  # by tenant


def _get(tenant_id: str) -> TenantLoad:
    load = _loads.get(tenant_id)
    if load is None:
        load = _loads[tenant_id] = TenantLoad()
    return load


def count_request(tenant_id: str) -> None:
    _get(tenant_id).requests += 1


def count_event(tenant_id: str) -> None:
    _get(tenant_id).events += 1


def count_job(tenant_id: str) -> None:
    """Nothing for a job of the platform, whose tenant is ""."""
    if tenant_id:
        _get(tenant_id).jobs += 1


def count_refused(tenant_id: str) -> None:
    _get(tenant_id).refused += 1


def add_database_seconds(tenant_id: str, seconds: float) -> None:
    _get(tenant_id).database_seconds += seconds


def take_loads() -> dict[str, TenantLoad]:
    """What was counted since the last call, by tenant."""
    global _loads
    loads, _loads = _loads, {}
    return loads


def put_back(loads: dict[str, TenantLoad]) -> None:
    """What could not be recorded."""
    for tenant_id, load in loads.items():
        _get(tenant_id).add(load)
