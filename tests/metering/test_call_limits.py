"""Calls of the API under a limit: refused with a problem that says what was used, and when it goes on."""

from datetime import timedelta

import pytest

from shared.core.db import now
from shared.metering import allowances, call_counts, quotas, reservations, usage_reports
from shared.metering.months import get_month
from shared.metering.reservations import Hold
from tests.conftest import Cast
from tests.metering.test_call_counts import count_calls
from tests.metering.test_quotas import lapse_reservations
from tests.support import api_clients
from tests.support.limits import roll_up, set_limit


@pytest.fixture(autouse=True)
def other_process() -> None:
    reservations.forget_all()


async def test_call_above_a_hard_limit_is_refused_with_its_facts(cast: Cast) -> None:
    await set_limit(cast, "api_calls", 2)
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        answers = [await client.get("/api/v1/members") for _ in range(4)]
        await call_counts.record_calls()
        await roll_up(cast.acme)
        again = await client.get("/api/v1/me")
        await set_limit(cast, "api_calls", 4)
        larger = await client.get("/api/v1/me")
    assert [answer.status_code for answer in answers] == [200, 200, 402, 402]
    problem = again.json()
    assert (problem["reason"], problem["used"], problem["allowed"]) == ("limit_reached", "2", "2")
    assert problem["resets_at"].endswith("-01T00:00:00+00:00")
    assert problem["decision_id"]
    assert "RateLimit" in again.headers
    assert larger.status_code == 200
    assert await count_calls(cast.ann) == [2]


async def test_calls_in_a_soft_limit_are_counted_and_not_refused(cast: Cast) -> None:
    await set_limit(cast, "api_calls", 1, hard=False)
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        assert [(await client.get("/api/v1/me")).status_code for _ in range(3)] == [200] * 3
    await call_counts.record_calls()
    async with cast.ann.ctx() as ctx:
        (quota,) = await quotas.list_quotas(ctx, ["api_calls"])
    assert (quota.used, quota.percent) == (3, 300)


async def test_calls_from_a_lease_are_recorded_against_it(cast: Cast) -> None:
    await set_limit(cast, "api_calls", 10_000)
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        for _ in range(25):
            assert (await client.get("/api/v1/me")).status_code == 200
    assert any(held for _, held in call_counts._pending if any(reservation for _, reservation in held))
    await call_counts.record_calls()
    await roll_up(cast.acme)
    async with cast.ann.ctx() as ctx:
        (quota,) = await quotas.list_quotas(ctx, ["api_calls"])
    assert (quota.used, sum(await count_calls(cast.ann))) == (25, 25)


async def test_call_of_a_lapsed_reservation_counts_all_the_same(cast: Cast) -> None:
    """It was answered."""
    await set_limit(cast, "api_calls", 10_000)
    program = await api_clients.create_key(cast.ann, "member:read")
    async with program.client() as client:
        for _ in range(25):
            await client.get("/api/v1/me")
    lapse_reservations(cast.acme)
    for _ in range(2):
        await call_counts.record_calls()
    await roll_up(cast.acme)
    async with cast.ann.ctx() as ctx:
        (quota,) = await quotas.list_quotas(ctx, ["api_calls"])
    assert (quota.used, sum(await count_calls(cast.ann))) == (25, 25)


async def test_held_call_is_recorded_in_the_month_of_its_counter(cast: Cast) -> None:
    """It came in the last second of the month, and is recorded in the next one."""
    late_at = get_month(now()) - timedelta(seconds=1)
    if now() - late_at > timedelta(hours=20):
        late_at = now() - timedelta(hours=20)  # older ones are refused; the time is kept all the same
    key = allowances.build_month_key("api_calls", late_at)
    call_counts.add_call(cast.acme, late_at, [Hold(key.id, "")])
    await call_counts.record_calls()
    async with cast.ann.ctx() as ctx:
        page = await usage_reports.list_events(
            ctx, "api_calls", late_at, until=late_at + timedelta(seconds=1)
        )
    assert [event.quantity for event in page.rows] == [1]
