"""One request id from the edge to the audit log, the decisions, the jobs and the error that a person sees."""

import asyncio
import io
from collections.abc import AsyncIterator

import pytest
from PIL import Image
from procrastinate import RetryStrategy
from reflex_base.event.context import EventContext

from shared.audit.audit_filter import AuditFilter
from shared.core import request_ids
from shared.jobs import queue, worker
from shared.tenancy import audit_reader, entry
from shared.ui import event_requests, states
from tests.conftest import Cast, Person
from tests.support import workers
from tests.support.http_visitor import browser


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    yield schema
    workers.clear_queue(schema)


def build_logo() -> dict[str, tuple[str, bytes, str]]:
    """The file of the form on the settings page."""
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "PNG")
    return {"logo": ("logo.png", picture.getvalue(), "image/png")}


async def list_audited_ids(person: Person, action: str) -> set[str]:
    async with person.ctx() as ctx:
        page = await audit_reader.list_events(ctx, AuditFilter(action=action))
    return {event.request_id for event in page.rows}


async def test_http_request_has_the_id_of_its_answer_in_the_audit_log(cast: Cast) -> None:
    async with browser(cookie=cast.ann.cookie) as client:
        answer = await client.post(
            f"/t/{cast.ann.slug}/logo", files=build_logo(), headers={"x-request-id": "of the client"}
        )
    request_id = answer.headers["x-request-id"]
    assert request_id.startswith("req_")
    assert await list_audited_ids(cast.ann, "tenant.logo_changed") == {request_id}


async def test_refused_http_request_is_counted_with_the_id_of_its_answer(cast: Cast) -> None:
    async with browser(cookie=cast.max.cookie) as client:
        answer = await client.post(
            f"/t/{cast.max.slug}/logo", files=build_logo(), headers={"accept": "application/json"}
        )
    assert (answer.status_code, answer.json()["request_id"]) == (403, answer.headers["x-request-id"])


async def test_transactions_of_one_request_share_its_id(cast: Cast) -> None:
    request_id = request_ids.begin()
    for _ in range(2):
        async with cast.ann.ctx() as ctx:
            assert ctx.request_id == request_id
    assert request_ids.current() == request_id


def run_event(txid: str, parent_txid: str | None = None) -> str:
    """The request id of an event, as the middleware begins it in the event's own task."""

    async def begin() -> str:
        EventContext.set(
            EventContext(
                token="t",
                state_manager=None,  # type: ignore[arg-type]
                enqueue_impl=None,  # type: ignore[arg-type]
                txid=txid,
                parent_txid=parent_txid,
            )
        )
        event_requests.begin()
        return request_ids.current()

    return asyncio.run(begin())


def test_chained_events_continue_the_request_and_others_begin_their_own() -> None:
    first = run_event("a")
    second = run_event("b", parent_txid="a")
    assert first == second == run_event("c", parent_txid="b")
    assert run_event("d") != first


def test_remembered_events_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_requests, "MAX_EVENTS", 3)
    for number in range(10):
        run_event(f"bounded {number}")
    assert len(event_requests._ids_by_event) == 3


def test_error_of_an_event_shows_the_id_that_its_records_have() -> None:
    request_id = run_event("failing")

    async def show() -> str:
        EventContext.set(
            EventContext(token="t", state_manager=None, enqueue_impl=None, txid="failing")  # type: ignore[arg-type]
        )
        return str(states.show_refusal(ZeroDivisionError("x")))

    assert request_id in asyncio.run(show())


async def test_job_and_its_retries_keep_the_id_of_the_request_that_put_it(
    cast: Cast, empty_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "RETRY", RetryStrategy(max_attempts=6, wait=0))
    fields: list[dict[str, str | int]] = []

    async def fail_once(ctx: entry.Ctx) -> None:
        fields.append({"of the context": ctx.request_id, **request_ids.log_fields()})
        if len(fields) == 1:
            raise ZeroDivisionError

    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.fail_once")
    for _ in range(2):
        await workers.run_due_jobs({"tests.fail_once": fail_once})
    common = {"of the context": ctx.request_id, "request_id": ctx.request_id, "action": "tests.fail_once"}
    common |= {"tenant_id": cast.acme, "actor_type": "job"}
    assert fields == [{**common, "attempt": 1}, {**common, "attempt": 2}]
