"""A tenant that floods the API is refused with 429, a reason and a next step. Others are answered."""

from collections.abc import Callable

import pytest

from shared.core import tenant_limits
from shared.jobs import queue
from tests.conftest import Cast
from tests.support import api_clients, workers


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    tenant_limits.clear()


async def test_flood_of_one_tenant_is_refused_and_another_one_is_answered(
    cast: Cast, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_TENANT_REQUESTS_PER_SECOND", "1")
    flooding = [await api_clients.create_key(cast.ann) for _ in range(2)]
    quiet = await api_clients.create_key(cast.gil)
    answers = []
    for _ in range(8):
        for program in flooding:
            async with program.client() as client:
                answers.append(await client.get("/api/v1/me"))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 2 <= len(refused) < len(answers)
    problem = refused[-1].json()
    assert (problem["status"], problem["reason"]) == (429, "rate_limited")
    assert "of your organisation" in problem["detail"]
    assert "Try again in" in problem["next_step"]
    assert int(refused[-1].headers["retry-after"]) >= 1
    async with quiet.client() as client:
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_refused_request_of_a_known_key_asks_the_database_nothing(
    cast: Cast, environment: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment("BULKHEAD_TENANT_REQUESTS_PER_SECOND", "1")
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        for _ in range(12):
            await client.get("/api/v1/me")
        monkeypatch.setattr("shared.tenancy.key_entry.authenticate_key", None)  # a call would fail
        assert (await client.get("/api/v1/me")).status_code == 429


async def test_request_that_adds_a_job_to_a_full_queue_is_told_to_wait(
    cast: Cast, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.clear_queue(schema)
    monkeypatch.setattr(queue, "MAX_WAITING_JOBS", 1)
    programs = {
        "acme": await api_clients.create_key(cast.ann),
        "globex": await api_clients.create_key(cast.gil),
    }
    body = {"email": "zoe@harbour.test", "role": "member"}
    answers = {}
    for name in ("acme", "globex"):
        async with programs[name].client() as client:
            answers[name] = [
                await client.post("/api/v1/invitations", json={**body, "email": f"zoe{number}@harbour.test"})
                for number in range(6 if name == "acme" else 1)
            ]
    full = next(answer for answer in answers["acme"] if answer.status_code == 429)
    assert full.json()["reason"] == "queue_full"
    assert full.headers["retry-after"] == str(queue.FULL_RETRY_AFTER_S)
    assert "try again in 30 seconds" in full.json()["next_step"].lower()
    assert answers["globex"][0].status_code == 201
    workers.clear_queue(schema)
