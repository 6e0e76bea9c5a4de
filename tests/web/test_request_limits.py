"""Requests without a live session are limited by address: a flood waits, and whoever is signed in does not notice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from shared.core import db
from shared.core.config import settings
from shared.identity import realms, sessions
from shared.web import http_app, request_limits
from shared.web.app_sites import TENANT
from shared.web.request_middleware import RequestMiddleware
from tests.conftest import Cast

RATE = 5
BURST = RATE * request_limits.BURST_SECONDS
FORGED = f"{realms.USER.session_cookie}=forged"
STRANGER, OTHER = "203.0.113.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def rate(environment: Callable[[str, str], None]) -> None:
    environment("BULKHEAD_REQUESTS_PER_SECOND", str(RATE))


@pytest.fixture
def app() -> object:
    """An app of its own, which has not been asked yet."""
    return http_app.build_app(TENANT)


async def ask(
    app: object, peer: str, cookie: str = "", path: str = "/nothing"
) -> tuple[httpx.Response, float]:
    """The answer, and seconds until it came."""
    transport = httpx.ASGITransport(app=app, client=(peer, 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url=settings().tenant_url) as client:
        began = time.monotonic()
        answer = await client.get(path, headers={"accept": "text/html", "cookie": cookie})
        return answer, time.monotonic() - began


async def flood(
    app: object, count: int, cookie: str = "", path: str = "/nothing"
) -> list[tuple[httpx.Response, float]]:
    return await asyncio.gather(*(ask(app, STRANGER, cookie, path) for _ in range(count)))


async def test_flood_of_one_address_waits_and_is_refused_while_others_are_answered(
    app: object, cast: Cast
) -> None:
    answer, _ = await ask(app, STRANGER, cast.ann.cookie, f"/t/{cast.ann.slug}/nothing")
    assert answer.status_code != 303  # signed in
    flooding = asyncio.create_task(flood(app, BURST + 10 * RATE))
    await asyncio.sleep(1)
    for peer, cookie in ((OTHER, ""), (STRANGER, cast.ann.cookie), (STRANGER, cast.gil.cookie)):
        answer, seconds = await ask(app, peer, cookie)
        assert answer.status_code != 429
        assert seconds < 1
    answers = await flooding
    refused = [answer for answer, _ in answers if answer.status_code == 429]
    assert len(refused) == pytest.approx(10 * RATE - RATE * request_limits.MAX_WAIT_SECONDS, abs=RATE)
    waits = sorted(seconds for answer, seconds in answers if answer.status_code != 429)
    assert waits[BURST - 1] < 2 < 4 < waits[-1] < request_limits.MAX_WAIT_SECONDS + 2


async def test_ended_session_counts_for_its_address_again(
    app: object,
    cast: Cast,
    no_waiting: None,
    environment: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment("BULKHEAD_REQUESTS_PER_SECOND", "1")
    monkeypatch.setattr(request_limits, "CLAIM_SHARE", 1)  # it fills slowly, so that the flood empties it
    path = f"/t/{cast.ann.slug}/nothing"
    await ask(app, STRANGER, cast.ann.cookie, path)  # known from here on
    await flood(app, 60, FORGED)
    assert (await ask(app, STRANGER, cast.ann.cookie, path))[0].status_code != 429
    async with db.transaction() as session:
        await sessions.end(session, realms.USER, sessions.get_token_hash(realms.USER, cast.ann.cookie))
    assert (await ask(app, STRANGER, cast.ann.cookie, path))[0].status_code == 303
    await flood(app, 60, FORGED)
    assert (await ask(app, STRANGER, cast.ann.cookie, path))[0].status_code == 429


async def test_forged_cookies_are_limited_by_address_too(app: object, no_waiting: None) -> None:
    count = 2 * BURST * request_limits.CLAIM_SHARE
    answers = await flood(app, count, FORGED)
    assert sum(answer.status_code == 429 for answer, _ in answers) > BURST


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "MAX_WAITING", 0)


async def test_refused_flood_hears_when_to_try_again_but_the_load_balancer_is_answered(
    app: object, no_waiting: None
) -> None:
    answers = [answer for answer, _ in await flood(app, 4 * BURST)]
    refusal = next(answer for answer in answers if answer.status_code == 429)
    assert refusal.headers["retry-after"] == "1"
    assert "Too many requests." in refusal.text
    assert "Try again in 1 second." in refusal.text
    for path in ("/healthz", "/readyz"):
        answer, _ = await ask(app, STRANGER, path=path)
        assert answer.status_code == 404  # this app has no such route; it was not refused


@pytest.mark.parametrize(
    ("path", "has_own_limit"),
    [
        ("/webhooks/stripe", True),
        ("/webhooks/stripe/account", True),
        ("/webhooks/stripes", False),
        ("/readyz", True),
        ("/healthz", True),
        ("/readyzz", False),
        ("/healthz/more", False),
    ],
)
async def test_only_these_paths_are_answered_beside_a_flood(
    app: object, no_waiting: None, path: str, has_own_limit: bool
) -> None:
    await flood(app, 4 * BURST)
    statuses = [(await ask(app, STRANGER, path=path))[0].status_code for _ in range(3)]
    assert (429 not in statuses) is has_own_limit


@pytest.mark.parametrize("path", ["/webhooks/stripe", "/readyz"])
async def test_flood_of_webhooks_and_of_probes_is_refused(
    app: object, no_waiting: None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(request_limits, "WEBHOOKS_PER_SECOND", RATE)
    answers = await flood(app, 4 * BURST, path=path)
    assert 429 in [answer.status_code for answer, _ in answers]


async def test_refused_handshake_is_closed_without_an_error(app: object, no_waiting: None) -> None:
    await flood(app, 4 * BURST)
    scope = {"type": "websocket", "path": "/_event/", "headers": [], "client": (STRANGER, 1), "app": app}
    sent = list[MutableMapping[str, Any]]()

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)  # type: ignore[operator]
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_static_files_count_less(app: object, no_waiting: None) -> None:
    statuses = [
        (await ask(app, STRANGER, path="/assets/nothing.js"))[0].status_code for _ in range(3 * BURST)
    ]
    assert set(statuses) == {404}


@dataclass
class Counting:
    """An app that answers after a while, and counts how many requests it answers at once."""

    running: int = 0
    most: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.running -= 1
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("cookie", ["", FORGED])
async def test_burst_of_one_address_is_answered_a_few_at_a_time(cookie: str) -> None:
    counting = Counting()
    app = RequestMiddleware(counting, site=TENANT)
    answers = await asyncio.gather(
        flood(app, BURST, cookie),
        ask(app, OTHER),
        *(ask(app, STRANGER, path="/assets/nothing.js") for _ in range(9)),
    )
    assert {answer.status_code for answer, _ in [*answers[0], *answers[1:]]} == {200}
    assert 9 < counting.most <= request_limits.MAX_AT_ONCE + 1 + 9
    assert counting.running == 0


async def test_request_that_arrives_slowly_keeps_nobody_waiting() -> None:
    app = RequestMiddleware(Counting(), site=TENANT)
    has_arrived = asyncio.Event()

    async def arrive() -> AsyncIterator[bytes]:
        yield b"a"
        await has_arrived.wait()

    transport = httpx.ASGITransport(app=app, client=(STRANGER, 1))
    async with httpx.AsyncClient(transport=transport, base_url=settings().tenant_url) as client:
        slow = [
            asyncio.create_task(client.post("/nothing", content=arrive()))
            for _ in range(request_limits.MAX_AT_ONCE)
        ]
        await asyncio.sleep(0.05)
        assert (await ask(app, STRANGER))[1] < 1
        has_arrived.set()
        await asyncio.gather(*slow)


async def test_request_that_waits_too_long_behind_its_neighbours_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_over = asyncio.Event()

    async def answer_at_the_end(scope: Scope, receive: Receive, send: Send) -> None:
        await is_over.wait()
        await Counting()(scope, receive, send)

    monkeypatch.setattr(request_limits, "MAX_WAIT_SECONDS", 0.05)
    app = RequestMiddleware(answer_at_the_end, site=TENANT)
    stuck = [asyncio.create_task(ask(app, STRANGER)) for _ in range(request_limits.MAX_AT_ONCE)]
    await asyncio.sleep(0.02)
    answer, _ = await ask(app, STRANGER)
    is_over.set()
    await asyncio.gather(*stuck)
    assert answer.status_code == 429


async def test_sessions_of_one_address_have_a_limit_together(
    app: object, cast: Cast, no_waiting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "ADDRESS_SHARE", 2)
    people = [cast.ann, cast.adam, cast.max, cast.gil]
    for person in people:
        await ask(app, STRANGER, person.cookie, f"/t/{person.slug}/nothing")  # known from here on
    floods = await asyncio.gather(*(flood(app, BURST - 1, person.cookie) for person in people))
    assert 429 in [answer.status_code for answers in floods for answer, _ in answers]
    assert (await ask(app, OTHER, cast.ann.cookie))[0].status_code != 429
