"""Look-ups of host names that customers choose. A name server that hangs holds back its own tenant alone.

The resolver of the system blocks a thread, which can't be cancelled. So each look-up has a thread, each host one look-up
at a time, each holder (a tenant) a few, and no holder takes more than a part of what is free.
"""

import asyncio
import socket
import threading
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from weakref import WeakKeyDictionary

MAX_LOOK_UPS = 128  # at a time of one event loop
MAX_PER_HOLDER = 4
FREE_PARTS = 8  # a holder may have one part of what is free, and one look-up at least
LOOK_UP_TIMEOUT_S = 5.0
SLOT_TIMEOUT_S = 2.0

Address = IPv4Address | IPv6Address


class LookUpFailed(Exception):
    """The host has no address, or its name servers don't say it in time."""


class NoLookUpSlot(Exception):
    """Too many look-ups are under way. The host wasn't asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    holder: str
    called: asyncio.Future[None]


class LookUps:
    """Of one event loop."""

    def __init__(self, limit: int = MAX_LOOK_UPS) -> None:
        self._limit = limit
        self._by_host: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._by_holder = Counter[str]()
        self._waiters: list[_Waiter] = []

    async def look_up(self, host: str, port: int, *, holder: str) -> list[Address]:
        """Every address, each once. Raises LookUpFailed, NoLookUpSlot."""
        key = host, port
        if key not in self._by_host:
            await self._take_slot(holder)
            if key in self._by_host:  # somebody has begun it meanwhile
                self._give_back_slot(holder)
            else:
                self._begin_look_up(key, holder)
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                return await asyncio.shield(self._by_host[key])
        except TimeoutError as problem:
            raise LookUpFailed(f"cannot resolve {host} in time") from problem
        except (OSError, UnicodeError) as problem:
            raise LookUpFailed(f"cannot resolve {host}") from problem

    async def _take_slot(self, holder: str) -> None:
        """Raises NoLookUpSlot."""
        if self._has_room(holder):
            self._by_holder[holder] += 1
            return
        waiter = _Waiter(holder, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(SLOT_TIMEOUT_S):
                await waiter.called
        except BaseException as problem:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif not waiter.called.cancelled():  # it has got a slot, and has no use for it any more
                self._give_back_slot(holder)
            if isinstance(problem, TimeoutError):
                raise NoLookUpSlot from problem
            raise

    def _has_room(self, holder: str) -> bool:
        free = self._limit - self._by_holder.total()
        share = max(1, min(MAX_PER_HOLDER, free // FREE_PARTS))
        return free > 0 and self._by_holder[holder] < share

    def _begin_look_up(self, key: tuple[str, int], holder: str) -> None:
        """Ask the system in a thread of its own. All that wait for this host share the future."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address]] = loop.create_future()
        answer.add_done_callback(lambda done: self._end(key, holder, done))
        self._by_host[key] = answer

        def ask() -> None:
            try:
                result: list[Address] | BaseException = _ask_system(*key)
            except BaseException as problem:  # of any kind: who waits has to hear of it
                result = problem
            try:
                loop.call_soon_threadsafe(_settle, answer, result)
            except RuntimeError:
                pass  # the loop has ended, and everybody who waited with it

        try:
            threading.Thread(target=ask, name="look-up", daemon=True).start()
        except RuntimeError as problem:  # the system has no thread left
            _settle(answer, OSError(str(problem)))

    def _end(self, key: tuple[str, int], holder: str, answer: asyncio.Future[list[Address]]) -> None:
        if not answer.cancelled():
            answer.exception()  # those who waited for it may have given up
        self._by_host.pop(key, None)
        self._give_back_slot(holder)

    def _give_back_slot(self, holder: str) -> None:
        """Give free slots to those who wait: first to the holder with the fewest slots, then to the one who waits longest."""
        self._by_holder[holder] -= 1
        if self._by_holder[holder] <= 0:
            del self._by_holder[holder]
        while ready := [waiter for waiter in self._waiters if self._has_room(waiter.holder)]:
            chosen = min(ready, key=lambda waiter: self._by_holder[waiter.holder])
            self._waiters.remove(chosen)
            if not chosen.called.done():
                self._by_holder[chosen.holder] += 1
                chosen.called.set_result(None)


def _settle(answer: asyncio.Future[list[Address]], result: list[Address] | BaseException) -> None:
    if answer.done():
        return
    if isinstance(result, BaseException):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def _ask_system(host: str, port: int) -> list[Address]:
    """Raises OSError, UnicodeError."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in entries))


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, LookUps] = WeakKeyDictionary()


def get_look_ups() -> LookUps:
    """Those of this event loop."""
    return _by_loop.setdefault(asyncio.get_running_loop(), LookUps())
