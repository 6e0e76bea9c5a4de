"""Requests, errors and latency of each minute, counted in memory: of all, by kind, tenant, plan and flag that is on.

`shared.monitoring.traffic_writer` stores finished minutes. Counting writes nothing and waits for nothing.
"""

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from enum import StrEnum

from shared.core import metric_catalog, request_ids

LATENCY_LIMITS_MS = (50, 100, 250, 500, 1_000, 2_500, 5_000)  # upper ends; the last bucket has none
MAX_TENANTS_IN_MEMORY = 5_000  # of one minute in one process
STORED_TENANTS = 100  # of one minute and process: the busiest half, and those with most errors
TOP_TENANTS = 10  # that the metrics name
MAX_PLANS, MAX_FLAGS = 50, 100
OTHER = "other"


class Dimension(StrEnum):
    """What a row counts by. The stored words."""

    ALL = "all"
    KIND = "kind"
    TENANT = "tenant"
    PLAN = "plan"
    FLAG = "flag"
    REASON = "reason"  # of decisions that refused, or allowed with a warning
    LIMIT = "limit"  # tenants that reached or passed a limit


class Kind(StrEnum):
    """What is counted. The stored words."""

    PAGE = "page"
    EVENT = "event"
    API = "api"
    WEBHOOK = "webhook"
    JOB = "job"


@dataclass(slots=True)
class Tally:
    requests: int = 0
    errors: int = 0
    total_ms: int = 0
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_LIMITS_MS) + 1))  # by bucket

    def count(self, ms: int, *, failed: bool) -> None:
        self.requests += 1
        self.errors += failed
        self.total_ms += ms
        self.latency[bisect_left(LATENCY_LIMITS_MS, ms)] += 1

    def add(self, other: "Tally") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.total_ms += other.total_ms
        self.latency = [
            own_count + count for own_count, count in zip(self.latency, other.latency, strict=True)
        ]


Minute = dict[tuple[Dimension, str], Tally]
_minutes: dict[int, Minute] = {}  # by minutes since 1970


def count(kind: Kind, seconds: float, *, failed: bool) -> None:
    """What has just ended, with tenant, plan and flags of the request in progress. It failed also if a bug was reported."""
    scope = request_ids.get_scope()
    failed = failed or (scope is not None and scope.has_failed)
    ms = round(seconds * 1000)
    minute = _minutes.setdefault(int(time.time()) // 60, {})
    _count_in(minute, Dimension.ALL, "", ms, failed=failed)
    _count_in(minute, Dimension.KIND, kind.value, ms, failed=failed)
    if scope is None or not scope.tenant_id:
        return
    _count_in(minute, Dimension.TENANT, scope.tenant_id, ms, failed=failed)
    status = "error" if failed else "ok"
    if scope.plan:
        _count_in(minute, Dimension.PLAN, scope.plan, ms, failed=failed)
        metric_catalog.cohort_requests.add("plan", scope.plan, status)
    for flag in scope.flags:
        _count_in(minute, Dimension.FLAG, flag, ms, failed=failed)
        metric_catalog.cohort_requests.add("flag", flag, status)


def count_decision(tenant_id: str, reason: str, *, is_about_limit: bool) -> None:
    """Of one that refused or warned. `reason`: a stored word of `access.refusal_codes`."""
    minute = _minutes.setdefault(int(time.time()) // 60, {})
    _count_in(minute, Dimension.REASON, reason, 0, failed=False)
    if is_about_limit:
        _count_in(minute, Dimension.LIMIT, tenant_id, 0, failed=False)


def _count_in(minute: Minute, dimension: Dimension, value: str, ms: int, *, failed: bool) -> None:
    key = dimension, value
    if key not in minute and len(minute) >= MAX_TENANTS_IN_MEMORY:
        key = dimension, OTHER
    minute.setdefault(key, Tally()).count(ms, failed=failed)


def take_minutes(*, also_current: bool = False) -> dict[int, Minute]:
    """Minutes that have ended, bounded for storing. `also_current`: at the end of the process."""
    current = int(time.time()) // 60
    ended = {}
    for number in [number for number in _minutes if also_current or number < current]:
        ended[number] = _bound_minute(_minutes.pop(number))
    return ended


def put_back(minutes: dict[int, Minute]) -> None:
    """Minutes that couldn't be stored. Those that are older than ten are dropped."""
    oldest = int(time.time()) // 60 - 10
    for number, minute in minutes.items():
        if number >= oldest:
            kept = _minutes.setdefault(number, {})
            for key, tally in minute.items():
                kept.setdefault(key, Tally()).add(tally)


def _bound_minute(minute: Minute) -> Minute:
    """The busiest tenants and those with most errors; the others are summed."""
    limits = {
        Dimension.PLAN: MAX_PLANS,
        Dimension.FLAG: MAX_FLAGS,
        Dimension.LIMIT: STORED_TENANTS,
        Dimension.TENANT: STORED_TENANTS,
    }
    bounded: Minute = {}
    for dimension in Dimension:
        tallies = {value: tally for (kind, value), tally in minute.items() if kind is dimension}
        kept = _choose_largest(tallies, limits.get(dimension, len(tallies)))
        for value, tally in tallies.items():
            name = value if value in kept else OTHER
            bounded.setdefault((dimension, name), Tally()).add(tally)
        if dimension is Dimension.TENANT:
            _show_top_tenants(tallies)
    return bounded


def _choose_largest(tallies: dict[str, Tally], limit: int) -> set[str]:
    """At most `limit` values: half of them by errors, the others by requests."""
    if len(tallies) <= limit:
        return set(tallies)
    by_errors = sorted(tallies, key=lambda value: tallies[value].errors, reverse=True)[: limit // 2]
    by_requests = sorted(tallies, key=lambda value: tallies[value].requests, reverse=True)
    return set(by_errors) | set(by_requests[: limit - len(by_errors)])


def _show_top_tenants(tallies: dict[str, Tally]) -> None:
    metric_catalog.top_tenant_requests.clear()
    busiest = sorted(tallies, key=lambda value: tallies[value].requests, reverse=True)
    for tenant_id in [value for value in busiest if value != OTHER][:TOP_TENANTS]:
        metric_catalog.top_tenant_requests.set(tenant_id, number=tallies[tenant_id].requests)
