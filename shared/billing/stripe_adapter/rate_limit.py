"""Rate limit for Stripe, one for an account in a process.

Processes that share a Redis share the rate limit; without one, each has its own.
"""

import asyncio
import random

from shared.billing.provider import ProviderBusy
from shared.core import rate_limits
from shared.core.rate_limits import RateLimit

# Stripe allows 25 requests per second for one endpoint; we send at most MAX_RATE + MAX_BURST.
MAX_RATE, MAX_BURST = 15.0, 5
MAX_QUEUE_S = 10.0  # longer waits are refused immediately


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
