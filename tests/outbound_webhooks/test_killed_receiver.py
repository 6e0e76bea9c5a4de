"""A receiver that dies under events: nothing is lost, the order of each object is kept, and what comes twice has one id.

The retry schedule is shortened: a second of it is half a millisecond here.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.core.context import Ctx
from shared.outbound_webhooks import endpoints
from shared.tenancy import roles
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.receiver_process import ReceiverProcess, run_process
from tests.support.sizes import size
from tests.support.webhook_receiver import FAST, ReceivedRequest, open_dispatcher

OBJECTS = 5
CHANGED = "role.changed"
IN_ONE_TRANSACTION = 20


class Changes:
    """Changes of a few roles by turns. Each is an event with its own name."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._role_ids = list[str]()
        self.names: dict[str, list[str]] = {}  # by role, in the order of the changes
        self._count = 0

    async def create_roles(self) -> None:
        async with self._person.ctx() as ctx:
            for number in range(OBJECTS):
                role = await roles.create(ctx, f"Role {number}", "", [])
                self._role_ids.append(role.key)
                self.names[role.key] = []

    async def make(self, count: int) -> None:
        while count > 0:
            async with self._person.ctx() as ctx:
                for _ in range(min(count, IN_ONE_TRANSACTION)):
                    await self._make_one(ctx)
            count -= IN_ONE_TRANSACTION

    async def _make_one(self, ctx: Ctx) -> None:
        role_id = self._role_ids[self._count % OBJECTS]
        name = f"Role {role_id[-4:]} {self._count}"
        await roles.change(ctx, role_id, name, "", [], version=None)
        self.names[role_id].append(name)
        self._count += 1


async def wait_until(condition: Callable[[], object], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  rows and files have no event
            await asyncio.sleep(0.02)


def count_retries(tenant_id: str) -> int:
    """Of the delivery that was tried most often."""
    statement = "select coalesce(max(attempts), 0) from webhook_delivery where tenant_id = %s"
    row = database.connect().execute(statement, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


def is_complete(receiver: ReceiverProcess, count: int) -> bool:
    return len({request.event_id for request in receiver.list_requests()}) >= count


async def test_events_arrive_once_known_and_in_order_when_the_receiver_is_killed(
    cast: Cast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it answers, away while half of the events happen, killed again while it catches up."""
    count = size("webhooks.killed_receiver")
    with run_process(tmp_path / "requests", delay_s=5.0) as receiver:
        monkeypatch.setattr("shared.core.outbound.list_allowed_targets", lambda: frozenset([receiver.target]))
        changes = Changes(cast.ann)
        await changes.create_roles()
        async with cast.ann.ctx() as ctx:
            issued = await endpoints.create(ctx, receiver.url, "", [CHANGED])
        async with open_dispatcher([receiver.target], retries=FAST) as sender:
            running = asyncio.create_task(sender.run())
            await changes.make(count // 4)
            await wait_until(receiver.list_requests, 10)
            receiver.kill()
            await changes.make(count // 2)
            await wait_until(lambda: count_retries(cast.acme) >= size("webhooks.retries_while_away"), 30)
            receiver.start(delay_s=0.01)
            before = len(receiver.list_requests())
            await wait_until(lambda: len(receiver.list_requests()) > before, 30)
            receiver.kill()
            await changes.make(count - count // 4 - count // 2)
            receiver.start()
            await wait_until(lambda: is_complete(receiver, count), 120)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        requests = receiver.list_requests()
    check(requests, issued.secret, changes.names)
    assert len(requests) > count  # what was under way when it died came twice


def check(requests: list[ReceivedRequest], secret: str, names: dict[str, list[str]]) -> None:
    """Every request is signed; each event has one body; of each role, the events come first in order."""
    for request in requests:
        assert request.verify(secret)["id"] == request.event_id
    bodies: dict[str, str] = {}
    received: dict[str, list[str]] = {role_id: [] for role_id in names}
    for request in requests:
        if request.event_id in bodies:
            assert bodies[request.event_id] == request.body
            continue
        bodies[request.event_id] = request.body
        data = request.event["data"]
        received[data["role_id"]].append(data["name"])
    assert received == names
