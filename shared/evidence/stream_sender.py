"""Send the audit logs of tenants to their SIEMs: in the order of the chain, each event at least once.

The worker runs it beside the queue. One batch of a stream is under way at a time; the cursor moves when the receiver has
taken it. A sender that dies leaves a claim that lapses, and the batch is sent again with the same numbers. A receiver that
is down is tried again for as long as it takes, and paused after `PAUSE_AFTER`; its events stay in the audit log.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from shared.audit import sealing
from shared.core import db, log, outbound, request_ids
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.outbound import Answer, OutboundClient
from shared.evidence import chain_repository, ocsf, streams
from shared.evidence import stream_repository as repository
from shared.evidence.models import AuditStream, StreamKind, StreamPause
from shared.outbound_webhooks import signing
from shared.tenancy import entry, tenant_secrets

TASK = "evidence.send_stream"  # the name under which it enters tenants
BATCH_SIZE, MAX_BATCH_BYTES = 100, 900_000  # events; Splunk takes 1 MB
LEASE = timedelta(seconds=4 * outbound.TOTAL_TIMEOUT_S)
POLL_INTERVAL_S = 2.0
MAX_TENANTS = 50  # that are sent for at a time
WAITS = tuple(timedelta(seconds=seconds) for seconds in (10, 60, 300, 900))  # the last one again and again
PAUSE_AFTER = timedelta(days=14)  # without any delivery; twice what is promised
GONE = 410
SOURCE_TYPE = "bulkhead:audit:ocsf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`last_number`, `last_hash`: where the cursor is when the receiver has taken it. `is_test`: it has no link."""

    stream_id: str
    claim: str
    kind: StreamKind
    url: str
    secret: str
    body: str
    id: str
    first_number: int
    last_number: int
    last_hash: bytes
    count: int
    is_test: bool


class StreamSender:
    """The sender of one process."""

    def __init__(
        self,
        client: OutboundClient,
        *,
        waits: Sequence[timedelta] = WAITS,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self._client, self._waits, self._poll_interval_s = client, waits, poll_interval_s
        self._running: dict[str, asyncio.Task[bool]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.start_due()
                except Exception as problem:  # the loop has to survive until the database is back
                    log.get_logger(__name__).error("streams_not_found", problem=type(problem).__name__)
                await asyncio.sleep(self._poll_interval_s)
        finally:
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def drain(self, at: datetime | None = None) -> None:
        """Send everything that is due at this time, or now."""
        while await self.start_due(at):
            await asyncio.gather(*self._running.values())

    async def start_due(self, at: datetime | None = None) -> int:
        """Begin for tenants that have something to send. Returns how many."""
        former, count = "", 0
        while len(self._running) < MAX_TENANTS:
            async with db.transaction() as session:
                former = await repository.find_next_to_stream(session, former, at or now())
            if not former:
                break
            if former not in self._running:
                task = asyncio.create_task(self._send_tenant(former, at))
                self._running[former] = task
                task.add_done_callback(partial(self._forget, former))
                count += 1
        return count

    def _forget(self, tenant_id: str, _: asyncio.Task[bool]) -> None:
        self._running.pop(tenant_id, None)

    async def _send_tenant(self, tenant_id: str, at: datetime | None) -> bool:
        """A batch of each stream of a tenant. Raises nothing but CancelledError."""
        request_ids.begin()
        try:
            batches = await self._claim(tenant_id, at or now())
            for batch in batches:
                answer = await self._send(tenant_id, batch)
                await self._record(tenant_id, batch, answer, at=at or now())
            return bool(batches)
        except Refused as refusal:  # suspended or deleted since
            log.get_logger(__name__).info("stream_waits", tenant_id=tenant_id, reason=refusal.reason)
        except Exception as problem:
            log.report_bug(problem, tenant_id=tenant_id)
        return False

    async def _claim(self, tenant_id: str, at: datetime) -> list[Batch]:
        async with entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
            await sealing.seal_tenant(ctx)
            batches = []
            for row in await repository.lock_due_streams(ctx, at):
                batch = await _build_batch(ctx, row, at=at)
                if batch is None:
                    continue
                row.claim, row.due_at = batch.claim, at + LEASE
                ctx.session.add(row)
                batches.append(batch)
        return batches

    async def _send(self, tenant_id: str, batch: Batch) -> Answer:
        at = now()
        if batch.kind is StreamKind.SPLUNK:
            headers = {"authorization": f"Splunk {batch.secret}", "content-type": "application/json"}
        else:
            headers = signing.build_headers([batch.secret], batch.id, batch.body, at=at)
        headers["user-agent"] = signing.USER_AGENT
        return await self._client.send(
            "POST", batch.url, headers=headers, body=batch.body.encode(), holder=tenant_id
        )

    async def _record(self, tenant_id: str, batch: Batch, answer: Answer, *, at: datetime) -> None:
        async with entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
            row = await repository.lock_stream(ctx, batch.stream_id)
            if row is None or row.claim != batch.claim:
                return  # deleted, or its claim has lapsed: somebody else sends it
            row.claim, row.last_attempt_at = "", at
            row.last_status, row.last_problem = answer.status, answer.problem.value
            if 200 <= answer.status < 300:
                _move_cursor(row, batch, at)
            else:
                await self._note_failure(ctx, row, answer, at=at)
            ctx.session.add(row)

    async def _note_failure(self, ctx: Ctx, row: AuditStream, answer: Answer, *, at: datetime) -> None:
        wait = self._waits[min(row.failure_count, len(self._waits) - 1)]
        row.failure_count, row.due_at = row.failure_count + 1, at + wait
        row.failing_since = row.failing_since or at
        if answer.status == GONE:
            await streams.mark_paused(ctx, row, StreamPause.GONE)
        elif at - row.failing_since >= PAUSE_AFTER:
            await streams.mark_paused(ctx, row, StreamPause.FAILURES)


def _move_cursor(row: AuditStream, batch: Batch, at: datetime) -> None:
    if batch.is_test:
        row.is_test_due = False
    else:
        row.cursor_seq, row.cursor_hash = batch.last_number, batch.last_hash
        row.sent_count += batch.count
    row.due_at, row.last_delivered_at = None, at
    row.failure_count, row.failing_since = 0, None


async def _build_batch(ctx: Ctx, row: AuditStream, *, at: datetime) -> Batch | None:
    """None where there is nothing to send."""
    events: list[dict[str, Any]] = []
    first = last = row.cursor_seq
    last_hash, size = row.cursor_hash, 0
    if row.is_test_due:
        events.append(ocsf.build_test_event(ctx.tenant_id, row.id, at=at))
    else:
        links = await chain_repository.list_links(ctx, after=row.cursor_seq, limit=BATCH_SIZE)
        for link in links:
            event = ocsf.build_event(ctx.tenant_id, link)
            size += len(json.dumps(event))
            if events and size > MAX_BATCH_BYTES:
                break
            events.append(event)
            last, last_hash = link.number, link.chain_hash
        first = links[0].number if links else first
    if not events or row.secret is None:
        return None
    key = await tenant_secrets.read_key(ctx)
    secret = tenant_secrets.unseal(ctx, key, row.secret, field=streams.SECRET_FIELD, row_id=row.id)
    return Batch(
        stream_id=row.id,
        claim=new_id("clm"),
        kind=row.kind,
        url=row.url,
        secret=secret,
        body=_render(row.kind, events),
        id=f"{row.id}_{'test' if row.is_test_due else f'{first}_{last}'}",
        first_number=first,
        last_number=last,
        last_hash=last_hash,
        count=len(events),
        is_test=row.is_test_due,
    )


def _render(kind: StreamKind, events: Sequence[dict[str, Any]]) -> str:
    """A JSON array; for Splunk one object after the other, each with its time in seconds."""
    if kind is StreamKind.HTTPS:
        return json.dumps(events, ensure_ascii=False, separators=(",", ":"))
    envelopes = (
        {"time": event["time"] / 1000, "source": "bulkhead", "sourcetype": SOURCE_TYPE, "event": event}
        for event in events
    )
    return "\n".join(
        json.dumps(envelope, ensure_ascii=False, separators=(",", ":")) for envelope in envelopes
    )


async def run() -> None:
    """Send until cancelled."""
    client = OutboundClient()
    try:
        await StreamSender(client).run()
    finally:
        await client.close()
