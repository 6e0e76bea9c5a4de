"""Webhooks over real HTTP: answers, stored rows and their processing."""

import asyncio
import io
import json
import os
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from prometheus_client import REGISTRY
from sqlalchemy import make_url, text
from sqlalchemy.exc import ProgrammingError

from shared.backoffice import provider_accounts
from shared.backoffice.reasons import state_reason
from shared.billing import accounts, accounts_repository
from shared.billing.inbound_webhooks import ingest, signature_failures
from shared.billing.models import PLATFORM
from shared.core import db, rate_limits
from shared.core.config import DEMO_STRIPE_SECRET, settings
from shared.core.ids import new_id
from shared.tenancy import entry
from shared.web import stripe_webhooks, tenant_http, webhook_bodies
from tests.support import database
from tests.support.billing.webhooks import build_body, build_body_about, build_signature

PATH = "/webhooks/stripe"
JSON = "application/problem+json"


@dataclass(frozen=True)
class WebhookClient:
    """The app on a port, and requests to it."""

    port: int
    client: httpx.AsyncClient

    async def post(
        self, body: bytes, signed: str | None = None, path: str = PATH, **headers: str
    ) -> httpx.Response:
        """Signed as the stand-in does, unless a signature is given."""
        sent = {"stripe-signature": build_signature(body) if signed is None else signed, **headers}
        return await self.client.post(path, content=body, headers=sent)

    async def writes(self, *parts: bytes, wait: float = 0.0) -> bytes:
        """The answer to bytes on the wire, until the server closes or stops sending. Once it came, no more is sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answer = asyncio.create_task(reader.read(65_536))
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                if (await asyncio.wait({answer}, timeout=wait))[0]:
                    break
            return await asyncio.wait_for(answer, 5)
        finally:
            writer.close()


@pytest.fixture(scope="module")
async def webhook_client(schema: str) -> AsyncIterator[WebhookClient]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = uvicorn.Server(
        uvicorn.Config(tenant_http.app, port=port, lifespan="off", log_level="critical", access_log=False)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  it tells nobody
        await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
        yield WebhookClient(port, client)
    server.should_exit = True
    await serving


@dataclass(frozen=True)
class StoredWebhook:
    account: str
    type: str
    customer: str
    status: str
    payload: bytes
    processed: bool


def load_webhooks(event_id: str) -> list[StoredWebhook]:
    """Read as a superuser, for every account."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        rows = connection.execute(
            "select account_id, type, customer_id, status, payload, done_at is not null from inbound_webhook"
            " where event_id = %s order by account_id",
            [event_id],
        ).fetchall()
    return [StoredWebhook(*row) for row in rows]


def count_webhooks() -> int:
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        row = connection.execute("select count(*) from inbound_webhook").fetchone()
    assert row is not None
    return int(row[0])


def count_outcomes(outcome: str, account: str = "platform") -> float:
    labels = {"account": account, "outcome": outcome}
    return REGISTRY.get_sample_value("bulkhead_webhooks_total", labels) or 0.0


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings for a test."""

    def set_settings(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()

    yield set_settings
    monkeypatch.undo()
    settings.cache_clear()


async def add_account(secret: str = "", key: str = "") -> tuple[str, str]:
    """Returns path and secret of an account added by operators."""
    secret, key = secret or f"whsec_{new_id('x')}", key or f"sk_test_{new_id('x')}"
    async with entry.enter_platform("test") as octx:
        made = await provider_accounts.add(
            octx, "A second business", key, [secret], reason=state_reason(octx, "It sells too")
        )
    return made.removeprefix(settings().tenant_url), secret


def build_body_with_id(event_id: str, **changed: Any) -> bytes:
    return build_body(id=event_id, **changed)


async def test_signed_webhook_is_stored_unchanged_and_pending(webhook_client: WebhookClient) -> None:
    name, before = new_id("evt"), count_outcomes("stored")
    body = b" " + build_body_with_id(name) + b"\n"
    answer = await webhook_client.post(body)
    assert (answer.status_code, answer.content) == (200, b"")
    assert load_webhooks(name) == [
        StoredWebhook("platform", "customer.subscription.updated", "cus_1", "pending", body, processed=False)
    ]
    assert count_outcomes("stored") == before + 1


async def test_webhook_without_a_customer_or_relevance_is_stored_as_done(
    webhook_client: WebhookClient,
) -> None:
    bodies = {
        "price": build_body_about({"object": "price", "id": "price_1"}, type="price.created"),
        "payout": build_body_about({"object": "payout", "id": "po_1"}, type="payout.paid"),
        "charge": build_body_about(
            {"object": "charge", "id": "ch_1", "customer": "cus_1"}, type="charge.succeeded"
        ),
        "nobody": build_body_about(
            {"object": "checkout.session", "id": "cs_1"}, type="checkout.session.completed"
        ),
    }
    for body in bodies.values():
        assert (await webhook_client.post(body)).status_code == 200
    for kind, body in bodies.items():
        (row,) = load_webhooks(json.loads(body)["id"])
        assert (row.status, row.processed) == ("ignored", True), kind


async def test_webhook_sent_many_times_at_once_is_stored_once(webhook_client: WebhookClient) -> None:
    name = new_id("evt")
    body, before = build_body_with_id(name), (count_outcomes("stored"), count_outcomes("duplicate"))
    header = build_signature(body)
    answers = await asyncio.gather(*(webhook_client.post(body, header) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(load_webhooks(name)) == 1
    assert (count_outcomes("stored"), count_outcomes("duplicate")) == (before[0] + 1, before[1] + 49)


async def test_concurrent_batches_of_the_same_webhooks_do_not_deadlock(webhook_client: WebhookClient) -> None:
    """Two statements that take the same rows in different orders would lock each other out."""
    bodies = [build_body_with_id(new_id("evt")) for _ in range(40)]
    orders = [bodies, bodies[::-1], bodies[20:] + bodies[:20]]
    answers = await asyncio.gather(*(webhook_client.post(body) for order in orders for body in order))
    assert Counter(answer.status_code for answer in answers) == {200: 120}


async def test_same_event_id_from_two_accounts_is_two_webhooks(webhook_client: WebhookClient) -> None:
    path, secret = await add_account()
    name = new_id("evt")
    body = build_body_with_id(name)
    assert (await webhook_client.post(body)).status_code == 200
    assert (await webhook_client.post(body, build_signature(body, secret), path)).status_code == 200
    rows = load_webhooks(name)
    assert len(rows) == 2
    assert {row.status for row in rows} == {"pending"}
    assert len({row.account for row in rows}) == 2


async def test_webhook_signed_with_another_accounts_secret_is_refused(webhook_client: WebhookClient) -> None:
    path, secret = await add_account()
    name, before = new_id("evt"), count_webhooks()
    body = build_body_with_id(name)
    for signed, where in ((build_signature(body, secret), PATH), (build_signature(body), path)):
        answer = await webhook_client.post(body, signed, where)
        assert (answer.status_code, answer.json()["reason"]) == (400, "not_genuine")
    assert count_webhooks() == before


FORGED: dict[str, Any] = {
    "no signature": lambda body: "",
    "garbage": lambda body: "garbage",
    "only v0": lambda body: build_signature(body).replace("v1=", "v0="),
    "by another secret": lambda body: build_signature(body, "whsec_other"),
    "after 24 hours": lambda body: build_signature(body, ago=24 * 3600),
    "from a time to come": lambda body: build_signature(body, ago=-400),
    "with another time": lambda body: re.sub(r"t=\d+", "t=1", build_signature(body)),
    "of another body": lambda body: build_signature(body + b" "),
    "written anew": lambda body: build_signature(json.dumps(json.loads(body), indent=1).encode()),
    "not ASCII": lambda body: "t=1,v1=\xff".encode("latin-1"),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
async def test_webhook_without_a_valid_signature_is_refused_without_a_hint(
    webhook_client: WebhookClient, forge: Any
) -> None:
    body, before, refused = build_body(), count_webhooks(), count_outcomes("not_genuine")
    answer = await webhook_client.client.post(PATH, content=body, headers={"stripe-signature": forge(body)})
    assert (answer.status_code, answer.headers["content-type"]) == (400, JSON)
    problem = answer.json()
    assert problem.pop("request_id") == answer.headers["x-request-id"]
    assert problem == {
        "type": "about:blank",
        "title": "WebhookRejected",
        "status": 400,
        "reason": "not_genuine",
        "detail": "The signature doesn’t match this endpoint, or its timestamp is too old.",
        "next_step": "Check the endpoint’s signing secret and the clock, and send the body unchanged.",
    }
    assert count_webhooks() == before
    assert count_outcomes("not_genuine") == refused + 1


async def raise_error(*_: object) -> None:
    raise OSError("no database")


async def never_end(*_: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("write", [raise_error, never_end])
async def test_wrong_signature_is_refused_and_counted_later_where_its_count_cannot_be_written(
    webhook_client: WebhookClient, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    monkeypatch.setattr(accounts_repository, "add_signature_failures", write)
    monkeypatch.setattr(signature_failures, "WRITE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(signature_failures, "_pending", Counter())
    monkeypatch.setattr(signature_failures, "_written_at", {})
    body = build_body()
    for _ in range(3):
        answer = await webhook_client.post(body, build_signature(body, "whsec_other"))
        assert answer.status_code == 400
    assert signature_failures._pending[PLATFORM] == 3
    written = list[tuple[str, int]]()

    async def note_count(_: object, account_id: str, count: int) -> None:
        written.append((account_id, count))

    monkeypatch.setattr(accounts_repository, "add_signature_failures", note_count)
    signature_failures._written_at.clear()
    for _ in range(2):
        await webhook_client.post(body, build_signature(body, "whsec_other"))
    assert written == [(PLATFORM, 4)]


MALFORMED = {
    "not JSON": b"id=evt_1",
    "not UTF-8": b"\xff\xfe",
    "a list": b"[]",
    "{}": b"{}",
    "deep": b'{"id":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a thin event": build_body(object="v2.core.event"),
    "NUL in the id": build_body(id="evt\0"),
    "an endless id": build_body(id="e" * 300),
    "a time beyond every calendar": build_body(created=10**17),
    "empty": b"",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_signed_body_that_is_no_event_is_refused(webhook_client: WebhookClient, body: bytes) -> None:
    before = count_webhooks()
    answer = await webhook_client.post(body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "not_genuine")
    assert count_webhooks() == before


async def test_webhook_of_the_other_mode_is_refused(webhook_client: WebhookClient, environment: Any) -> None:
    live, test, before = build_body(livemode=True), build_body(livemode=False), count_webhooks()
    answer = await webhook_client.post(live)
    assert (answer.status_code, answer.json()["reason"]) == (400, "other_mode")
    environment(STRIPE_SECRET_KEY="sk_live_somebody", STRIPE_WEBHOOK_SECRETS="whsec_live")
    answer = await webhook_client.post(test, build_signature(test, "whsec_live"))
    assert (answer.status_code, answer.json()["reason"]) == (400, "other_mode")
    assert count_webhooks() == before
    assert (await webhook_client.post(live, build_signature(live, "whsec_live"))).status_code == 200


async def test_both_secrets_are_accepted_during_a_replacement(
    webhook_client: WebhookClient, environment: Any
) -> None:
    environment(STRIPE_WEBHOOK_SECRETS="whsec_new,whsec_old")
    for by in (("whsec_old",), ("whsec_new",), ("whsec_old", "whsec_new")):
        body = build_body()
        assert (await webhook_client.post(body, build_signature(body, *by))).status_code == 200
    environment(STRIPE_WEBHOOK_SECRETS="whsec_new")
    body = build_body()
    assert (await webhook_client.post(body, build_signature(body, "whsec_old"))).status_code == 400
    assert (await webhook_client.post(body, build_signature(body, "whsec_new"))).status_code == 200


async def test_changed_secrets_of_a_further_account_take_effect_at_once(
    webhook_client: WebhookClient,
) -> None:
    path, old = await add_account()
    body = build_body()
    assert (await webhook_client.post(body, build_signature(body, old), path)).status_code == 200
    async with entry.enter_platform("test") as octx:
        (account,) = {row.account for row in load_webhooks(json.loads(body)["id"])}
        await provider_accounts.set_secrets(
            octx, account, ["whsec_brand_new"], reason=state_reason(octx, "It was in a mail")
        )
    body = build_body()
    assert (await webhook_client.post(body, build_signature(body, old), path)).status_code == 400
    assert (
        await webhook_client.post(body, build_signature(body, "whsec_brand_new"), path)
    ).status_code == 200


async def test_webhook_route_without_a_secret_is_unavailable(
    webhook_client: WebhookClient, environment: Any
) -> None:
    environment(STRIPE_SECRET_KEY="sk_test_somebody")
    before = count_webhooks()
    for signed in (None, "", build_signature(build_body(), "")):
        answer = await webhook_client.post(build_body(), signed)
        assert (answer.status_code, answer.headers["content-type"]) == (503, JSON)
        assert answer.json()["reason"] == "webhooks_closed"
        assert "STRIPE_WEBHOOK_SECRETS" in answer.json()["next_step"]
    assert count_webhooks() == before


def strip_request_id(answer: httpx.Response) -> tuple[Any, ...]:
    request_id = answer.headers["x-request-id"]
    headers = [header for header in answer.headers.multi_items() if header[0] not in ("x-request-id", "date")]
    return answer.status_code, sorted(headers), answer.text.replace(request_id, "")


async def test_unknown_webhook_token_gets_the_answer_for_an_unknown_path(
    webhook_client: WebhookClient,
) -> None:
    path, _ = await add_account()
    nothing = strip_request_id(await webhook_client.post(build_body(), path="/webhooks/nothing/at-all"))
    assert nothing[0] == 404
    for tried in (
        f"{path[:-1]}{'a' if path[-1] != 'a' else 'b'}",
        f"{PATH}/short",
        f"{path}/more",
        f"{PATH}/",
    ):
        assert strip_request_id(await webhook_client.post(build_body(), path=tried)) == nothing, tried
    for tried in (PATH, path):
        assert strip_request_id(await webhook_client.client.get(tried)) == nothing, "and nobody looks at it"


async def test_webhook_ignores_cookie_and_foreign_origin(webhook_client: WebhookClient) -> None:
    answer = await webhook_client.post(
        build_body(), origin="https://evil.test", cookie="theme=dark", accept="text/html"
    )
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    answer = await webhook_client.post(build_body(), "", origin="https://evil.test", accept="text/html")
    assert (answer.status_code, answer.headers["content-type"]) == (400, JSON)


# ── bodies that are too much ─────────────────────────────────────────────────────────────────────────────────────


async def test_webhook_of_the_largest_size_is_accepted_and_one_byte_more_refused(
    webhook_client: WebhookClient,
) -> None:
    base, name = len(build_body(more="")), new_id("evt")
    fill = stripe_webhooks.MAX_BODY_BYTES - len(build_body_with_id(name, more=""))
    largest = build_body_with_id(name, more="x" * fill)
    assert base
    assert len(largest) == stripe_webhooks.MAX_BODY_BYTES
    assert (await webhook_client.post(largest)).status_code == 200
    assert load_webhooks(name)[0].payload == largest
    before = count_webhooks()
    for too_much in (largest + b" ", largest + b" " * 600_000):
        answer = await webhook_client.post(too_much)
        assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")
    assert count_webhooks() == before


async def test_webhook_that_announces_too_large_a_body_is_refused_at_once(
    webhook_client: WebhookClient,
) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {10**15}\r\n\r\n".encode()
    assert (await webhook_client.writes(head)).startswith(b"HTTP/1.1 413 ")


async def test_webhook_without_a_length_is_refused_above_the_limit(webhook_client: WebhookClient) -> None:
    async def send_endlessly() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 50_000

    answer = await webhook_client.client.post(
        PATH, content=send_endlessly(), headers={"stripe-signature": "t=1,v1=x"}
    )
    assert answer.status_code == 413


async def test_webhook_with_an_invalid_length_is_refused(webhook_client: WebhookClient) -> None:
    before = count_webhooks()
    for length in ("-1", "x", "1e3", "5, 6"):
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode()
        assert (await webhook_client.writes(head)).startswith(b"HTTP/1.1 400 "), length
    assert count_webhooks() == before


async def test_slow_webhook_body_times_out(
    webhook_client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_bodies, "BODY_TIMEOUT_S", 0.5)
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n".encode()
    status_line = await webhook_client.writes(head, b"{", b" ", wait=0.2)
    assert status_line.startswith(b"HTTP/1.1 408 ")
    assert b'"reason":"too_slow"' in status_line


async def test_webhook_cut_off_half_way_is_not_stored(webhook_client: WebhookClient) -> None:
    body, before, cut = build_body(), count_webhooks(), count_outcomes("cut_off")
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nstripe-signature: {build_signature(body)}\r\ncontent-length: {len(body)}\r\n\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", webhook_client.port)
    writer.write(head.encode() + body[:-1])
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    for _ in range(100):
        if count_outcomes("cut_off") > cut:
            break
        await asyncio.sleep(0.02)
    assert count_outcomes("cut_off") == cut + 1
    assert count_webhooks() == before


# ── too often, and when the database does not take it ────────────────────────────────────────────────────────────


async def test_account_above_its_rate_limit_is_refused_and_others_are_not(
    webhook_client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = await add_account()
    monkeypatch.setattr(rate_limits.RateLimit.WEBHOOK_ACCOUNT, "_value_", ("3/minute", "webhooks"))
    forged = [await webhook_client.post(build_body(), "") for _ in range(5)]
    assert {answer.status_code for answer in forged} == {400}, "who cannot sign uses nothing up"
    bodies = [build_body() for _ in range(4)]
    answers = [await webhook_client.post(body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[3].headers["retry-after"]) <= 60
    assert answers[3].json()["reason"] == "rate_limited"
    assert load_webhooks(json.loads(bodies[3])["id"]) == []
    assert (await webhook_client.post(bodies[3], build_signature(bodies[3], secret), path)).status_code == 200
    await rate_limits.clear_counts()
    assert (await webhook_client.post(bodies[3])).status_code == 200, "sent again it is kept"


async def test_webhook_of_a_paused_account_is_stored(webhook_client: WebhookClient) -> None:
    path, secret = await add_account()
    body = build_body()
    assert (await webhook_client.post(body, build_signature(body, secret), path)).status_code == 200
    (row,) = load_webhooks(json.loads(body)["id"])
    async with db.transaction() as session:
        await accounts.pause(session, row.account, "the key was refused")
    body = build_body()
    assert (await webhook_client.post(body, build_signature(body, secret), path)).status_code == 200
    assert len(load_webhooks(json.loads(body)["id"])) == 1


async def test_webhook_token_is_logged_nowhere(webhook_client: WebhookClient) -> None:
    path, secret = await add_account()
    body, log_output = build_body(), io.StringIO()
    with redirect_stdout(log_output):
        assert (await webhook_client.post(body, build_signature(body, secret), path)).status_code == 200
        assert (await webhook_client.post(body, "", path)).status_code == 400
    assert "/webhooks/stripe/[hidden]" in log_output.getvalue()
    assert path.rpartition("/")[2] not in log_output.getvalue()


@asynccontextmanager
async def unreachable_database() -> AsyncIterator[None]:
    """Refuses new connections and closes those of the app."""
    name = make_url(os.environ["DATABASE_URL"]).database
    with psycopg.connect(database.admin_url(), autocommit=True) as connection:
        connection.execute(f"alter database {name} allow_connections false")
        try:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and usename like '%%\\_login'",
                [name],
            )
            yield
        finally:
            connection.execute(f"alter database {name} allow_connections true")
            await db.dispose()  # what pages and other logins had is dead too


async def test_webhook_is_unavailable_without_the_database_and_stored_when_resent(
    webhook_client: WebhookClient,
) -> None:
    bodies = [build_body() for _ in range(12)]
    assert (await webhook_client.post(bodies[0])).status_code == 200
    async with unreachable_database():
        answers = await asyncio.gather(*(webhook_client.post(body) for body in bodies))
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["reason"] for answer in answers} == {"not_stored"}
    answers = await asyncio.gather(*(webhook_client.post(body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert [len(load_webhooks(json.loads(body)["id"])) for body in bodies] == [1] * 12


async def test_webhook_times_out_when_its_statement_hangs(
    webhook_client: WebhookClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "STORE_TIMEOUT_S", 0.5)
    body = build_body()
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("lock table inbound_webhook in exclusive mode")
        answer = await webhook_client.post(body)
        assert (answer.status_code, answer.json()["reason"]) == (503, "not_stored")
    assert load_webhooks(json.loads(body)["id"]) == []
    assert (await webhook_client.post(body)).status_code == 200


# ── who reads it, and who hears of it ────────────────────────────────────────────────────────────────────────────


async def test_app_role_cannot_read_or_change_webhook_payloads(webhook_client: WebhookClient) -> None:
    await webhook_client.post(build_body())
    async with db.transaction() as session:
        assert (
            await (await session.connection()).execute(text("select event_id from inbound_webhook"))
        ).first()
    for query in (
        "select payload from inbound_webhook",
        "select * from inbound_webhook",
        "update inbound_webhook set payload = ''",
    ):
        with pytest.raises(ProgrammingError, match="permission denied"):
            async with db.transaction() as session:
                await (await session.connection()).execute(text(query))


async def test_fresh_webhook_cannot_be_deleted(webhook_client: WebhookClient) -> None:
    await webhook_client.post(build_body())
    with pytest.raises(ProgrammingError, match="what was received is kept"):
        async with db.transaction() as session:
            await (await session.connection()).execute(text("delete from inbound_webhook"))


async def test_worker_is_notified_after_the_commit_of_a_pending_webhook(
    webhook_client: WebhookClient,
) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True) as listener:
        await listener.execute(f"listen {ingest.CHANNEL}")
        await webhook_client.post(
            build_body_about({"object": "price", "id": "price_1"}, type="price.created")
        )
        body = build_body()
        await webhook_client.post(body)
        await webhook_client.post(body)
        heard = [answer async for answer in listener.notifies(timeout=1)]
    assert [notification.payload for notification in heard] == [""]


def test_stand_in_secret_is_the_default_of_development() -> None:
    assert settings().stripe_secrets == (DEMO_STRIPE_SECRET,)
