"""Requests to the API are counted for each key and each organisation, with the headers that say what is left."""

from collections.abc import Callable

import pytest

from shared.core import rate_limits
from shared.web.rest import api_limits
from tests.conftest import Cast
from tests.support import api_clients


@pytest.fixture(autouse=True)
def limits(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_API_KEY_REQUESTS_PER_MINUTE", "3")
    environment("BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE", "5")


async def test_key_is_refused_above_its_limit_and_told_when_to_try_again(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answers = [await client.get("/api/v1/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60, "organisation";q=5;w=60'
    assert answers[0].headers["ratelimit"].startswith('"key";r=2;t=')
    assert answers[3].json()["reason"] == "rate_limited"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[3].headers["ratelimit"].startswith('"key";r=0;t=')


async def test_keys_of_an_organisation_share_its_limit(cast: Cast) -> None:
    programs = [await api_clients.create_key(cast.ann) for _ in range(2)]
    statuses = []
    for _ in range(3):
        for program in programs:
            async with program.client() as client:
                statuses.append((await client.get("/api/v1/me")).status_code)
    assert statuses == [200] * 5 + [429]


async def test_api_answers_with_a_local_limit_while_the_store_is_away(
    cast: Cast, environment: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment("REDIS_URL", "redis://127.0.0.1:1/0")
    rate_limits.get_storage.cache_clear()
    monkeypatch.setattr(api_limits, "_breaker", api_limits.CircuitBreaker(threshold=1))
    try:
        program = await api_clients.create_key(cast.ann)
        async with program.client() as client:
            answers = [await client.get("/api/v1/me") for _ in range(4)]
    finally:
        rate_limits.get_storage.cache_clear()
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"].startswith('"key";q=3;w=60;local=?1')
