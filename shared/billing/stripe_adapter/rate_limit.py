"""Rate limit and circuit breaker for Stripe, one of each for an account in a process.

Processes that share a Redis share the rate limit; without one, each has its own.
"""

import asyncio
import random

from shared.billing.provider import ProviderBusy, ProviderDown
from shared.core import rate_limits
from shared.core.rate_limits import RateLimit

# Stripe allows 25 requests per second for one endpoint; we send at most MAX_RATE + MAX_BURST.
MAX_RATE, MAX_BURST = 15.0, 5
MAX_QUEUE_S = 10.0  # longer waits are refused immediately
FAILURE_THRESHOLD, COOLDOWN_S = 5, 10.0


class RateLimiter:
    """A token bucket: `burst` requests at once, refilled with `rate` per second, first come, first served."""

    def __init__(self, account: str, rate: float = MAX_RATE, burst: int = MAX_BURST) -> None:
        self._account = account
        self._interval, self._burst_s = 1 / rate, (burst - 1) / rate
        self._next = float("-inf")

    async def acquire(self) -> None:
        """Waits for the next slot. Raises ProviderBusy, without taking a slot, where the wait would be too long."""
        now = asyncio.get_running_loop().time()
        slot = max(self._next, now - self._burst_s)
        if slot - now > MAX_QUEUE_S:
            raise ProviderBusy(slot - now)
        self._next = slot + self._interval
        if slot > now:
            await asyncio.sleep(slot - now)
        while not await rate_limits.try_acquire(RateLimit.STRIPE_ACCOUNT, self._account):  # noqa: ASYNC110  nobody can wake us
            await asyncio.sleep(random.uniform(0.02, 0.08))  # noqa: S311

    def pause(self, seconds: float) -> None:
        """Holds all requests for that long, after Stripe answered 429."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class CircuitBreaker:
    """Opens after some failures in a row, so that pages don't wait for Stripe.

    Then allows one trial request at a time.
    """

    def __init__(self, failures: int = FAILURE_THRESHOLD, cooldown: float = COOLDOWN_S) -> None:
        self._threshold, self._cooldown = failures, cooldown
        self._failure_count, self._open_until = 0, 0.0

    def check(self) -> None:
        """Raises ProviderDown while it is open."""
        if self._failure_count < self._threshold:
            return
        now = asyncio.get_running_loop().time()
        if now < self._open_until:
            raise ProviderDown("no requests for a moment after repeated failures")
        self._open_until = now + self._cooldown  # for requests during the trial request

    def record_success(self) -> None:
        self._failure_count = 0

    def record_failure(self) -> None:
        self._failure_count += 1
        if self._failure_count >= self._threshold:
            self._open_until = asyncio.get_running_loop().time() + self._cooldown
