"""The dispatcher: events become deliveries, which are sent, signed, retried and recorded."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select
from standardwebhooks import WebhookVerificationError

from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.outbound_webhooks import deliveries, dispatch_repository, dispatcher, endpoints
from shared.outbound_webhooks.deliveries import DeliveryView
from shared.outbound_webhooks.dispatch_repository import Room
from shared.outbound_webhooks.dispatcher import Dispatcher
from shared.outbound_webhooks.models import DeliveryStatus, EndpointState, PauseReason
from shared.outbound_webhooks.retries import RETRY_POLICY
from shared.tenancy import notifications, roles, tenants
from shared.tenancy.models import Tenant, TenantState
from tests.conftest import Cast, Person
from tests.support import database, workers
from tests.support.stand_in_mail import run_mailbox
from tests.support.webhook_receiver import FAST, ReceivedRequest, Receiver, open_dispatcher, run_receiver

RENAMED = "organisation.renamed"
INSTANT = replace(FAST, min_failures=1_000, scale=0.0)
ROOM = Room(
    count=5, slow=5, places=100, per_tenant=5, per_endpoint=5, per_slow_endpoint=2, batch=10, slow_ms=1_000
)
NEW_ENDPOINT = 2  # places of an endpoint that hasn't answered yet
PAUSING = replace(FAST, min_failures=3, scale=0.0)


@pytest.fixture(autouse=True)
def allowed_targets(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    targets = set[tuple[str, int]]()
    monkeypatch.setattr("shared.core.outbound.list_allowed_targets", lambda: frozenset(targets))
    return targets


@pytest.fixture
async def receiver(allowed_targets: set[tuple[str, int]]) -> AsyncIterator[Receiver]:
    async with run_receiver() as started:
        allowed_targets.add(started.target)
        yield started


async def add_endpoint(
    person: Person, receiver: Receiver, event_types: Sequence[str] = (RENAMED,)
) -> endpoints.IssuedSecret:
    async with person.ctx() as ctx:
        return await endpoints.create(ctx, receiver.url, "", event_types)


async def rename(person: Person, *names: str) -> None:
    """One event for each name, all of one object."""
    for name in names:
        async with person.ctx() as ctx:
            await tenants.rename(ctx, name, version=None)


async def create_roles(person: Person, count: int) -> list[str]:
    """One event for each, each of another object."""
    async with person.ctx() as ctx:
        return [(await roles.create(ctx, f"Role {number}", "", [])).key for number in range(count)]


async def list_deliveries(person: Person, endpoint_id: str) -> list[DeliveryView]:
    """Oldest first."""
    async with person.ctx() as ctx:
        page = await deliveries.list_deliveries(ctx, endpoint_id, limit=100)
    return [*reversed(page.rows)]


async def list_statuses(person: Person, endpoint_id: str) -> list[str]:
    return [delivery.status.value for delivery in await list_deliveries(person, endpoint_id)]


@asynccontextmanager
async def running(sender: Dispatcher) -> AsyncIterator[None]:
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  rows and requests have no event
            await asyncio.sleep(0.01)


def names_of(requests: Sequence[ReceivedRequest]) -> list[str]:
    return [request.event["data"]["name"] for request in requests]


async def test_event_is_delivered_signed_and_recorded(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "Acme Two")
        await sender.drain()
    (request,) = receiver.requests
    event = request.verify(issued.secret)
    assert (event["type"], event["tenant_id"]) == (RENAMED, cast.acme)
    assert event["data"] == {"name": "Acme Two", "previous_name": "Acme"}
    assert event["id"] == request.event_id
    (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
    async with cast.ann.ctx() as ctx:
        detail = await deliveries.get_delivery(ctx, delivery.id)
    assert (delivery.status, detail.body) == (DeliveryStatus.DELIVERED, request.body)
    assert [(attempt.response_status, attempt.response_body) for attempt in detail.attempts] == [(200, "ok")]


async def test_dispatcher_stops_although_a_delivery_ends_at_that_moment(schema: str) -> None:
    """`asyncio.wait_for` of Python 3.11 gives its result then, and loses the cancellation."""
    async with open_dispatcher(()) as sender:
        sender._poll_interval_s = 5.0
        waiting = asyncio.create_task(sender._wait())
        await asyncio.sleep(0.01)
        sender._progress.set()
        await asyncio.sleep(0)  # the waiting ends
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_event_that_is_not_subscribed_is_not_delivered(cast: Cast, receiver: Receiver) -> None:
    await add_endpoint(cast.ann, receiver, ["role.created"])
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "Acme Two")
        await sender.drain()
    assert receiver.requests == []


async def test_event_never_reaches_the_endpoint_of_another_tenant(cast: Cast, receiver: Receiver) -> None:
    await add_endpoint(cast.gil, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "Acme Two")
        await rename(cast.gil, "Globex Two")
        await sender.drain()
    assert [request.event["tenant_id"] for request in receiver.requests] == [cast.globex]


async def test_failed_delivery_is_given_up_after_eleven_attempts_and_the_next_one_goes(
    cast: Cast, receiver: Receiver
) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer = lambda request: 500 if request.event["data"]["name"] == "Bad" else 204
    async with open_dispatcher([receiver.target], retries=INSTANT) as sender:
        await rename(cast.ann, "Bad", "Good")
        await sender.drain()
    assert names_of(receiver.requests) == ["Bad"] * 11 + ["Good"]
    assert len({request.event_id for request in receiver.requests}) == 2
    assert await list_statuses(cast.ann, issued.endpoint.id) == ["failed", "delivered"]


async def test_object_that_waits_does_not_stop_another_one(cast: Cast, receiver: Receiver) -> None:
    await add_endpoint(cast.ann, receiver, [RENAMED, "role.created"])
    receiver.answer = lambda request: 500 if request.event["type"] == RENAMED else 200
    async with open_dispatcher([receiver.target], retries=RETRY_POLICY) as sender:
        await rename(cast.ann, "First", "Second")
        await create_roles(cast.ann, 2)
        await sender.drain()
    types = [request.event["type"] for request in receiver.requests]
    assert (types.count(RENAMED), types.count("role.created")) == (1, 2)


async def test_dead_endpoint_of_one_tenant_does_not_delay_another(cast: Cast, receiver: Receiver) -> None:
    async with run_receiver() as dead:
        dead.delay_s = 30.0
        endpoints_module_targets = [receiver.target, dead.target]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "shared.core.outbound.list_allowed_targets", lambda: frozenset(endpoints_module_targets)
            )
            await add_endpoint(cast.ann, dead, ["role.created"])
            await add_endpoint(cast.gil, receiver)
        async with open_dispatcher(endpoints_module_targets) as sender, running(sender):
            await create_roles(cast.ann, 15)
            await wait_until(lambda: len(dead.requests) == NEW_ENDPOINT)
            await rename(cast.gil, "Globex Two")
            await wait_until(lambda: receiver.requests, 3.0)
    assert len(dead.requests) == NEW_ENDPOINT


async def test_endpoint_is_paused_with_a_mail_when_it_takes_nothing(
    cast: Cast, receiver: Receiver, schema: str
) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer = lambda _: 500
    workers.clear_queue(schema)
    async with open_dispatcher([receiver.target], retries=PAUSING) as sender:
        await rename(cast.ann, "One", "Two")
        await sender.drain()
        async with cast.ann.ctx() as ctx:
            paused = await endpoints.get_endpoint(ctx, issued.endpoint.id)
            titles = [row.title for row in await notifications.list_my_notifications(ctx)]
        assert (paused.state, paused.pause_reason) == (EndpointState.PAUSED, PauseReason.FAILURES)
        assert any("paused the webhook" in title for title in titles)
        assert len(receiver.requests) == PAUSING.min_failures
        async with run_mailbox() as mailbox:
            await workers.run_due_jobs()
        recipients = {mail.to for mail in mailbox.mails if "paused" in mail.subject}
        assert {cast.ann.email, cast.adam.email} == recipients
        receiver.answer = lambda _: 200
        async with cast.ann.ctx() as ctx:
            await endpoints.resume(ctx, issued.endpoint.id)
        await sender.drain()
    assert names_of(receiver.requests[PAUSING.min_failures :]) == ["One", "Two"]


async def test_endpoint_is_paused_at_once_when_it_says_gone(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer = lambda _: 410
    async with open_dispatcher([receiver.target], retries=INSTANT) as sender:
        await rename(cast.ann, "One")
        await sender.drain()
    async with cast.ann.ctx() as ctx:
        paused = await endpoints.get_endpoint(ctx, issued.endpoint.id)
    assert (paused.pause_reason, len(receiver.requests)) == (PauseReason.GONE, 1)


async def test_delivery_of_a_dead_dispatcher_is_sent_again_with_the_same_id(
    cast: Cast, receiver: Receiver
) -> None:
    await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "One")
        async with db.transaction() as session:
            await dispatch_repository.fan_out_events(session, 10, max_tenants=10)
            claimed = await dispatch_repository.claim_deliveries(
                session,
                new_id("clm"),
                room=ROOM,
                lease=timedelta(milliseconds=100),
                by_tenant={},
                by_endpoint={},
            )
        assert len(claimed) == 1
        await sender.drain()
        assert receiver.requests == []
        async with running(sender):
            await wait_until(lambda: receiver.requests)
    assert len(receiver.requests) == 1


async def test_result_is_not_recorded_when_its_claim_has_lapsed(cast: Cast, receiver: Receiver) -> None:
    """The answer comes after the lease, when another dispatcher has delivered it."""
    issued = await add_endpoint(cast.ann, receiver)
    receiver.delay_s = 0.4
    lease = timedelta(milliseconds=50)
    async with (
        open_dispatcher([receiver.target], lease=lease) as first,
        open_dispatcher([receiver.target]) as second,
        running(first),
    ):
        await rename(cast.ann, "One", "Two")
        await wait_until(lambda: receiver.requests)
        receiver.delay_s = 0.0
        await asyncio.sleep(0.06)
        await second.drain()
        await wait_until(lambda: not first._batches)
    assert await list_statuses(cast.ann, issued.endpoint.id) == ["delivered", "delivered"]
    assert {*names_of(receiver.requests)} == {"One", "Two"}


async def test_two_dispatchers_send_each_event_once(cast: Cast, receiver: Receiver) -> None:
    await add_endpoint(cast.ann, receiver, ["role.created"])
    await create_roles(cast.ann, 20)
    async with open_dispatcher([receiver.target]) as first, open_dispatcher([receiver.target]) as second:
        database.connect().execute("update event_outbox set fanned_out_at = null where type = 'role.created'")
        await asyncio.gather(first.drain(), second.drain())
        await first.drain()
    assert len(receiver.requests) == len({request.event_id for request in receiver.requests}) == 20


async def test_late_result_leaves_a_delivery_to_the_dispatcher_that_has_claimed_it_since(
    cast: Cast, receiver: Receiver
) -> None:
    """Otherwise a third one would claim it while the second one sends it."""
    issued = await add_endpoint(cast.ann, receiver)
    answers, lease = iter((500, 200)), timedelta(milliseconds=20)
    receiver.answer = lambda _: next(answers)
    async with (
        open_dispatcher([receiver.target], retries=INSTANT, lease=lease) as first,
        open_dispatcher([receiver.target]) as second,
    ):
        await rename(cast.ann, "One")
        receiver.delay_s = 0.1
        assert await first._start_due()
        await wait_until(lambda: receiver.requests)
        receiver.delay_s = 0.3
        await asyncio.sleep(lease.total_seconds() * 2)
        assert await second._start_due()
        await first.drain()
        (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
        assert (delivery.status, len(receiver.requests)) == (DeliveryStatus.PENDING, 2)
        await second.drain()
    assert len(receiver.requests) == 2


async def test_both_secrets_verify_while_the_previous_one_overlaps(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        async with cast.ann.ctx() as ctx:
            second = await endpoints.rotate_secret(ctx, issued.endpoint.id)
        await rename(cast.ann, "One")
        await sender.drain()
        async with cast.ann.ctx() as ctx:
            third = await endpoints.rotate_secret(ctx, issued.endpoint.id, overlap=timedelta())
        await rename(cast.ann, "Two")
        await sender.drain()
    first_request, second_request = receiver.requests
    for secret in (issued.secret, second.secret):
        first_request.verify(secret)
    second_request.verify(third.secret)
    for secret in (issued.secret, second.secret):
        with pytest.raises(WebhookVerificationError):
            second_request.verify(secret)


async def test_deliveries_of_a_suspended_tenant_wait(cast: Cast, receiver: Receiver) -> None:
    await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "One")
        await set_state(cast.acme, TenantState.SUSPENDED)
        await sender.drain()
        assert receiver.requests == []
        await set_state(cast.acme, TenantState.ACTIVE)
        await sender.drain()
    assert names_of(receiver.requests) == ["One"]


async def set_state(tenant_id: str, state: TenantState) -> None:
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = (await session.exec(select(Tenant).where(Tenant.id == tenant_id))).one()
        tenant.state = state
        session.add(tenant)


async def test_deleted_endpoint_gets_nothing(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "One")
        async with cast.ann.ctx() as ctx:
            await endpoints.delete(ctx, issued.endpoint.id)
        await sender.drain()
    assert receiver.requests == []


async def test_test_event_is_sent_to_one_endpoint(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        async with cast.ann.ctx() as ctx:
            delivery_id = await endpoints.send_test(ctx, issued.endpoint.id)
        await sender.drain()
        async with cast.ann.ctx() as ctx:
            detail = await deliveries.get_delivery(ctx, delivery_id)
    (request,) = receiver.requests
    assert request.verify(issued.secret)["type"] == "webhook.test"
    assert detail.delivery.status is DeliveryStatus.DELIVERED


async def test_failed_deliveries_are_sent_again_in_order_with_their_ids(
    cast: Cast, receiver: Receiver
) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer = lambda _: 500
    async with open_dispatcher([receiver.target], retries=INSTANT) as sender:
        await rename(cast.ann, "One", "Two", "Three")
        await sender.drain()
        first_ids = list(dict.fromkeys(request.event_id for request in receiver.requests))
        receiver.requests.clear()
        receiver.answer = lambda _: 200
        async with cast.ann.ctx() as ctx:
            since = now() - timedelta(hours=1)
            assert await deliveries.replay_failed(ctx, issued.endpoint.id, since) == 3
        await sender.drain()
    assert [request.event_id for request in receiver.requests] == first_ids
    assert names_of(receiver.requests) == ["One", "Two", "Three"]


async def test_answer_that_asks_to_wait_is_obeyed(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer, receiver.headers = lambda _: 503, {"retry-after": "1800"}
    async with open_dispatcher([receiver.target], retries=RETRY_POLICY) as sender:
        await rename(cast.ann, "One")
        await sender.drain()
    (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
    assert delivery.due_at > now() + timedelta(minutes=20)


async def test_redirect_is_a_failure_and_is_not_followed(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    receiver.answer, receiver.headers = lambda _: 307, {"location": receiver.url}
    async with open_dispatcher([receiver.target], retries=RETRY_POLICY) as sender:
        await rename(cast.ann, "One")
        await sender.drain()
    (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
    assert (delivery.status, delivery.last_status, len(receiver.requests)) == (DeliveryStatus.PENDING, 307, 1)


async def test_address_that_is_not_public_any_more_is_not_reached(cast: Cast, receiver: Receiver) -> None:
    """It was accepted at registration; the guard of each delivery refuses it."""
    issued = await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([]) as sender:
        await rename(cast.ann, "One")
        await sender.drain()
    (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
    assert (receiver.requests, delivery.last_problem) == ([], "invalid_url")


async def test_old_events_are_deleted_with_their_deliveries(cast: Cast, receiver: Receiver) -> None:
    issued = await add_endpoint(cast.ann, receiver)
    async with open_dispatcher([receiver.target]) as sender:
        await rename(cast.ann, "Old", "New")
        await sender.drain()
    connection = database.connect()
    connection.execute(
        "update event_outbox set created_at = now() - interval '31 days' where tenant_id = %s and body like %s",
        [cast.acme, '%"name":"Old"%'],
    )
    assert await dispatcher.delete_old_events() == 1
    (delivery,) = await list_deliveries(cast.ann, issued.endpoint.id)
    async with cast.ann.ctx() as ctx:
        assert '"New"' in (await deliveries.get_delivery(ctx, delivery.id)).body
