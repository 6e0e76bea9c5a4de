"""Shares of the connection pool, so that one tenant or one session cannot take all of it.

Each holder has a number of transactions at a time in this process; more wait, and give up with a refusal before the pool
would. Among tenants, `fair_gate` says who is next. A transaction inside another one of the same holder takes nothing:
waiting for oneself would never end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.core.fair_gate import RETRY_AFTER_S, Busy, FairGate

TENANT_SHARE, SESSION_SHARE = 10, 5  # of the 20 connections of `db.engine`
WAIT_SECONDS = 5.0


@dataclass(slots=True)
class _Share:
    semaphore: asyncio.Semaphore
    users: int = 0  # that hold it or wait for it


_shares: dict[str, _Share] = {}  # by holder; only of those that are in use
_gate = FairGate(tenant_slots=TENANT_SHARE)
_held: ContextVar[frozenset[str]] = ContextVar("connection_shares", default=frozenset())


@asynccontextmanager
async def hold_tenant_share(tenant_id: str) -> AsyncIterator[None]:
    """Raises Busy, TenantBusy."""
    holder = f"tenant {tenant_id}"
    if holder in _held.get():
        yield
        return
    await _gate.enter(tenant_id, WAIT_SECONDS)
    _held.set(_held.get() | {holder})
    try:
        yield
    finally:
        _held.set(_held.get() - {holder})
        _gate.leave(tenant_id)


def check_tenant_share(tenant_id: str) -> None:
    """Before anything is read for a request of this tenant. Raises TenantBusy where it would be refused later."""
    _gate.check(tenant_id)


@asynccontextmanager
async def hold_session_share(session_hash: str) -> AsyncIterator[None]:
    """Before it is known who asks: by the hash of the session that the cookies claim. Raises Busy."""
    async with _hold(f"session {session_hash}", SESSION_SHARE):
        yield


@asynccontextmanager
async def _hold(holder: str, count: int) -> AsyncIterator[None]:
    if holder in _held.get():
        yield
        return
    share = _shares.setdefault(holder, _Share(asyncio.Semaphore(count)))
    share.users += 1
    try:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await share.semaphore.acquire()
        except TimeoutError as problem:
            raise Busy(
                "Too many requests are in progress.", "Try again in a moment.", retry_after=RETRY_AFTER_S
            ) from problem
        _held.set(_held.get() | {holder})
        try:
            yield
        finally:
            _held.set(_held.get() - {holder})
            share.semaphore.release()
    finally:
        share.users -= 1
        if share.users == 0:
            _shares.pop(holder, None)
