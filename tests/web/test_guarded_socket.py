"""What waits in front of Reflex: order, rates, and the end of a socket. The app behind it records what it receives."""

import asyncio
import json
from collections.abc import Callable, MutableMapping
from typing import Any

import pytest

from shared.core import tenant_limits
from shared.core.config import settings
from shared.core.socket_frames import CONNECT, EVENT
from shared.core.socket_limits import (
    MAX_SOCKETS,
    MAX_TABS,
    SocketLimits,
    TooManyFrames,
    TooManySockets,
)
from shared.core.token_buckets import TokenBucket
from shared.web.guarded_socket import MALFORMED, TOO_MANY, GuardedSocket

LOAD = EVENT + json.dumps(["event", {"name": "a.load", "router_data": {"asPath": "/t/acme/home"}}])
END = {"type": "websocket.disconnect", "code": 1001}


class Wire:
    """A socket that received these frames at once; `end` follows them when the client has left."""

    def __init__(self, *frames: str, end: bool = False, limits: SocketLimits | None = None) -> None:
        self.messages: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        for frame in frames:
            self.messages.put_nowait({"type": "websocket.receive", "text": frame})
        if end:
            self.messages.put_nowait(END)
        self.limits = limits or SocketLimits()
        self.received: list[str] = []
        self.sent: list[MutableMapping[str, Any]] = []
        self.reports: list[str] = []

    async def run(self) -> None:
        guarded_socket = GuardedSocket(
            self.app, self.limits, session_hash="s", person_id="p", client_token="t", report=self.report
        )
        await asyncio.wait_for(guarded_socket.run({}, self.messages.get, self.send), 5)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            self.received.append(message["text"])
            await asyncio.sleep(0)
        await send({"type": "websocket.close"})

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)

    async def report(self, kind: str) -> None:
        await asyncio.sleep(0)
        self.reports.append(kind)


@pytest.fixture(autouse=True)
def rate(environment: Callable[[str, str], None]) -> int:
    environment("BULKHEAD_EVENTS_PER_SECOND", "20")
    return settings().events_per_second


async def test_frames_pass_in_order_until_the_client_leaves() -> None:
    wire = Wire(CONNECT, LOAD, "3", LOAD)
    running = asyncio.create_task(wire.run())
    await asyncio.sleep(0.05)
    wire.messages.put_nowait(END)
    await running
    assert wire.received == [CONNECT, LOAD, "3", LOAD]
    assert (wire.sent, wire.reports) == ([{"type": "websocket.close"}], [])


async def test_frames_that_wait_are_dropped_when_the_client_leaves() -> None:
    wire = Wire(CONNECT, *[LOAD] * 60)
    running = asyncio.create_task(wire.run())
    await asyncio.sleep(0.2)
    wire.messages.put_nowait(END)
    await running
    assert 30 <= len(wire.received) <= 40, "the burst, and what was allowed since"
    assert wire.reports == []


async def test_client_that_has_left_already_is_not_worked_for() -> None:
    wire = Wire(CONNECT, *[LOAD] * 60, end=True)
    await wire.run()
    assert len(wire.received) <= 1


async def test_flood_closes_the_socket_with_a_code_and_is_reported_once() -> None:
    wire = Wire(CONNECT, *[LOAD] * 2_000)
    await wire.run()
    assert wire.sent == [{"type": "websocket.close", "code": TOO_MANY, "reason": "too many frames"}]
    assert wire.reports == ["event_flood"]
    assert len(wire.received) < 40


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        ([LOAD], "event before connect"),
        ([CONNECT, CONNECT], "second connect"),
        ([CONNECT, "zzzzzz", LOAD], "unknown packet"),
    ],
)
async def test_malformed_frame_closes_the_socket(frames: list[str], problem: str) -> None:
    wire = Wire(*frames)
    await wire.run()
    assert wire.sent == [{"type": "websocket.close", "code": MALFORMED, "reason": problem}]
    assert wire.reports == ["malformed_frame"]
    assert LOAD not in wire.received


async def test_broken_server_ends_the_socket() -> None:
    wire = Wire()

    async def fail() -> MutableMapping[str, Any]:
        raise OSError("gone")

    guarded_socket = GuardedSocket(
        wire.app, wire.limits, session_hash="s", person_id="p", client_token="t", report=wire.report
    )
    await asyncio.wait_for(guarded_socket.run({}, fail, wire.send), 5)
    assert wire.received == []


def test_bucket_lets_a_burst_pass_and_then_its_rate() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    waits = [bucket.take(1) for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert 0.05 < waits[3] < 0.11 < waits[4] < 0.21


def test_people_of_one_tenant_share_its_rate(rate: int) -> None:
    """Each within their own rate, together above that of the tenant. A tenant that was only claimed is not counted."""
    tenant_limits.clear()
    limits = SocketLimits()
    for number in range(40):
        limits.open_socket(f"s{number}", f"t{number}")
        if number < 20:
            limits.note_tenant(f"s{number}", "acme", "ten_acme")
    members = [
        limits.take_turn(f"s{number}", f"p{number}", "acme", 1) for number in range(20) for _ in range(20)
    ]
    strangers = [limits.take_turn(f"s{number}", f"p{number}", "acme", 1) for number in range(20, 40)]
    longest = tenant_limits.MAX_EVENT_WAIT_SECONDS
    assert longest * 0.8 < max(members) <= longest
    assert max(strangers) == 0


def test_frames_of_one_session_wait_together() -> None:
    limits = SocketLimits()
    limits.open_socket("s", "t1")
    limits.open_socket("other", "t2")
    costs = [limits.add_waiting("s", 64 * 1024) for _ in range(13)]
    assert costs == [9] * 13
    with pytest.raises(TooManyFrames):
        limits.add_waiting("s", 64 * 1024)
    limits.add_waiting("other", 10)


def test_sockets_and_tabs_of_one_session_are_bounded() -> None:
    limits = SocketLimits()
    for number in range(MAX_TABS):
        limits.open_socket("s", f"t{number}")
    with pytest.raises(TooManySockets):
        limits.open_socket("s", "another tab")
    for _ in range(MAX_SOCKETS - MAX_TABS):
        limits.open_socket("s", "t0")
    with pytest.raises(TooManySockets):
        limits.open_socket("s", "t1")
    limits.open_socket("another session", "another tab")
    limits.close_socket("s", "t1")
    limits.open_socket("s", "another tab")
