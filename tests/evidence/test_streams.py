"""The audit log arrives at a SIEM in the order of its chain, whatever becomes of the receiver, and verifies there."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.outbound import OutboundClient
from shared.evidence import streams
from shared.evidence.models import AuditStream, StreamPause, StreamState
from shared.evidence.stream_sender import StreamSender
from shared.evidence.streams import IssuedStream, StreamView
from tenant_app.pages.audit_streams.state import AuditStreamsState
from tests.conftest import Cast, Person
from tests.support import audit_chains, evidence
from tests.support.receiver_process import run_process
from tests.support.sizes import size
from tests.support.webhook_receiver import Receiver


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    started = Receiver()
    await started.start()
    monkeypatch.setattr("shared.core.outbound.list_allowed_targets", lambda: frozenset([started.target]))
    yield started
    await started.kill()


@pytest.fixture
async def sender(receiver: Receiver) -> AsyncIterator[StreamSender]:
    client = OutboundClient([receiver.target], total_timeout_s=2.0)
    yield StreamSender(client)
    await client.close()


async def add_stream(person: Person, url: str, kind: str = "https", token: str = "") -> IssuedStream:
    async with person.ctx() as ctx:
        return await streams.create(ctx, kind, url, token=token)


async def record_events(person: Person, count: int) -> None:
    async with person.ctx() as ctx:
        for number in range(count):
            audit_log.record(ctx, "checklist.completed", f"step{number}", reason="ä;=1")
    await audit_chains.seal(person)


async def get_stream(person: Person) -> StreamView:
    async with person.ctx() as ctx:
        (stream,) = await streams.list_streams(ctx)
    return stream


def list_events(receiver: Receiver) -> list[dict[str, Any]]:
    """Of the requests that were taken, in the order of their arrival."""
    return [event for request in receiver.requests for event in json.loads(request.body)]


def verify(events: list[dict[str, Any]], folder: Path) -> Any:
    path = folder / "received.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return evidence.script.verify_stream(path, keys=[])


async def test_receiver_that_is_down_for_an_hour_gets_everything_in_order_and_verifies_it(
    cast: Cast, receiver: Receiver, sender: StreamSender, tmp_path: Path
) -> None:
    """The hour passes on the clock that the sender is given."""
    count, at = size("evidence.siem"), now()
    issued = await add_stream(cast.ann, receiver.url)
    await record_events(cast.ann, count)
    await sender.drain(at)
    before = len(receiver.requests)
    assert before > 0
    await receiver.kill()
    for minutes in range(0, 60, 5):
        await record_events(cast.ann, count // 4)
        await sender.drain(at + timedelta(minutes=minutes))
    failing = await get_stream(cast.ann)
    assert (failing.state, failing.failure_count > 2, failing.lag > count) == (StreamState.ACTIVE, True, True)
    assert len(receiver.requests) == before
    await receiver.start()
    await sender.drain(at + timedelta(minutes=80))
    events = list_events(receiver)
    numbers = [event["metadata"]["sequence"] for event in events]
    assert numbers == list(range(1, len(numbers) + 1))
    delivered = await get_stream(cast.ann)
    assert (delivered.lag, delivered.failure_count, delivered.cursor) == (0, 0, numbers[-1])
    result = verify(events, tmp_path)
    assert (result.problems, result.events) == ([], len(events))
    for request in receiver.requests:
        request.verify(issued.secret)
    lost = verify(events[:4] + events[5:], tmp_path).problems
    assert lost == ["event 5: missing; the next line is event 6"]


async def test_receiver_process_that_is_killed_over_a_batch_verifies_all_of_it_an_hour_later(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 before its answer: the batch comes again. The hour passes on the clock that the sender is given."""
    count, at = size("evidence.siem"), now()
    with run_process(tmp_path / "requests", delay_s=5.0) as siem:
        monkeypatch.setattr("shared.core.outbound.list_allowed_targets", lambda: frozenset([siem.target]))
        client = OutboundClient([siem.target], total_timeout_s=2.0)
        sender = StreamSender(client)
        issued = await add_stream(cast.ann, siem.url)
        await record_events(cast.ann, count)
        draining = asyncio.create_task(sender.drain(at))
        async with asyncio.timeout(10):
            while not siem.list_requests():  # noqa: ASYNC110  a file has no event
                await asyncio.sleep(0.02)
        siem.kill()
        await draining
        for minutes in range(5, 60, 5):
            await record_events(cast.ann, count // 4)
            await sender.drain(at + timedelta(minutes=minutes))
        siem.start()
        await sender.drain(at + timedelta(minutes=80))
        await client.close()
        requests = siem.list_requests()
    events = [event for request in requests for event in json.loads(request.body)]
    numbers = list(dict.fromkeys(event["metadata"]["sequence"] for event in events))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) < len(events)
    assert ((await get_stream(cast.ann)).lag, verify(events, tmp_path).problems) == (0, [])
    for request in requests:
        request.verify(issued.secret)


async def test_batch_that_was_sent_twice_verifies(
    cast: Cast, receiver: Receiver, sender: StreamSender, tmp_path: Path
) -> None:
    """As after a sender that died before it could note that the receiver had taken it."""
    await add_stream(cast.ann, receiver.url)
    await record_events(cast.ann, 3)
    await sender.drain()
    events = list_events(receiver)
    assert verify(events + events[-2:], tmp_path).problems == []
    forged = copy.deepcopy(events[-1])
    forged["actor"]["user"]["name"] = "Eve"
    number = forged["metadata"]["sequence"]
    assert verify([*events, forged], tmp_path).problems == [f"event {number}: actor differs from its record"]


def _remove_record(event: dict[str, Any]) -> None:
    """As an event that was sealed in the former format, and whose record is withheld."""
    link = event["unmapped"]["bulkhead"]
    link.update(record="", event_hash=link["chain_hash"])


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "actor": (lambda event: event["actor"]["user"].update(name="Eve"), "actor differs from its record"),
    "action": (lambda event: event["metadata"].update(event_code="member.left"), "action differs"),
    "object": (lambda event: event["resources"][0].update(uid="step9"), "object differs"),
    "time": (lambda event: event.update(time=event["time"] - 60_000), "time differs"),
    "number": (lambda event: event["metadata"].update(sequence=99), "number differs"),
    "organisation": (lambda event: event["metadata"].update(tenant_uid="ten_0"), "the organisation differs"),
    "record": (_remove_record, "its record is missing"),
}


async def test_received_event_that_was_changed_is_named(
    cast: Cast, receiver: Receiver, sender: StreamSender, tmp_path: Path
) -> None:
    await add_stream(cast.ann, receiver.url)
    await record_events(cast.ann, 3)
    await sender.drain()
    events = list_events(receiver)
    number = events[-2]["metadata"]["sequence"]
    for name, (forge, problem) in FORGERIES.items():
        forged = copy.deepcopy(events)
        forge(forged[-2])
        (line,) = verify(forged, tmp_path).problems
        assert line.startswith(f"event {number}: {problem}"), name


async def test_splunk_gets_its_token_and_one_object_for_each_event(
    cast: Cast, receiver: Receiver, sender: StreamSender
) -> None:
    issued = await add_stream(cast.ann, receiver.url, "splunk", "0a1b-secret")
    assert issued.secret == ""
    await record_events(cast.ann, 2)
    await sender.drain()
    (request,) = receiver.requests
    assert request.headers["authorization"] == "Splunk 0a1b-secret"
    envelopes = [json.loads(line) for line in request.body.splitlines()]
    assert {envelope["sourcetype"] for envelope in envelopes} == {"bulkhead:audit:ocsf"}
    assert envelopes[0]["event"]["metadata"]["tenant_uid"] == cast.acme


async def test_paused_stream_keeps_its_place_and_goes_on(
    cast: Cast, receiver: Receiver, sender: StreamSender
) -> None:
    issued = await add_stream(cast.ann, receiver.url)
    async with cast.ann.ctx() as ctx:
        await streams.pause(ctx, issued.stream.id)
        with pytest.raises(Conflict):
            await streams.send_test(ctx, issued.stream.id)
    await record_events(cast.ann, 2)
    await sender.drain(now() + timedelta(days=8))
    assert receiver.requests == []
    async with cast.ann.ctx() as ctx:
        await streams.resume(ctx, issued.stream.id)
    async with cast.ann.ctx() as ctx:
        events = (await audit_log.list_events(ctx, AuditFilter(action="audit_stream.resumed"))).rows
    assert [event.object_id for event in events] == [issued.stream.id]
    await audit_chains.seal(cast.ann)
    await sender.drain()
    assert list_events(receiver)[0]["metadata"]["sequence"] == 1


async def test_failing_receiver_is_paused_after_two_weeks_and_a_gone_one_at_once(
    cast: Cast, receiver: Receiver, sender: StreamSender
) -> None:
    await add_stream(cast.ann, receiver.url)
    await record_events(cast.ann, 1)
    receiver.answer, at = (lambda _: 500), now()
    for days in (0, 7, 13):
        await sender.drain(at + timedelta(days=days))
        assert (await get_stream(cast.ann)).state is StreamState.ACTIVE
    await sender.drain(at + timedelta(days=15))
    assert (await get_stream(cast.ann)).pause_reason is StreamPause.FAILURES
    async with cast.ann.ctx() as ctx:
        await streams.resume(ctx, (await get_stream(cast.ann)).id)
    receiver.answer = lambda _: 410
    await sender.drain(at + timedelta(days=16))
    assert (await get_stream(cast.ann)).pause_reason is StreamPause.GONE


async def test_test_event_is_in_no_chain(cast: Cast, receiver: Receiver, sender: StreamSender) -> None:
    issued = await add_stream(cast.ann, receiver.url)
    async with cast.ann.ctx() as ctx:
        await streams.send_test(ctx, issued.stream.id)
    await sender.drain()
    first = list_events(receiver)[0]
    assert first["unmapped"] == {"bulkhead": {"test": True}}
    assert first["type_uid"] == 600_399


async def create(ctx: Ctx, **fields: str) -> IssuedStream:
    return await streams.create(ctx, fields["kind"], fields["url"], token=fields.get("token", ""))


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "ftp", "url": "https://siem.example.com"},
        {"kind": "https", "url": "http://siem.example.com"},
        {"kind": "https", "url": "https://127.0.0.1/"},
        {"kind": "splunk", "url": "https://siem.example.com", "token": ""},
        {"kind": "splunk", "url": "https://siem.example.com", "token": "a\r\nx-evil: 1"},
    ],
)
async def test_impossible_receiver_is_refused(cast: Cast, fields: dict[str, str]) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await create(ctx, **fields)


async def test_streams_belong_to_owners_and_their_tenant(cast: Cast) -> None:
    issued = await add_stream(cast.ann, "https://siem.example.com/x")
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await streams.list_streams(ctx)
    async with cast.gil.ctx() as ctx:
        with pytest.raises((NotFound, Refused)):
            await streams.delete(ctx, issued.stream.id)
    async with cast.ann.ctx() as ctx:
        await streams.delete(ctx, issued.stream.id)
        row = await ctx.session.get(AuditStream, (cast.acme, issued.stream.id))
        assert row is not None
        assert row.secret is None


async def test_page_adds_pauses_tests_and_deletes_a_stream(cast: Cast, receiver: Receiver) -> None:
    page: Any = cast.ann.opens(AuditStreamsState, path="settings/audit")
    handlers = AuditStreamsState.event_handlers
    await handlers["load"].fn(page)
    answer = await handlers["create_stream"].fn(page, {"kind": "https", "url": receiver.url, "token": ""})
    assert "whsec_" in str(answer)
    assert "whsec_" not in str([page.rows, page.subject])
    (row,) = page.rows
    for handler, status in (
        ("test_stream", "Active"),
        ("pause_stream", "Paused"),
        ("resume_stream", "Active"),
    ):
        await handlers[handler].fn(page, row.id)
        assert page.rows[0].status == status
    await handlers["open_dialog"].fn(page, "delete", row.id)
    await handlers["delete_stream"].fn(page, {"confirm": receiver.url})
    assert page.rows == []
