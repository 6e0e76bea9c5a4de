"""Rate limits by name. In memory for one process, in Redis for several.

Where a request proves itself (the right password, a signed link), only failures count: `begin_attempt`. An unreachable
store is refused as an outage of ours, because the limits protect against guessing passwords.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool

from shared.core import db, log
from shared.core.config import settings
from shared.core.errors import Refused, Unavailable
from shared.core.plurals import plural

UNAVAILABLE_RETRY_SECONDS = 30


class RateLimit(Enum):
    """name = (rule, plural noun that completes "Too many …")."""

    ADMIN_SIGN_IN_ADDRESS = ("30/15 minutes", "sign-in attempts")
    AUDIT_VERIFY_TENANT = ("30/hour", "verifications of the audit log")
    BILLING_DETAILS_TENANT = (
        "60/10 minutes",
        "requests for billing details",
    )  # apart: cancelling needs the next
    BILLING_TENANT = ("120/10 minutes", "requests to the payment provider")
    EXPORT_TENANT = ("60/hour", "exports")
    FACTOR_RESET_ACCOUNT = ("3/day", "requests to remove the second factor")
    FILE_TENANT = ("600/hour", "uploads")
    FORGOT_ACCOUNT = ("3/hour", "password resets")  # from one address
    FORGOT_ACCOUNT_ANYWHERE = ("30/hour", "password resets")
    FORGOT_ADDRESS = ("20/hour", "password resets")
    INVITE_NEW_TENANT = ("20/day", "invitations for an organisation on its first day")
    INVITE_PERSON = ("300/day", "invitations in your organisations")  # in all tenants
    INVITE_RECIPIENT_DAY = ("6/day", "invitations to this address")  # from all tenants
    INVITE_RECIPIENT_HOUR = ("3/hour", "invitations to this address")
    INVITE_TENANT = ("200/day", "invitations")
    MFA_ACCOUNT = ("10/15 minutes", "attempts to enter a code")
    NEW_DEVICE_ACCOUNT = ("6/hour", "emails about new devices")
    PROVE_SESSION = ("10/15 minutes", "password attempts")
    RESEND_ACCOUNT = ("5/hour", "email requests")
    # From one address, so that a stranger who guesses does not lock the person out; and from all of them together.
    SIGN_IN_ACCOUNT = ("10/15 minutes", "sign-in attempts")
    SIGN_IN_ACCOUNT_ANYWHERE = ("120/15 minutes", "sign-in attempts")
    SIGN_IN_ADDRESS = ("100/15 minutes", "sign-in attempts")
    SIGN_UP_ACCOUNT = ("5/hour", "sign-ups with this address")
    SIGN_UP_ADDRESS = ("30/hour", "sign-ups")
    STRIPE_ACCOUNT = ("20/second", "requests to Stripe")  # by all processes together; see `try_acquire`
    TOKEN_ADDRESS = ("60/15 minutes", "attempts to open a link")
    UPLOAD_TENANT = ("30/hour", "logo uploads")
    WEBHOOK_ACCOUNT = ("300/second", "webhooks")
    WEBHOOK_HOST_TENANT = ("30/hour", "new addresses of webhooks")  # each looks up a host
    WEBHOOK_TEST_TENANT = ("60/hour", "test events")

    @property
    def parsed(self) -> RateLimitItem:
        return _parse_rule(self.value[0])


_parse_rule = cache(parse)
Count = tuple[RateLimit, tuple[str, ...]]
_counts_of_request: ContextVar[list[Count] | None] = ContextVar("counts_of_request", default=None)
_local_windows = dict[
    tuple[RateLimit, str], tuple[float, int]
]()  # when a window ends, and how many there were in it


@cache
def get_storage() -> Storage:
    """In Redis where it is configured, else in this process."""
    redis_url = settings().redis_url
    if redis_url is None:
        return MemoryStorage()
    url = redis_url.get_secret_value()
    pool = BlockingConnectionPool.from_url(url, max_connections=20, timeout=5)
    # The pool waits for a connection; the library's own raises at 150 concurrent hits.
    return RedisStorage("async+" + url, implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]


async def enforce_rate_limit(limit: RateLimit, *key: str) -> None:
    """Count one. Raises Refused with `retry_after` seconds: rate_limited above the limit, unavailable without the store.

    `key` is an account, an address or a tenant.
    """
    await _count(limit, key)
    if (counts := _counts_of_request.get()) is not None:
        counts.append((limit, key))


async def _count(limit: RateLimit, key: tuple[str, ...]) -> None:
    limiter = MovingWindowRateLimiter(get_storage())
    try:
        if await limiter.hit(limit.parsed, limit.name, *key):
            return
        reset, _ = await limiter.get_window_stats(limit.parsed, limit.name, *key)
        wait_seconds = max(1, math.ceil(reset - time.time()))
    except Exception as problem:
        log.get_tenant_logger(__name__).error(
            "limits_unreachable", limit=limit.name, problem=type(problem).__name__
        )
        raise _unavailable() from problem
    raise _rate_limited(limit, wait_seconds)


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was counted before it was known whether it succeeds, so that concurrent guesses can't exceed a limit."""

    counted: tuple[Count, ...]

    async def succeed(self) -> None:
        """It proved itself: it no longer counts. A failure to say so is only logged."""
        for limit, key in self.counted:
            try:
                await _give_back(limit.parsed.key_for(limit.name, *key))
            except Exception as problem:
                log.get_tenant_logger(__name__).error(
                    "limits_unreachable", limit=limit.name, problem=type(problem).__name__
                )


async def begin_attempt(*counted: Count) -> Attempt:
    """Count one for each limit and key. Call `succeed` once the request has proved itself. Raises as `enforce_rate_limit`.

    An outage gives nothing back: the answer to a guess may be known before the request fails.
    """
    for limit, key in counted:
        await _count(limit, key)
    return Attempt(counted)


@asynccontextmanager
async def not_counted_in_an_outage() -> AsyncIterator[None]:
    """For one request or event: what it has counted is given back when it fails because a part of ours is away."""
    counts: list[Count] = []
    token = _counts_of_request.set(counts)
    try:
        yield
    except Exception as problem:
        if isinstance(problem, Unavailable) or db.is_connection_error(problem):
            await Attempt(tuple(counts)).succeed()
        raise
    finally:
        _counts_of_request.reset(token)


async def _give_back(key: str) -> None:
    """Remove the newest entry of the window. The library has no call for it."""
    storage = get_storage()
    if isinstance(storage, RedisStorage):
        bridge: Any = storage.bridge
        await bridge.get_connection().lpop(bridge.prefixed_key(key))
    elif isinstance(storage, MemoryStorage) and storage.events.get(key):
        del storage.events[key][0]


def enforce_local_rate_limit(limit: RateLimit, key: str) -> None:
    """As `enforce_rate_limit`, but counted in this process, in fixed windows. For requests that keep a process busy."""
    now = time.monotonic()
    window_end, count = _local_windows.get((limit, key), (0.0, 0))
    if window_end <= now:
        window_end, count = now + limit.parsed.get_expiry(), 0
    if count >= limit.parsed.amount:
        raise _rate_limited(limit, math.ceil(window_end - now))
    _local_windows[limit, key] = window_end, count + 1


def _unavailable() -> Refused:
    return Refused(
        "Part of our service is down, so we can’t do this now.",
        f"Nothing was changed. Try again in {UNAVAILABLE_RETRY_SECONDS} seconds.",
        reason="unavailable",
        retry_after=UNAVAILABLE_RETRY_SECONDS,
    )


def _rate_limited(limit: RateLimit, wait_seconds: int) -> Refused:
    minutes = math.ceil(wait_seconds / 60)
    wait = plural(minutes, "minute") if minutes <= 120 else plural(math.ceil(minutes / 60), "hour")
    return Refused(
        f"Too many {limit.value[1]}.",
        f"Try again in {wait}.",
        reason="rate_limited",
        retry_after=wait_seconds,
    )


async def try_acquire(limit: RateLimit, *key: str) -> bool:
    """Count one and return True when the limit allows it. Without a reachable shared store it is always True."""
    if settings().redis_url is None:
        return True
    try:
        return await MovingWindowRateLimiter(get_storage()).hit(limit.parsed, limit.name, *key)
    except Exception as problem:
        log.get_tenant_logger(__name__).error(
            "limits_unreachable", limit=limit.name, problem=type(problem).__name__
        )
        return True


async def clear_counts() -> None:
    """Forgets every count. For tests."""
    _local_windows.clear()
    storage = get_storage()
    if isinstance(storage, MemoryStorage) and storage.timer is not None and not storage.timer.done():
        await asyncio.wait({storage.timer})  # it iterates over the counts that are cleared next
    await storage.reset()
