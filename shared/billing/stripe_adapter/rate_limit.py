"""How fast Stripe is asked, and when it is not asked at all. One of each for an account, in one process.

Where processes share a Redis they share the pace as well; without one, each has its own.
"""

import asyncio
import random

from shared.billing.provider import ProviderBusy, ProviderDown
from shared.core import rate_limits
from shared.core.rate_limits import RateLimit

# Stripe takes 25 a second for one endpoint; in no second do we ask more than RATE + BURST times.
MAX_RATE, MAX_BURST = 15.0, 5
MAX_QUEUE_S = 10.0  # who would wait longer is told so at once
FAILURE_THRESHOLD, COOLDOWN_S = 5, 10.0


class RateLimiter:
    """A bucket of `burst` turns that fills with `rate` a second. Turns come in the order they were asked for."""

    def __init__(self, account: str, rate: float = MAX_RATE, burst: int = MAX_BURST) -> None:
        self._account = account
        self._interval, self._burst_s = 1 / rate, (burst - 1) / rate
        self._next = float("-inf")

    async def acquire(self) -> None:
        """Raises TooMany, without taking one, where it would be too long in coming."""
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
        """Nobody's turn comes before: they said that we ask too often."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)


class CircuitBreaker:
    """Opens after some failures in a row, so that no page waits for who does not answer. Then one try at a time."""

    def __init__(self, failures: int = FAILURE_THRESHOLD, cooldown: float = COOLDOWN_S) -> None:
        self._threshold, self._cooldown = failures, cooldown
        self._failure_count, self._open_until = 0, 0.0

    def check(self) -> None:
        """Raises ProviderDown while it is open."""
        if self._failure_count < self._threshold:
            return
        now = asyncio.get_running_loop().time()
        if now < self._open_until:
            raise ProviderDown("did not answer just now, and is not asked for a moment")
        self._open_until = now + self._cooldown  # whoever comes while this one is out

    def record_success(self) -> None:
        self._failure_count = 0

    def record_failure(self) -> None:
        self._failure_count += 1
        if self._failure_count >= self._threshold:
            self._open_until = asyncio.get_running_loop().time() + self._cooldown
