"""One member floods the app over real sockets, or strangers over HTTP: the people of other tenants do not notice.

The same with the limits taken out is the control.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from websockets.exceptions import ConnectionClosed

from shared.audit import audit_log
from shared.core import db, socket_limits
from shared.web import guarded_socket
from tests.attack import holes
from tests.attack.apps import OVER, App, Loaded, Socket, serving
from tests.attack.frames import short
from tests.conftest import Cast, Person
from tests.support.sizes import size

SOCKETS = 15
LOADS, RATE = 4, 20
BUG = "Something went wrong."


@dataclass(frozen=True)
class Latencies:
    seconds: list[float]

    @property
    def p95(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.95)]


@asynccontextmanager
async def limited_app(loaded: Loaded, *opened_holes: str) -> AsyncIterator[App]:
    rate = {"BULKHEAD_EVENTS_PER_SECOND": str(RATE), "BULKHEAD_REQUESTS_PER_SECOND": str(RATE)}
    async with serving("tenant", loaded.addresses, *opened_holes, loaded=loaded, **rate) as app:
        yield app


def load_of(app: App) -> str:
    return next(name for name in app.listing["handlers"] if short(name) == "members_state.load")


async def measure_loads(app: App, tab: Socket, person: Person, count: int) -> Latencies:
    """Of one page that another tenant's owner loads again and again, about 15 times a second."""
    seconds = []
    for _ in range(count):
        began = time.monotonic()
        answer = await tab.send(load_of(app), {}, f"/t/{person.slug}/members")
        seconds.append(time.monotonic() - began)
        assert BUG not in answer
        assert person.email in answer
        await asyncio.sleep(0.02)
    return Latencies(seconds)


@dataclass
class Flooder:
    """Sends page loads over many sockets as fast as they are taken."""

    app: App
    person: Person
    frames: int
    sent: int = 0
    answered: int = 0
    close_codes: list[int | None] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Leaves after so many seconds, or when everything was answered."""
        async with AsyncExitStack() as stack:
            tabs = [
                await stack.enter_async_context(self.app.socket(self.person.cookie)) for _ in range(SOCKETS)
            ]
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.gather(*map(self._send_and_count, tabs)), seconds)

    async def _send_and_count(self, tab: Socket) -> None:
        try:
            for number in range(self.frames // SOCKETS):
                path = f"/t/{self.person.slug}/members?n={number}"
                await tab.wire.send(tab.packet(load_of(self.app), {}, path))
                self.sent += 1
            for _ in range(
                self.frames // SOCKETS
            ):  # its own: nothing more comes to it but a ping after 25 seconds
                await self._wait_for_answer(tab)
        except ConnectionClosed:
            self.close_codes.append(tab.wire.close_code)

    async def _wait_for_answer(self, tab: Socket) -> None:
        while await tab.wire.recv() != OVER:
            pass
        self.answered += 1


async def assert_flood_was_recorded(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        events = await audit_log.list_security_events(octx, since=db.now() - timedelta(minutes=5))
    assert [event.kind for event in events if event.actor_id == cast.max.user_id] == ["event_flood"]


async def test_flooding_member_is_closed_while_others_load_their_pages(
    cast: Cast, tenant_app: Loaded
) -> None:
    async with limited_app(tenant_app) as app, app.socket(cast.gil.cookie) as tab:
        flooder, began = Flooder(app, cast.max, size("web.flood_frames")), time.monotonic()
        flooding = asyncio.create_task(flooder.run(5))
        await measure_loads(app, tab, cast.gil, LOADS)
        await flooding
        await measure_loads(app, tab, cast.gil, LOADS)
    assert guarded_socket.TOO_MANY in flooder.close_codes
    allowed = RATE * (socket_limits.BURST_SECONDS + time.monotonic() - began)
    assert flooder.answered <= allowed < size("web.flood_frames")
    await assert_flood_was_recorded(cast)


async def test_flooding_member_is_served_when_the_limits_are_removed(cast: Cast, tenant_app: Loaded) -> None:
    """The control: without it, the test above could measure nothing."""
    async with limited_app(tenant_app, holes.FLOOD) as app:
        flooder = Flooder(app, cast.max, 30)
        await flooder.run(60)
    assert flooder.answered == flooder.sent == 30
    assert flooder.close_codes == []


@dataclass(frozen=True)
class Strangers:
    """Without a session; `url` is the app's."""

    url: str

    async def run(self, seconds: float) -> None:
        words = ("-m", "tests.support.strangers", self.url, str(seconds), str(SOCKETS))
        process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE)
        output, _ = await process.communicate()
        assert process.returncode == 0
        print(f"strangers got {output.decode().strip()}")


def flood_of_a_member(app: App, cast: Cast) -> list[Flooder | Strangers]:
    return [Flooder(app, cast.max, 9_000)]


def flood_of_a_tenant(app: App, cast: Cast) -> list[Flooder | Strangers]:
    return [Flooder(app, person, 3_000) for person in (cast.ann, cast.adam, cast.max)]


def flood_of_strangers(app: App, cast: Cast) -> list[Flooder | Strangers]:
    return [Strangers(app.url)]


@pytest.mark.long
@pytest.mark.parametrize("make_flood", [flood_of_a_member, flood_of_a_tenant, flood_of_strangers])
async def test_flood_leaves_the_latencies_of_others_within_twice_the_quiet_ones(
    cast: Cast, tenant_app: Loaded, make_flood: Callable[[App, Cast], list[Flooder | Strangers]]
) -> None:
    """On an idle machine. `measure_loads` fails on an answer that is an error."""
    async with limited_app(tenant_app) as app, app.socket(cast.gil.cookie) as tab:
        await measure_loads(app, tab, cast.gil, 10)  # warm
        quiet = await measure_loads(app, tab, cast.gil, 100)
        flooding = [asyncio.create_task(flood.run(20)) for flood in make_flood(app, cast)]
        during = await measure_loads(app, tab, cast.gil, 100)
        await asyncio.gather(*flooding)
        after = await measure_loads(app, tab, cast.gil, 100)
    print(f"p95: quiet {quiet.p95:.3f} s, during {during.p95:.3f} s, after {after.p95:.3f} s")
    assert during.p95 <= 2 * quiet.p95
    assert after.p95 <= 2 * quiet.p95


@pytest.mark.long
async def test_flood_slows_others_when_the_limits_are_removed(cast: Cast, tenant_app: Loaded) -> None:
    """The control of the test above."""
    async with limited_app(tenant_app, holes.FLOOD) as app, app.socket(cast.gil.cookie) as tab:
        await measure_loads(app, tab, cast.gil, 10)
        quiet = await measure_loads(app, tab, cast.gil, 50)
        flooding = asyncio.create_task(Flooder(app, cast.max, 9_000).run(20))
        during = await measure_loads(app, tab, cast.gil, 20)
        await flooding
    assert during.p95 > 2 * quiet.p95
