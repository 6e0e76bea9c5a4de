"""Calls of the API under a limit: refused with a problem that says what was used, and when it goes on."""

import pytest

from shared.metering import call_counts, quotas, reservations
from tests.conftest import Cast
from tests.metering.test_call_counts import count_calls
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
