"""How much one tenant may do in this process, by its weight, and less while operators throttle it.

Token buckets for requests of the API, events of pages and heavy reads. Whoever is above its rate is refused with 429, and
no other tenant is. Counted in each process: n processes allow n times as much. The limits by the minute that programs see in
the RateLimit headers count for all processes together (`web.rest.api_limits`).
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from shared.core import tenant_load
from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.plurals import plural
from shared.core.tenant_weights import get_weight
from shared.core.token_buckets import TokenBucket, TokenBuckets

EVENT_SHARE = 2.5  # of a tenant of weight 1, in shares of the rate of one person
MAX_EVENT_WAIT_SECONDS = 5.0  # what comes later is refused with a sentence
MAX_KEYS = 20_000


class Use(Enum):
    """name = (seconds of the rate that may be used at once, plural noun that completes "Too many …")."""

    REQUEST = (3.0, "requests")
    EVENT = (2.0, "actions")
    HEAVY_READ = (20.0, "reports")


HEAVY_READS_PER_SECOND = 5.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """`percent`: of its usual rates that the tenant keeps. `reason`: in words that its members read."""

    percent: int
    reason: str
    expires_at: datetime

    def describe(self) -> str:
        return (
            f"Your organisation is limited to {self.percent} % of its usual rate until"
            f" {self.expires_at.astimezone(UTC):%H:%M} UTC on {self.expires_at.astimezone(UTC):%-d %B}: {self.reason}"
        )


class TenantOverRate(Refused):
    """The tenant does more than its share."""

    def __init__(self, use: Use, seconds: float, throttle: Throttle | None) -> None:
        wait = max(1, math.ceil(seconds))
        reason = "tenant_throttled" if throttle is not None else "rate_limited"
        detail = f"Too many {use.value[1]} of your organisation at once."
        if throttle is not None:
            detail = f"{throttle.describe().rstrip('.')}."
        super().__init__(
            detail,
            f"Try again in {plural(wait, 'second')}, and send fewer at a time.",
            reason=reason,
            retry_after=wait,
        )


_buckets = TokenBuckets()
_throttles: Mapping[str, Throttle] = {}  # by tenant
_tenant_by_key: OrderedDict[str, str] = OrderedDict()  # by the hash of a key that worked


def set_throttles(throttles: Mapping[str, Throttle]) -> None:
    """All that are in force, as the database has them."""
    global _throttles
    _throttles = throttles


def find_throttle(tenant_id: str) -> Throttle | None:
    """In force now."""
    throttle = _throttles.get(tenant_id)
    return throttle if throttle is not None and throttle.expires_at > datetime.now(UTC) else None


def take(use: Use, tenant_id: str) -> None:
    """One use. Raises TenantOverRate."""
    throttle = find_throttle(tenant_id)
    bucket = _get_bucket(use, tenant_id, throttle)
    if seconds := bucket.take(1.0):
        bucket.give_back(1.0)
        tenant_load.count_refused(tenant_id)
        raise TenantOverRate(use, seconds, throttle)


def take_event_turn(tenant_id: str, cost: float) -> float:
    """Seconds that a frame of a page waits before it goes on. One that would wait too long goes on and is refused there."""
    bucket = _get_bucket(Use.EVENT, tenant_id, find_throttle(tenant_id))
    seconds = bucket.take(cost)
    if seconds > MAX_EVENT_WAIT_SECONDS:
        bucket.give_back(cost)
        return 0.0
    return seconds


def check_event(tenant_id: str) -> None:
    """Raises TenantOverRate while as many frames of the tenant wait as may wait."""
    throttle = find_throttle(tenant_id)
    bucket = _get_bucket(Use.EVENT, tenant_id, throttle)
    seconds = bucket.take(1.0)
    bucket.give_back(1.0)
    if seconds > MAX_EVENT_WAIT_SECONDS:
        tenant_load.count_refused(tenant_id)
        raise TenantOverRate(Use.EVENT, seconds, throttle)


def note_key(key_hash: str, tenant_id: str) -> None:
    """A key that has just proved itself: later requests with it are counted before the database is asked."""
    _tenant_by_key[key_hash] = tenant_id
    _tenant_by_key.move_to_end(key_hash)
    if len(_tenant_by_key) > MAX_KEYS:
        _tenant_by_key.popitem(last=False)


def find_tenant_of_key(key_hash: str) -> str:
    """ "" for a key that hasn't worked in this process yet. Proves nothing: the key may have ended since."""
    return _tenant_by_key.get(key_hash, "")


def clear() -> None:
    """Forgets every count and throttle. For tests."""
    global _buckets
    _buckets = TokenBuckets()
    set_throttles({})
    _tenant_by_key.clear()


def _get_bucket(use: Use, tenant_id: str, throttle: Throttle | None) -> TokenBucket:
    """Another one after the rate of the tenant has changed."""
    rate = _get_base_rate(use) * get_weight(tenant_id)
    if throttle is not None:
        rate *= throttle.percent / 100
    return _buckets.get(f"{use.name} {tenant_id} {rate}", rate, max(1.0, rate * use.value[0]))


def _get_base_rate(use: Use) -> float:
    """Of a tenant of weight 1, per second."""
    if use is Use.REQUEST:
        return float(settings().tenant_requests_per_second)
    return settings().events_per_second * EVENT_SHARE if use is Use.EVENT else HEAVY_READS_PER_SECOND
