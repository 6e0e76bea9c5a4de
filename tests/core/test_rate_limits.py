"""Rate limits per name and key; an unreachable store refuses."""

import asyncio
from collections.abc import Iterator

import pytest

from shared.core import rate_limits
from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.rate_limits import RateLimit, enforce_local_rate_limit, enforce_rate_limit


async def try_limit(limit: RateLimit, *key: str) -> str:
    try:
        await enforce_rate_limit(limit, *key)
    except Refused as refusal:
        return refusal.reason
    return "counted"


async def test_limit_is_refused_with_the_time_to_wait() -> None:
    for _ in range(3):
        await enforce_rate_limit(RateLimit.FORGOT_ACCOUNT, "ann")
    with pytest.raises(Refused, match="rate_limited") as caught:
        await enforce_rate_limit(RateLimit.FORGOT_ACCOUNT, "ann")
    assert caught.value.http_status == 429
    assert 3500 < caught.value.retry_after <= 3600
    assert caught.value.next_step == "Try again in 60 minutes."
    assert "Too many password resets" in caught.value.detail


async def test_limits_and_keys_are_counted_separately() -> None:
    for _ in range(3):
        await enforce_rate_limit(RateLimit.FORGOT_ACCOUNT, "ann")
    assert await try_limit(RateLimit.FORGOT_ACCOUNT, "gil") == "counted"
    assert await try_limit(RateLimit.RESEND_ACCOUNT, "ann") == "counted"
    assert await try_limit(RateLimit.FORGOT_ACCOUNT, "ann") == "rate_limited"


async def test_concurrent_hits_do_not_exceed_the_limit() -> None:
    outcomes = await asyncio.gather(*(try_limit(RateLimit.SIGN_IN_ACCOUNT, "ann") for _ in range(40)))
    assert outcomes.count("counted") == 10


@pytest.mark.parametrize("limit", RateLimit)
def test_every_limit_can_be_parsed(limit: RateLimit) -> None:
    assert limit.parsed.amount > 0


def test_limits_have_distinct_values() -> None:
    """Members of an enum with equal values are one member: their counts would be shared."""
    assert len(RateLimit) == len(RateLimit.__members__)


def try_local_limit(key: str) -> str:
    try:
        enforce_local_rate_limit(RateLimit.WEBHOOK_ACCOUNT, key)
    except Refused as refusal:
        return f"{refusal.reason} for {refusal.retry_after}"
    return "counted"


def test_local_count_restarts_with_every_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at, most = 1_000.0, RateLimit.WEBHOOK_ACCOUNT.parsed.amount
    monkeypatch.setattr(rate_limits.time, "monotonic", lambda: at)
    outcomes = [try_local_limit("one") for _ in range(most + 2)]
    assert outcomes == ["counted"] * most + ["rate_limited for 1"] * 2
    assert try_local_limit("other") == "counted"
    at += 0.9
    assert try_local_limit("one") == "rate_limited for 1"
    at += 0.1
    assert try_local_limit("one") == "counted"


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    settings.cache_clear()
    rate_limits._storage.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    rate_limits._storage.cache_clear()


@pytest.mark.usefixtures("unreachable")
async def test_unreachable_store_refuses() -> None:
    with pytest.raises(Refused, match="rate_limited") as caught:
        await enforce_rate_limit(RateLimit.SIGN_IN_ACCOUNT, "ann")
    assert caught.value.retry_after == 60
