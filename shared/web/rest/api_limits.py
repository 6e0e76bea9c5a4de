"""How many requests one key, one organisation and one operator may send to the API in a minute.

Counted in Redis for all processes, and in this process without Redis or while it is away: the API keeps answering, and
the limit holds for each process. The headers follow draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import time
from dataclasses import dataclass
from functools import cache

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from shared.backoffice.operator_key_entry import OperatorKeyAdmission
from shared.core import log, rate_limits
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.plurals import plural
from shared.tenancy.key_entry import KeyAdmission

_breaker = CircuitBreaker(threshold=1, first_pause=5.0, max_pause=30.0)


@dataclass(frozen=True, slots=True)
class Policy:
    name: str  # as the headers name it
    item: RateLimitItem
    identifier: str
    noun: str  # completes "Too many requests of …"


@dataclass(frozen=True, slots=True)
class Count:
    policy: Policy
    remaining: int
    reset_seconds: int


@dataclass(frozen=True, slots=True)
class ApiQuota:
    """What is left after this request."""

    counts: tuple[Count, ...]
    is_local: bool  # counted in this process only, because Redis is away

    def list_headers(self) -> dict[str, str]:
        where = ";local=?1" if self.is_local else ""
        policies = (
            f'"{count.policy.name}";q={count.policy.item.amount};w=60{where}' for count in self.counts
        )
        states = (
            f'"{count.policy.name}";r={count.remaining};t={count.reset_seconds}' for count in self.counts
        )
        return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}


class TooManyCalls(Refused):
    def __init__(self, quota: ApiQuota, exceeded: Count) -> None:
        wait = max(1, exceeded.reset_seconds)
        super().__init__(
            f"Too many requests of {exceeded.policy.noun}: {exceeded.policy.item.amount} a minute.",
            f"Try again in {plural(wait, 'second')}, and slow down when the RateLimit header nears 0.",
            reason="rate_limited",
            retry_after=wait,
        )
        self.headers = quota.list_headers()


def list_tenant_policies(admission: KeyAdmission) -> tuple[Policy, ...]:
    """Of a key and its organisation."""
    key_limit, tenant_limit = (
        settings().api_key_requests_per_minute,
        settings().api_tenant_requests_per_minute,
    )
    tenant_id = admission.tenant.tenant_id
    return (
        Policy("key", RateLimitItemPerMinute(key_limit), admission.key_id, "this key"),
        Policy(
            "organisation", RateLimitItemPerMinute(tenant_limit), tenant_id, "the keys of this organisation"
        ),
    )


def list_operator_policies(admission: OperatorKeyAdmission) -> tuple[Policy, ...]:
    """Of a key and its operator, who has no more than the key of a tenant."""
    limit = settings().api_key_requests_per_minute
    operator_id = admission.operator.actor.id
    return (
        Policy("key", RateLimitItemPerMinute(limit), admission.key_id, "this key"),
        Policy("operator", RateLimitItemPerMinute(limit), operator_id, "the keys of this operator"),
    )


async def count_call(policies: tuple[Policy, ...]) -> ApiQuota:
    """Count one request for each of them. Raises TooManyCalls."""
    storage, is_local = rate_limits.get_storage(), False
    try:
        with _breaker.attempt(Exception):
            counts, exceeded = await _count(storage, policies)
    except CircuitOpen:
        counts, exceeded, is_local = *await _count(_local_storage(), policies), True
    except Exception as problem:  # whatever a broken store raises, the API answers
        log.get_tenant_logger(__name__).error(
            "limits_unreachable", limit="API", problem=type(problem).__name__
        )
        counts, exceeded, is_local = *await _count(_local_storage(), policies), True
    quota = ApiQuota(counts, is_local)
    if exceeded is not None:
        raise TooManyCalls(quota, exceeded)
    return quota


async def _count(storage: Storage, policies: tuple[Policy, ...]) -> tuple[tuple[Count, ...], Count | None]:
    """The counts after this request, and the one that is exceeded."""
    limiter = SlidingWindowCounterRateLimiter(storage)
    counts = []
    for policy in policies:
        is_allowed = await limiter.hit(policy.item, "api", policy.name, policy.identifier)
        reset, remaining = await limiter.get_window_stats(policy.item, "api", policy.name, policy.identifier)
        count = Count(policy, int(remaining), max(0, math.ceil(reset - time.time())))
        counts.append(count)
        if not is_allowed:
            return tuple(counts), count
    return tuple(counts), None


@cache
def _local_storage() -> MemoryStorage:
    return MemoryStorage()
