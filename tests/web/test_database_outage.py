"""What people see while the database hangs or is away: our words, in seconds, and the way back."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from shared.cli import database as cli_database
from shared.core.database_logins import STATEMENT_TIMEOUTS_S
from shared.dev.postgres import EmbeddedPostgres
from shared.ui import states
from tests.support import factories
from tests.support.http_visitor import browser
from tests.support.postgres_server import run_own_server, stopped, using

WORDS = "We’ll be back in a moment. Nothing is lost."
LONGEST_WAIT_S = STATEMENT_TIMEOUTS_S["app"] or 0  # twice: for the statement, and for what comes around it


@pytest.fixture(scope="module")
async def migrated_server(schema: str) -> AsyncIterator[EmbeddedPostgres]:
    """A server of its own with the schema."""
    with run_own_server() as server:
        async with using(server):
            await asyncio.to_thread(cli_database.prepare_database)
        yield server
    assert schema in os.environ["DATABASE_URL"]


@pytest.fixture
async def server(migrated_server: EmbeddedPostgres, app_login: None) -> AsyncIterator[EmbeddedPostgres]:
    async with using(migrated_server):
        yield migrated_server


@contextmanager
def away(server: EmbeddedPostgres) -> Any:
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.fixture
async def person(server: EmbeddedPostgres) -> str:
    """The Cookie header of a person who is signed in."""
    return (await factories.create_account("Ann")).cookie


async def ask_all(cookie: str) -> dict[str, tuple[httpx.Response, float]]:
    """Answers and the seconds that each took, asked at the same time"""
    requests = {
        "page": ("GET", "/t/acme/members", None),
        "form": ("POST", "/auth/sign-in", {"email": "ann@acme.test", "password": "seven lanterns"}),
        "program": ("GET", "/account", None),
        "readyz": ("GET", "/readyz", None),
    }

    async def ask(name: str, method: str, path: str, data: Any) -> tuple[httpx.Response, float]:
        headers = {"accept": "application/json"} if name == "program" else {}
        async with browser(cookie=cookie) as client:
            started_at = time.monotonic()
            answer = await client.request(method, path, data=data, headers=headers)
            return answer, time.monotonic() - started_at

    answers = await asyncio.gather(*(ask(name, *request) for name, request in requests.items()))
    return dict(zip(requests, answers, strict=True))


@pytest.mark.parametrize("outage", [stopped, away])
async def test_outage_is_a_503_in_our_words_within_seconds(
    server: EmbeddedPostgres, person: str, outage: Callable[[EmbeddedPostgres], AbstractContextManager[None]]
) -> None:
    before = await ask_all(person)  # connections are open now
    assert before["readyz"][0].json()["status"] == "ready"
    with outage(server):
        answers = await ask_all(person)
    assert {name: answer.status_code for name, (answer, _) in answers.items()} == dict.fromkeys(answers, 503)
    assert max(seconds for _, seconds in answers.values()) < 2 * LONGEST_WAIT_S
    assert answers["readyz"][1] < LONGEST_WAIT_S
    for name in ("page", "form"):
        assert WORDS in answers[name][0].text
        assert answers[name][0].headers["retry-after"] == "5"
    assert answers["page"][0].headers["refresh"] == "5"
    assert "refresh" not in answers["form"][0].headers
    assert answers["program"][0].json()["reason"] == "unavailable"
    after = await ask_all(person)
    assert after["readyz"][0].json()["status"] == "ready"
    assert after["form"][0].status_code == before["form"][0].status_code


async def test_request_that_fails_in_an_outage_is_not_counted(server: EmbeddedPostgres) -> None:
    async def ask_for_reset() -> int:
        async with browser() as client:
            return (await client.post("/auth/forgot", data={"email": "ann@acme.test"})).status_code

    with away(server):
        assert [await ask_for_reset() for _ in range(4)] == [503] * 4
    assert [await ask_for_reset() for _ in range(4)] == [303] * 3 + [429]


def test_event_says_that_the_database_is_away_and_no_bug() -> None:
    toast = str(states.show_refusal(psycopg.OperationalError("server closed the connection")))
    assert "back in a moment" in toast
    assert "Something went wrong" not in toast
