"""Reads of reports from a replica, a physical streaming copy of the database (`DATABASE_REPLICA_URL`).

A report is read in a read-only transaction on the replica, as the same role and for the same tenant as the transaction
on the primary. How old the numbers may be is known exactly: the primary's position in its log is noted with its time,
and the newest noted position that the replica has applied says up to when its data is complete.

Without a usable replica the report is read from the primary, and `ReadSource` says why. Statements that were stopped at
their time limit are not repeated: the primary is what the replica protects.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Generic, TypeVar

import psycopg
import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db, log, transaction_retries
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.core.config import settings

T = TypeVar("T")
CATCH_UP_S, CATCH_UP_PAUSE_S = (
    0.1,
    0.02,
)  # how long a read waits for the replica to apply what was just committed
FIRST_PAUSE_S, MAX_PAUSE_S = 5.0, 60.0  # between attempts while the replica is away
POSITION_INTERVAL = timedelta(seconds=1)
MAX_POSITIONS = 3_600
# A commit that was acknowledged is on disk, so the flushed position covers it.
READ_PRIMARY = sa.text("""
    select (pg_current_wal_flush_lsn() - '0/0')::bigint as position, current_database()::text as database,
        (select system_identifier from pg_control_system()) as system_id
""")
READ_REPLICA = sa.text("""
    select pg_is_in_recovery() as is_replica, (pg_last_wal_replay_lsn() - '0/0')::bigint as position,
        pg_last_xact_replay_timestamp() as applied_until, current_database()::text as database,
        (select system_identifier from pg_control_system()) as system_id
""")


class Fallback(StrEnum):
    """Why a report was read from the primary although a replica is configured."""

    AWAY = "away"
    BEHIND = "behind"
    WRONG = "wrong"  # no replica of this database


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSource:
    """Where a report was read. `as_of`: what was committed before is in it."""

    as_of: datetime
    is_replica: bool = False
    fallback: Fallback | None = None
    lag: timedelta | None = None  # of a replica that is too far behind; None where it isn't known


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[T]):
    value: T
    source: ReadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """In the primary's log, in bytes, and a time before it was read."""

    value: int
    at: datetime
    database: str
    system_id: int


class _ReplicaUnusable(Exception):
    def __init__(self, fallback: Fallback, lag: timedelta | None = None) -> None:
        super().__init__(fallback.value)
        self.fallback, self.lag = fallback, lag


class _ReplicaAway(_ReplicaUnusable):
    def __init__(self) -> None:
        super().__init__(Fallback.AWAY)


_breaker = CircuitBreaker(threshold=1, first_pause=FIRST_PAUSE_S, max_pause=MAX_PAUSE_S)
_positions = deque[_Position](maxlen=MAX_POSITIONS)  # of the primary, the oldest first


def forget() -> None:
    """Attempt the replica again at the next read, and forget the positions of another primary."""
    _breaker.reset()
    _positions.clear()


async def read(session: AsyncSession, work: Callable[[AsyncSession], Awaitable[T]]) -> Reading[T]:
    """The result of `work`, which only reads, with a session on the replica or with this one.

    `session`: a transaction on the primary; the replica's has its role, tenant and reason. `work` runs once more, on the primary,
    where the replica fails in the middle. Raises as `work` does.
    """
    if settings().database_replica_url is None:
        return await read_primary(session, work)
    try:
        with _breaker.attempt(_ReplicaAway):
            return await _read_replica(session, work)
    except CircuitOpen:
        fallback, lag = Fallback.AWAY, None
    except _ReplicaUnusable as problem:
        fallback, lag = problem.fallback, problem.lag
        log.get_tenant_logger(__name__).warning(
            "replica_not_used",
            problem=fallback.value,
            cause=type(problem.__cause__).__name__,
            lag_s=lag.total_seconds() if lag is not None else None,
        )
    at = db.now()
    return Reading(value=await work(session), source=ReadSource(as_of=at, fallback=fallback, lag=lag))


async def read_primary(session: AsyncSession, work: Callable[[AsyncSession], Awaitable[T]]) -> Reading[T]:
    """The result of `work` with this session. Raises as `work` does."""
    at = db.now()
    return Reading(value=await work(session), source=ReadSource(as_of=at))


async def _read_replica(session: AsyncSession, work: Callable[[AsyncSession], Awaitable[T]]) -> Reading[T]:
    position = await _note_position(session)
    try:
        async with db.replica_transaction(session) as replica_session:
            as_of = await _find_as_of(replica_session, position)
            return Reading(value=await work(replica_session), source=ReadSource(as_of=as_of, is_replica=True))
    except Exception as problem:
        if not _is_failure_of_replica(problem):
            raise
        raise _ReplicaAway from problem


def _is_failure_of_replica(problem: Exception) -> bool:
    """Not: a statement that took too long, or a pool without a free connection. Those would burden the primary next."""
    if isinstance(problem, sa.exc.TimeoutError):
        return False
    if transaction_retries.is_conflict(problem):  # with what the replica applies
        return True
    # An object may be missing on a replica that has not applied a migration yet.
    is_missing = isinstance(getattr(problem, "orig", None), psycopg.ProgrammingError)
    return is_missing or db.is_connection_error(problem)


async def _note_position(session: AsyncSession) -> _Position:
    at = db.now()
    connection = await session.connection()
    row = (await connection.execute(READ_PRIMARY)).one()
    position = _Position(value=row.position, at=at, database=row.database, system_id=row.system_id)
    if not _positions or at - _positions[-1].at >= POSITION_INTERVAL:
        _positions.append(position)
    return position


async def _find_as_of(replica_session: AsyncSession, position: _Position) -> datetime:
    """Wait a moment for the replica to apply this position. Raises _ReplicaUnusable."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CATCH_UP_S
    connection = await replica_session.connection()
    while True:
        row = (await connection.execute(READ_REPLICA)).one()
        if not row.is_replica or (row.database, row.system_id) != (position.database, position.system_id):
            raise _ReplicaUnusable(Fallback.WRONG)
        if row.position is not None and row.position >= position.value:
            return position.at
        if loop.time() > deadline:
            break
        await asyncio.sleep(CATCH_UP_PAUSE_S)
    as_of = _find_time(row.position, row.applied_until)
    lag = position.at - as_of if as_of is not None else None
    if as_of is None or lag is None or lag > timedelta(seconds=settings().replica_max_lag_seconds):
        raise _ReplicaUnusable(Fallback.BEHIND, lag)
    return as_of


def _find_time(applied_position: int | None, applied_until: datetime | None) -> datetime | None:
    """Up to when everything is applied. `applied_until`: the time of the last commit that was."""
    noted = (
        each.at
        for each in reversed(_positions)
        if applied_position is not None and each.value <= applied_position
    )
    times = [at for at in (next(noted, None), applied_until) if at is not None]
    return max(times, default=None)
