"""Tenants beside each other: what one does, or what its endpoints don't, never delays the events of another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.core.outbound import Answer, OutboundClient, OutboundProblem
from shared.outbound_webhooks import deliveries, dispatch_repository, dispatcher, endpoints
from shared.outbound_webhooks.dispatch_repository import Room
from shared.outbound_webhooks.dispatcher import Dispatcher, Limits
from shared.outbound_webhooks.retries import RETRY_POLICY
from shared.tenancy import roles, tenants
from shared.tenancy.models import Tenant, TenantState
from tests.conftest import Cast, Person
from tests.support import database, factories
from tests.support.webhook_receiver import HOST, Receiver, forget_queue, open_dispatcher, run_receiver

RENAMED = "organisation.renamed"
FEW = Limits(in_flight=8, per_tenant=6, per_endpoint=4, slow=4, batch=1)
ROOM = Room(
    count=5, slow=5, places=100, per_tenant=5, per_endpoint=5, per_slow_endpoint=2, batch=10, slow_ms=1_000
)
UNSHARED = replace(FEW, per_tenant=8, per_endpoint=8, per_slow_endpoint=8, shares=False, slow=8)


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


async def add_endpoint(person: Person, url: str) -> str:
    async with person.ctx() as ctx:
        return (await endpoints.create(ctx, url, "", [RENAMED, "role.created"])).endpoint.id


async def rename(person: Person, name: str) -> None:
    async with person.ctx() as ctx:
        await tenants.rename(ctx, name, version=None)


async def create_roles(person: Person, count: int) -> None:
    async with person.ctx() as ctx:
        for number in range(count):
            await roles.create(ctx, f"Role {number}", "", [])


async def fan_out(max_events: int = 100, *, max_tenants: int = 100) -> int:
    async with db.transaction() as session:
        return await dispatch_repository.fan_out_events(session, max_events, max_tenants=max_tenants)


async def claim(room: Room) -> list[dispatch_repository.ClaimedDelivery]:
    async with db.transaction() as session:
        return await dispatch_repository.claim_deliveries(
            session, new_id("clm"), room=room, lease=timedelta(minutes=1), by_tenant={}, by_endpoint={}
        )


def count_deliveries(tenant_id: str) -> int:
    statement = "select count(*) from webhook_delivery where tenant_id = %s"
    row = database.connect().execute(statement, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


def hold_endpoints(tenant_id: str) -> psycopg.Connection:
    """A transaction of another process that has locked the endpoints of this tenant. Close it."""
    connection = psycopg.connect(database.admin_url_in_use())
    connection.execute("select from webhook_endpoint where tenant_id = %s for no key update", [tenant_id])
    return connection


@asynccontextmanager
async def running(receiver: Receiver, limits: Limits) -> AsyncIterator[None]:
    forget_queue()
    client = OutboundClient([receiver.target], total_timeout_s=5.0)
    sender = Dispatcher(client, limits=limits, poll_interval_s=0.02)
    task = asyncio.create_task(sender.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def wait_for(receiver: Receiver, path: str, count: int, timeout_s: float) -> bool:
    """Whether so many requests came in time."""
    try:
        async with asyncio.timeout(timeout_s):
            while sum(request.path == path for request in receiver.requests) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    except TimeoutError:
        return False
    return True


async def fill_places(cast: Cast, receiver: Receiver, tenant_count: int) -> None:
    """Tenants of Ann with an endpoint each that answers never, and together more events than there are places."""
    for number in range(tenant_count):
        tenant = await factories.create_tenant(cast.ann.account, f"Slow {number}")
        person = Person(cast.ann.account, tenant.slug)
        await add_endpoint(person, f"http://{HOST}:{receiver.port}/slow")
        await create_roles(person, 2)


@pytest.mark.parametrize(("limits", "is_in_time"), [(FEW, True), (UNSHARED, False)])
async def test_event_is_sent_at_once_beside_five_tenants_whose_endpoints_hang(
    cast: Cast, receiver: Receiver, limits: Limits, is_in_time: bool
) -> None:
    """The control has no shares: the places are all taken."""
    receiver.delay_of = {"/slow": 5.0}
    await add_endpoint(cast.gil, f"http://{HOST}:{receiver.port}/quiet")
    async with running(receiver, limits):
        await rename(cast.gil, "Globex Two")  # so its endpoint is known to answer fast
        assert await wait_for(receiver, "/quiet", 1, 3.0)
        await fill_places(cast, receiver, 5)
        assert await wait_for(receiver, "/slow", FEW.slow, 3.0)
        await asyncio.sleep(0.2)  # they take all that they can
        await rename(cast.gil, "Globex Three")
        assert await wait_for(receiver, "/quiet", 2, 0.5) is is_in_time


async def test_slow_endpoints_of_all_tenants_have_half_of_the_places(cast: Cast, receiver: Receiver) -> None:
    forget_queue()
    for person in (cast.ann, cast.gil):
        await add_endpoint(person, receiver.url)
        await create_roles(person, 6)
    database.connect().execute("update webhook_endpoint set response_ms = 15000, last_attempt_at = now()")
    await fan_out()
    room = Room(
        count=100,
        slow=3,
        places=100,
        per_tenant=40,
        per_endpoint=10,
        per_slow_endpoint=2,
        batch=10,
        slow_ms=2_000,
    )
    claimed = await claim(room)
    assert sorted(each.tenant_id for each in claimed) == sorted(
        [cast.acme, cast.globex, claimed[0].tenant_id]
    )
    assert all(each.is_slow for each in claimed)
    assert await claim(replace(room, slow=0)) == []


async def test_endpoint_has_more_places_when_it_answers_fast(cast: Cast, receiver: Receiver) -> None:
    forget_queue()
    endpoint_id = await add_endpoint(cast.ann, receiver.url)
    await create_roles(cast.ann, 12)
    await fan_out()
    room = Room(
        count=100,
        slow=50,
        places=100,
        per_tenant=40,
        per_endpoint=5,
        per_slow_endpoint=2,
        batch=10,
        slow_ms=2_000,
    )
    assert len(await claim(room)) == 2
    connection = database.connect()
    set_speed = (
        "update webhook_endpoint set last_attempt_at = now(), response_ms = %s, turn_at = now() where id = %s"
    )
    connection.execute(set_speed, [20, endpoint_id])
    assert len(await claim(room)) == 5
    connection.execute(set_speed, [2_500, endpoint_id])
    assert len(await claim(room)) == 2


async def test_events_of_a_tenant_are_fanned_out_beside_many_of_another(
    cast: Cast, receiver: Receiver
) -> None:
    forget_queue()
    for person in (cast.ann, cast.gil):
        await add_endpoint(person, receiver.url)
    await create_roles(cast.ann, 12)
    await rename(cast.gil, "Globex Two")
    assert await fan_out(4) == 3
    assert (count_deliveries(cast.acme), count_deliveries(cast.globex)) == (2, 1)


async def test_tenants_are_fanned_out_in_turns_when_there_are_more_than_in_one_call(
    cast: Cast, receiver: Receiver
) -> None:
    forget_queue()
    for person in (cast.ann, cast.gil):
        await add_endpoint(person, receiver.url)
        await create_roles(person, 3)
    for expected in (1, 2):
        for _ in range(2):
            assert await fan_out(1, max_tenants=1) == 1
        assert (count_deliveries(cast.acme), count_deliveries(cast.globex)) == (expected, expected)


async def test_lock_of_an_endpoint_holds_back_the_events_of_its_own_tenant_alone(
    cast: Cast, receiver: Receiver
) -> None:
    forget_queue()
    for person in (cast.ann, cast.gil):
        await add_endpoint(person, receiver.url)
        await create_roles(person, 1)
    with hold_endpoints(cast.acme):
        async with asyncio.timeout(1.0):
            assert await fan_out() == 1
        assert (count_deliveries(cast.acme), count_deliveries(cast.globex)) == (0, 1)
    assert await fan_out() == 1
    with hold_endpoints(cast.acme):
        async with asyncio.timeout(1.0):
            claimed = await claim(replace(ROOM, count=10))
    assert [each.tenant_id for each in claimed] == [cast.globex]


async def test_result_waits_for_the_lock_of_its_endpoint_beside_those_of_others(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes an endpoint holds its lock. The only transaction of the dispatcher doesn't wait for it."""
    monkeypatch.setattr(dispatcher, "MAX_TENANT_TRANSACTIONS", 1)
    ann_endpoint, gil_endpoint = [await add_endpoint(person, receiver.url) for person in (cast.ann, cast.gil)]
    receiver.delay_s = 0.05
    async with running(receiver, FEW):
        await create_roles(cast.ann, 1)
        assert await wait_for(receiver, "/hook", 1, 3.0)
        with hold_endpoints(cast.acme):
            await asyncio.sleep(0.15)  # its answer has come
            await create_roles(cast.gil, 1)
            assert await wait_for(receiver, "/hook", 2, 1.0)
            await asyncio.sleep(0.15)
            assert await list_statuses(cast.gil, gil_endpoint) == ["delivered"]
            assert await list_statuses(cast.ann, ann_endpoint) == ["pending"]
        await asyncio.sleep(0.15)
        assert await list_statuses(cast.ann, ann_endpoint) == ["delivered"]


async def list_statuses(person: Person, endpoint_id: str) -> list[str]:
    async with person.ctx() as ctx:
        page = await deliveries.list_deliveries(ctx, endpoint_id)
    return [delivery.status.value for delivery in page.rows]


async def test_delivery_that_waits_for_a_look_up_is_no_attempt(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_id = await add_endpoint(cast.ann, receiver.url)
    monkeypatch.setattr(dispatcher, "POSTPONED_S", 0.0)
    answers = [Answer(problem=OutboundProblem.LOOK_UP_WAITS)] * 15  # more than there are attempts
    async with open_dispatcher([receiver.target]) as sender:
        send = sender._client.send

        async def send_later(*arguments: str, **options: Any) -> Answer:
            return answers.pop() if answers else await send(*arguments, **options)

        monkeypatch.setattr(sender._client, "send", send_later)
        await create_roles(cast.ann, 1)
        async with asyncio.timeout(10):
            while await list_statuses(cast.ann, endpoint_id) != ["delivered"]:
                await sender.drain()
    async with cast.ann.ctx() as ctx:
        (delivery,) = (await deliveries.list_deliveries(ctx, endpoint_id)).rows
        detail = await deliveries.get_delivery(ctx, delivery.id)
    assert (delivery.attempts, [attempt.response_status for attempt in detail.attempts]) == (1, [200])


def tenant_of(person: Person, cast: Cast) -> str:
    return cast.acme if person is cast.ann else cast.globex


def make_old(tenant_id: str, days: int = 31) -> None:
    database.connect().execute(
        "update event_outbox set created_at = now() - make_interval(days => %s) where tenant_id = %s",
        [days, tenant_id],
    )


def count_events(tenant_id: str) -> int:
    statement = "select count(*) from event_outbox where tenant_id = %s and type = 'role.created'"
    row = database.connect().execute(statement, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def refusing_to_delete(tenant_id: str) -> Iterator[None]:
    """Deleting events of this tenant fails, as it does where it takes too long."""
    connection = database.connect()
    connection.execute(
        "create function refuse_deletion() returns trigger language plpgsql as"
        " $$ begin raise exception 'too much at once'; end $$"
    )
    connection.execute(
        sql.SQL(
            "create trigger refuse_deletion before delete on event_outbox for each row"
            " when (old.tenant_id = {}) execute function refuse_deletion()"
        ).format(tenant_id)
    )
    try:
        yield
    finally:
        connection.execute("drop function refuse_deletion cascade")


async def test_old_events_are_deleted_in_batches_beside_a_tenant_that_fails(
    cast: Cast, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first tenant nothing can be deleted; the other one has three batches."""
    monkeypatch.setattr(dispatcher, "PURGE_SIZE", 2)
    first, second = sorted((cast.ann, cast.gil), key=lambda person: tenant_of(person, cast))
    for person in (first, second):
        await add_endpoint(person, receiver.url)
        await create_roles(person, 5)
        make_old(tenant_of(person, cast))
    with refusing_to_delete(tenant_of(first, cast)):
        await dispatcher.delete_old_events()
    assert (count_events(tenant_of(first, cast)), count_events(tenant_of(second, cast))) == (5, 0)


async def test_old_events_wait_when_an_endpoint_of_their_tenant_is_locked(
    cast: Cast, receiver: Receiver
) -> None:
    for person in (cast.ann, cast.gil):
        await add_endpoint(person, receiver.url)
        await create_roles(person, 1)
    make_old(cast.acme)
    make_old(cast.globex)
    with hold_endpoints(cast.acme):
        async with asyncio.timeout(1.0):
            await dispatcher.delete_old_events()
        assert (count_events(cast.acme), count_events(cast.globex)) == (1, 0)
    await dispatcher.delete_old_events()
    assert count_events(cast.acme) == 0


async def test_young_events_are_kept_whatever_time_is_asked_for(cast: Cast) -> None:
    await create_roles(cast.ann, 1)
    async with db.transaction() as session:
        await dispatch_repository.delete_old_events(session, cast.acme, now() + timedelta(days=1), limit=10)
    assert count_events(cast.acme) == 1


async def test_event_that_waited_for_a_deleted_one_is_sent(cast: Cast, receiver: Receiver) -> None:
    """The first event of the object is deleted before it was taken; nothing else would let the next one go."""
    await add_endpoint(cast.ann, receiver.url)
    receiver.answer = lambda _: 500
    async with open_dispatcher([receiver.target], retries=RETRY_POLICY) as sender:
        await rename(cast.ann, "Old")
        await rename(cast.ann, "New")
        await sender.drain()
        database.connect().execute(
            "update event_outbox set created_at = now() - interval '31 days' where tenant_id = %s and body like %s",
            [cast.acme, '%"name":"Old"%'],
        )
        database.connect().execute("update webhook_endpoint set turn_at = null")
        await dispatcher.delete_old_events()
        receiver.answer = lambda _: 200
        await sender.drain()
    assert [request.event["data"]["name"] for request in receiver.requests] == ["Old", "New"]


async def test_suspended_tenant_takes_no_share_of_the_places(cast: Cast, receiver: Receiver) -> None:
    forget_queue()
    for person in (cast.gil, cast.ann):
        for path in ("a", "b"):
            await add_endpoint(person, f"{receiver.url}/{path}")
        await rename(person, "New Name")
    await fan_out()
    async with cast.gil.ctx() as ctx:
        (await ctx.session.get_one(Tenant, ctx.tenant_id)).state = TenantState.SUSPENDED
    claimed = await claim(replace(ROOM, places=4))
    assert [each.tenant_id for each in claimed] == [cast.acme, cast.acme]
