"""Send events to the endpoints of tenants: in batches, in turns, each at least once.

The worker runs it beside the queue. A dispatcher that dies leaves claims that lapse; what it had sent and not recorded is
sent again with the same id. No transaction is open while an endpoint is waited for.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core import db, log, outbound, request_ids
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.outbound import Answer, OutboundClient, OutboundProblem
from shared.outbound_webhooks import dispatch_repository as repository
from shared.outbound_webhooks import endpoints, results, signing
from shared.outbound_webhooks.dispatch_repository import AttemptResult, ClaimedDelivery, Room
from shared.outbound_webhooks.models import DeliveryStatus
from shared.outbound_webhooks.retries import RETRY_POLICY, RetryPolicy
from shared.tenancy import entry, tenant_secrets

TASK = "webhook.deliver"  # the name under which it enters tenants
LEASE = timedelta(seconds=4 * outbound.TOTAL_TIMEOUT_S)  # outlives an attempt and its recording
FAN_OUT_SIZE, FAN_OUT_TENANTS = 500, 100  # events at a time, and tenants
POLL_INTERVAL_S = 0.5
MIN_INTERVAL_S = 0.03  # between two claims, so that one finds room for many
MAX_TENANT_TRANSACTIONS = 4  # at a time, of the pool that jobs share
PURGE_INTERVAL_S, PURGE_SIZE = 3600.0, 200  # events of one tenant in one transaction
RETENTION = timedelta(days=30)  # of events, deliveries and attempts
MAX_RESPONSE_CHARACTERS = 4_000
MAX_ASKED_WAIT_S = 3_600  # by an answer's Retry-After
POSTPONED_S = 5.0  # a delivery that was not tried, because its host could not be looked up yet
UNSHOWN = (OutboundProblem.HOST_UNUSABLE,)  # whose time would tell internal names from unknown ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Deliveries that one process sends at a time: in all, of one tenant, of one endpoint, and of all slow endpoints.

    An endpoint counts as slow from answers of `slow_ms` milliseconds on, and until its first answer. A tenant has less than `per_tenant` where many have something to send, and a claim leaves a part of what is free: so a
    tenant that comes now finds a place, or gets one before those that have some.
    """

    in_flight: int = 200
    per_tenant: int = 40
    per_endpoint: int = 10
    slow: int = 100
    per_slow_endpoint: int = 2
    batch: int = 10  # of one tenant, read and recorded together
    slow_ms: int = 2_000
    shares: bool = True  # without: controls of tests and of the bench


LIMITS = Limits()
NO_SHARES = 2**30  # places of which every tenant's part is large


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingDelivery:
    """Everything that an attempt needs, read before it."""

    claimed: ClaimedDelivery
    url: str
    event_id: str
    body: str
    ordering_key: str
    attempts: int  # before this one
    signing_secrets: tuple[str, ...]


class Dispatcher:
    """The dispatcher of one process."""

    def __init__(
        self,
        client: OutboundClient,
        *,
        retries: RetryPolicy = RETRY_POLICY,
        limits: Limits = LIMITS,
        lease: timedelta = LEASE,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        self._client, self._retries, self._limits, self._lease = client, retries, limits, lease
        self._poll_interval_s = poll_interval_s
        self._by_tenant, self._by_endpoint = Counter[str](), Counter[str]()
        self._slow_count = 0
        self._batches = set[asyncio.Task[None]]()
        self._transactions = asyncio.Semaphore(MAX_TENANT_TRANSACTIONS)
        self._recorder = results.ResultRecorder(self._transactions, retries, TASK)
        self._progress = asyncio.Event()  # something ended, so there is room again

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._progress.clear()
                if await self._start_due():
                    await asyncio.sleep(MIN_INTERVAL_S)
                else:
                    await self._wait()
        finally:
            await self.stop()

    async def drain(self) -> None:
        """Send everything that is due now, what it lets go included."""
        while True:
            self._progress.clear()
            if await self._start_due():
                await asyncio.sleep(MIN_INTERVAL_S)
            else:
                is_idle = not self._batches and self._recorder.is_idle
                if is_idle and not self._progress.is_set():  # set: there was no room when it asked
                    return
                await self._wait()

    async def stop(self) -> None:
        """Requests that are under way are given up; their claims lapse."""
        for batch in self._batches:
            batch.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)
        await self._recorder.flush()

    async def _wait(self) -> None:
        """Until something ended, or for the poll interval."""
        try:
            async with asyncio.timeout(self._poll_interval_s):
                await self._progress.wait()
            await asyncio.sleep(MIN_INTERVAL_S)
        except TimeoutError:
            pass

    async def _start_due(self) -> bool:
        """Begin what is due and has room. True when there may be more."""
        try:
            async with db.transaction() as session:
                event_count = await repository.fan_out_events(
                    session, FAN_OUT_SIZE, max_tenants=FAN_OUT_TENANTS
                )
            claimed = await self._claim()
        except Exception as problem:  # the loop has to survive until the database is back
            log.get_logger(__name__).error("webhooks_not_claimed", problem=type(problem).__name__)
            return False
        return claimed or event_count > 0

    async def _claim(self) -> bool:
        room = self._find_room()
        if room.count <= 0:
            return False
        claim_id = new_id("clm")
        async with db.transaction() as session:
            claimed = await repository.claim_deliveries(
                session,
                claim_id,
                room=room,
                lease=self._lease,
                by_tenant=self._by_tenant,
                by_endpoint=self._by_endpoint,
            )
        by_tenant: dict[str, list[ClaimedDelivery]] = {}
        for each in claimed:
            by_tenant.setdefault(each.tenant_id, []).append(each)
            self._by_tenant[each.tenant_id] += 1
            self._by_endpoint[each.endpoint_id] += 1
            self._slow_count += each.is_slow
        for tenant_id, batch in by_tenant.items():
            task = asyncio.create_task(self._deliver_batch(tenant_id, batch, claim_id))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
        return bool(claimed)

    def _find_room(self) -> Room:
        limits, free = self._limits, self._limits.in_flight - self._by_tenant.total()
        return Room(
            count=free - free // 4 if limits.shares else free,
            slow=limits.slow - self._slow_count,
            places=limits.in_flight if limits.shares else NO_SHARES,
            per_tenant=limits.per_tenant,
            per_endpoint=limits.per_endpoint,
            per_slow_endpoint=limits.per_slow_endpoint,
            batch=limits.batch,
            slow_ms=limits.slow_ms,
        )

    async def _deliver_batch(self, tenant_id: str, batch: Sequence[ClaimedDelivery], claim_id: str) -> None:
        """Raises nothing but CancelledError: what isn't recorded is claimed again after the lease."""
        request_ids.begin()
        held = list(batch)
        try:
            outgoing = await self._load_batch(tenant_id, batch, claim_id)
            held.clear()
            started_ids = {each.claimed.delivery_id for each in outgoing}
            self._release([each for each in batch if each.delivery_id not in started_ids])
            await asyncio.gather(*(self._deliver(each, claim_id) for each in outgoing))
        except Refused as refusal:  # suspended or deleted since it was claimed
            log.get_logger(__name__).info("webhooks_wait", tenant_id=tenant_id, reason=refusal.reason)
        except Exception as problem:
            log.report_bug(problem, tenant_id=tenant_id)
        finally:
            self._release(held)

    async def _load_batch(
        self, tenant_id: str, batch: Sequence[ClaimedDelivery], claim_id: str
    ) -> list[OutgoingDelivery]:
        claimed_by_id = {each.delivery_id: each for each in batch}
        async with self._transactions, entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
            loaded = await repository.load_claimed(ctx, list(claimed_by_id), claim_id)
            key = await tenant_secrets.read_key(ctx) if loaded else b""
            at = now()
            secrets_by_endpoint = {
                endpoint.id: tuple(endpoints.unseal_secrets(ctx, key, endpoint, at=at))
                for endpoint in {endpoint.id: endpoint for _, endpoint, _ in loaded}.values()
            }
        return [
            OutgoingDelivery(
                claimed=claimed_by_id[delivery.id],
                url=endpoint.url,
                event_id=event.id,
                body=event.body,
                ordering_key=delivery.ordering_key,
                attempts=delivery.attempts,
                signing_secrets=secrets_by_endpoint[endpoint.id],
            )
            for delivery, endpoint, event in loaded
            if secrets_by_endpoint[endpoint.id]  # none: it was deleted
        ]

    async def _deliver(self, outgoing: OutgoingDelivery, claim_id: str) -> None:
        at = now()
        try:
            headers = signing.build_headers(outgoing.signing_secrets, outgoing.event_id, outgoing.body, at=at)
            answer = await self._client.send(
                "POST",
                outgoing.url,
                headers=headers,
                body=outgoing.body.encode(),
                holder=outgoing.claimed.tenant_id,
            )
            duration_ms = round((now() - at).total_seconds() * 1000)
            await self._recorder.record(
                outgoing.claimed.tenant_id,
                self._judge(outgoing, answer, claim_id, at=at, duration_ms=duration_ms, headers=headers),
            )
        finally:
            self._release([outgoing.claimed])

    def _judge(
        self,
        outgoing: OutgoingDelivery,
        answer: Answer,
        claim_id: str,
        *,
        at: datetime,
        duration_ms: int,
        headers: dict[str, str],
    ) -> AttemptResult:
        number = outgoing.attempts + 1
        status, due_at = DeliveryStatus.DELIVERED, None
        problem = answer.problem.value
        is_postponed = answer.problem is OutboundProblem.LOOK_UP_WAITS
        if is_postponed:
            status, due_at = DeliveryStatus.PENDING, now() + timedelta(seconds=POSTPONED_S)
        elif not 200 <= answer.status < 300:
            problem = problem or results.BAD_STATUS
            wait = self._retries.next_wait(number, _read_retry_after(answer))
            status = DeliveryStatus.PENDING if wait is not None else DeliveryStatus.FAILED
            due_at = now() + wait if wait is not None else None
        return AttemptResult(
            delivery_id=outgoing.claimed.delivery_id,
            endpoint_id=outgoing.claimed.endpoint_id,
            ordering_key=outgoing.ordering_key,
            claim_id=claim_id,
            number=number,
            at=at,
            waited_ms=duration_ms,
            duration_ms=0 if answer.problem in UNSHOWN else duration_ms,
            request_headers=headers,
            response_status=answer.status,
            response_body=_to_text(answer.body),
            problem=problem,
            status=status,
            due_at=due_at,
            is_postponed=is_postponed,
        )

    def _release(self, batch: Sequence[ClaimedDelivery]) -> None:
        """There is room for others in their place."""
        for each in batch:
            self._slow_count -= each.is_slow
            for counter, key in ((self._by_tenant, each.tenant_id), (self._by_endpoint, each.endpoint_id)):
                counter[key] -= 1
                if counter[key] <= 0:
                    del counter[key]
        self._progress.set()


def _read_retry_after(answer: Answer) -> int:
    """Seconds that the endpoint asks us to wait, bounded; 0 for none."""
    text = (answer.headers or {}).get("retry-after", "")
    if answer.status not in (429, 503) or not (text.isascii() and text.isdigit()) or len(text) > 9:
        return 0
    return min(int(text), MAX_ASKED_WAIT_S)


def _to_text(body: bytes) -> str:
    """What is shown of an answer. The database stores no null character."""
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")[:MAX_RESPONSE_CHARACTERS]


async def run() -> None:
    """Dispatch and delete old events until cancelled."""
    client = OutboundClient()
    dispatcher = Dispatcher(client)
    tasks = [asyncio.create_task(dispatcher.run()), asyncio.create_task(_purge_hourly())]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.close()


async def delete_old_events() -> int:
    """Events older than `RETENTION` with what belongs to them. Returns the number of events.

    A batch of each tenant in turns, until none has a whole batch left. What fails, or waits for a lock, is for the next hour.
    """
    total, is_done = 0, False
    while not is_done:
        is_done, tenant_id = True, await _find_tenant_with_old_events("")
        while tenant_id is not None:
            try:
                async with db.transaction() as session:
                    count = await repository.delete_old_events(
                        session, tenant_id, now() - RETENTION, limit=PURGE_SIZE
                    )
                total += count
                is_done &= count < PURGE_SIZE
            except Exception as problem:  # of this tenant: the others go on
                log.report_bug(problem, tenant_id=tenant_id)
            tenant_id = await _find_tenant_with_old_events(tenant_id)
    return total


async def _find_tenant_with_old_events(former_id: str) -> str | None:
    async with db.transaction() as session:
        return await repository.find_tenant_with_old_events(session, now() - RETENTION, former_id)


async def _purge_hourly() -> None:
    while True:
        try:
            await delete_old_events()
        except Exception as problem:
            log.get_logger(__name__).error("old_events_not_deleted", problem=type(problem).__name__)
        await asyncio.sleep(PURGE_INTERVAL_S)
