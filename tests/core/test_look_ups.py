"""Look-ups of hosts: name servers that hang hold back their own tenant alone."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.core import look_ups
from shared.core.look_ups import LookUpFailed, LookUps, NoLookUpSlot
from shared.core.outbound import OutboundClient, OutboundProblem

PUBLIC = "93.184.216.34"


@pytest.fixture
def slow_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Look-ups that were begun. Those of hosts that begin with "slow" answer when the test ends."""
    asked, ended = list[str](), threading.Event()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host.startswith("slow"):
            ended.wait(10)
        if host.startswith("unknown"):
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(look_ups, "SLOT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(look_ups, "LOOK_UP_TIMEOUT_S", 0.2)
    yield asked
    ended.set()


async def fill(lookups: LookUps, holder: str, count: int) -> list[asyncio.Task[Any]]:
    """Look-ups of other hosts of this tenant, which all hang."""
    tasks = [
        asyncio.create_task(lookups.look_up(f"slow{number}.{holder}.example", 443, holder=holder))
        for number in range(count)
    ]
    await asyncio.sleep(0.01)
    return tasks


async def test_host_is_looked_up_at_once_beside_tenants_whose_name_servers_hang(
    slow_hosts: list[str],
) -> None:
    lookups = LookUps(limit=8)
    tasks = await fill(lookups, "ten_a", 20) + await fill(lookups, "ten_b", 20)
    began = time.monotonic()
    (address,) = await lookups.look_up("quiet.example", 443, holder="ten_c")
    assert (str(address), time.monotonic() - began < 0.1) == (PUBLIC, True)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LookUpFailed, NoLookUpSlot}


async def test_host_is_looked_up_once_for_all_who_wait_for_it(slow_hosts: list[str]) -> None:
    lookups = LookUps()
    waiting = [lookups.look_up("quiet.example", 443, holder=f"ten_{number}") for number in range(20)]
    assert {str(address) for (address,) in await asyncio.gather(*waiting)} == {PUBLIC}
    assert slow_hosts == ["quiet.example"]


async def test_tenant_without_a_look_up_gets_the_next_slot(slow_hosts: list[str]) -> None:
    lookups = LookUps(limit=1)
    first = asyncio.create_task(lookups.look_up("quiet.a.example", 443, holder="ten_a"))
    await asyncio.sleep(0)
    others = [
        asyncio.create_task(lookups.look_up(f"{name}.example", 443, holder=holder))
        for name, holder in (("two", "ten_a"), ("three", "ten_b"))
    ]
    await asyncio.gather(first, *others)
    assert len(slow_hosts) == 3


async def test_failed_look_up_gives_its_slot_back(slow_hosts: list[str]) -> None:
    lookups = LookUps(limit=1)
    for _ in range(3):
        with pytest.raises(LookUpFailed):
            await lookups.look_up("unknown.example", 443, holder="ten_a")
    assert await lookups.look_up("quiet.example", 443, holder="ten_a")


async def test_request_says_that_the_look_up_waits_when_its_tenant_has_no_slot(
    slow_hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = LookUps(limit=8)
    monkeypatch.setattr(look_ups, "get_look_ups", lambda: lookups)
    tasks = await fill(lookups, "ten_a", 8)
    client = OutboundClient(())
    answer = await client.send("POST", "https://quiet.example/", holder="ten_a")
    assert answer.problem is OutboundProblem.LOOK_UP_WAITS
    await client.close()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Look-ups of hosts that begin with "slow" wait for it; all others answer at once."""
    opened = threading.Event()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host.startswith("slow"):
            opened.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield opened
    opened.set()


def end_all_at_once(gate: threading.Event) -> None:
    """In one step of the event loop, which stands still meanwhile."""
    gate.set()
    time.sleep(0.05)
    gate.clear()


async def count_under_way(lookups: LookUps, holder: str) -> int:
    await asyncio.sleep(0.01)
    return lookups._by_holder[holder]


async def test_tenant_gets_no_more_than_its_share_when_many_look_ups_end_at_once(
    gate: threading.Event,
) -> None:
    lookups = LookUps(limit=8)
    tasks = [task for number in range(8) for task in await fill(lookups, f"ten_{number}", 1)]
    tasks += await fill(lookups, "ten_many", 6)
    end_all_at_once(gate)
    assert await count_under_way(lookups, "ten_many") == 1
    gate.set()
    await asyncio.gather(*tasks)


async def test_slot_goes_to_the_next_one_when_another_has_begun_the_host(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_ups, "SLOT_TIMEOUT_S", 0.2)
    lookups = LookUps(limit=2)
    tasks = await fill(lookups, "ten_a", 1) + await fill(lookups, "ten_b", 1)
    for holder, host in (("ten_c", "slow.same"), ("ten_d", "slow.same"), ("ten_e", "quiet")):
        tasks.append(asyncio.create_task(lookups.look_up(f"{host}.example", 443, holder=holder)))
    await asyncio.sleep(0)
    end_all_at_once(gate)
    (address,) = await tasks[-1]
    assert str(address) == PUBLIC
    gate.set()
    await asyncio.gather(*tasks)


async def test_host_is_looked_up_later_when_no_thread_could_be_started(
    slow_hosts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lookups = LookUps(limit=1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LookUpFailed):
            await lookups.look_up("quiet.example", 443, holder="ten_a")
    await asyncio.sleep(0)
    assert await lookups.look_up("quiet.example", 443, holder="ten_a")


async def test_slot_is_given_back_when_whoever_gets_it_is_cancelled(gate: threading.Event) -> None:
    lookups = LookUps(limit=1)
    tasks = await fill(lookups, "ten_a", 1) + await fill(lookups, "ten_b", 1)
    lookups._waiters[0].called.add_done_callback(lambda _: tasks[1].cancel())
    gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (tasks[1].cancelled(), await count_under_way(lookups, "ten_b")) == (True, 0)
