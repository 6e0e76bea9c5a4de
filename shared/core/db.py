"""Engines, transactions, and the tenant of a transaction.

A transaction works for one tenant (`tenant_id`), for one signed-in person's list of tenants (`user_id`), for an
operator across tenants (`reason`), or for none. The settings are local to the transaction and read by the row-level
policies; the guard below makes the same mistake loud in Python: tenant tables without a tenant raise `NoTenant`.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import LoaderCriteriaOption, ORMExecuteState, Session, with_loader_criteria
from sqlalchemy.sql import visitors
from sqlmodel import Field, SQLModel
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import guarded_connection, tenant_load, tenant_scope, transaction_retries
from shared.core.config import ConfigurationError, settings
from shared.core.database_logins import (
    LOGIN_KINDS,
    ROLE_OF_LOGIN,
    ROLES,
    LoginKind,
    answer_timeout_s,
    login_name,
    login_password,
    role_name,
)
from shared.core.database_logins import DatabaseRole as DatabaseRole  # callers write db.DatabaseRole
from shared.core.errors import Invalid, NoTenant, TookTooLong, Unavailable
from shared.core.ids import is_id, new_id

DATABASE = "bulkhead"
POOL_SIZE = 10  # of one role in one process, and as many again while they are needed
REPLICA_POOL_SIZE = 5
POOL_TIMEOUT_S = 5
MAX_STATEMENT_CONNECTIONS = 8  # in one process, beside the pool; more than a session may hold
CONNECT_TIMEOUT_S = 3
PREPARE_THRESHOLD = 5  # psycopg's own
# Values that PostgreSQL cannot store: an invalid character, half a surrogate pair, a number out of range.
UNSTORABLE_SQLSTATES = {None, "22003", "22021", "22P02", "22P05"}
RECORD_MISSING_TENANT = sa.text(
    "select record_security_event(:id, 'missing_tenant_context', :role, :what, '')"
)
SESSION_INFO, WRITE_COUNT, STATEMENT_BEGAN = "session_info", "write_count", "statement_began"
READ_ONLY, ROLE = "read_only", "role"
SCOPE = ("tenant_id", "user_id", "reason")
TENANT_ID: sa.ColumnClause[str] = sa.column("tenant_id", sa.Text)
_app_login: LoginKind = "app"
_engines: list[AsyncEngine] = []  # all that are open


class TenantRow(SQLModel):
    """Base of every tenant-owned table: the primary key becomes (tenant_id, id)."""

    tenant_id: str = Field(primary_key=True, foreign_key="tenant.id")


def now() -> datetime:
    return datetime.now(UTC)


def text_enum(kind: type[StrEnum]) -> sa.Enum:
    """Stored as text with its values; the database checks them by a constraint of the migration."""
    return sa.Enum(
        kind, native_enum=False, values_callable=lambda members: [member.value for member in members]
    )


def timestamptz() -> Any:
    return sa.DateTime(timezone=True)


def log_in_as_worker() -> None:
    """From now on the app's role logs in as the worker, whose statements may take longer. Call it before any query."""
    global _app_login
    _app_login = "worker"
    login_url.cache_clear()


@cache
def login_url(role: DatabaseRole, *, direct: bool = False, replica: bool = False) -> str:
    """The URL with which this process logs in as a member of that role.

    Production takes the login that DATABASE_URL names. Development derives it where DATABASE_URL names an administrator.
    `direct`: past a pooler, for LISTEN and what else belongs to a session. `replica`: of the server for reports.
    Raises ConfigurationError without a URL, or when it names a login of another role.
    """
    url = _configured_url(role, direct=direct, replica=replica)
    kind = _login_kind(role)
    role_by_user = _list_known_logins(url.database or DATABASE)
    known_role = role_by_user.get(url.username or "")
    if known_role is not None and known_role != role:
        raise ConfigurationError(
            f"DATABASE_URL logs in as {url.username}; this process needs a login that is a member of {role_name(role)}."
            f" `bulkhead db-url --role {kind}` prints one."
        )
    if known_role is None and (not settings().is_production or role == "owner"):
        return derive_login_url(url, kind)
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _login_kind(role: DatabaseRole) -> LoginKind:
    return _app_login if role == "app" else role


def _configured_url(role: DatabaseRole, *, direct: bool, replica: bool) -> URL:
    configured_url = settings().database_url
    if replica:
        configured_url = settings().database_replica_url
    elif role == "owner":
        configured_url = settings().migration_url
    elif direct:
        configured_url = settings().database_direct_url or configured_url
    if configured_url is None:
        raise ConfigurationError(
            "DATABASE_URL is missing. `bulkhead up` starts a database of its own; everything else needs one."
        )
    return make_url(configured_url.get_secret_value())


def list_configured_urls() -> list[tuple[str, str]]:
    """Setting and URL of the databases that this process connects to, as they are configured."""
    config = settings()
    configured_urls = {"DATABASE_URL": config.database_url, "DATABASE_DIRECT_URL": config.database_direct_url}
    return [
        (
            setting,
            make_url(url.get_secret_value())
            .set(drivername="postgresql")
            .render_as_string(hide_password=False),
        )
        for setting, url in configured_urls.items()
        if url is not None
    ]


def _list_known_logins(database: str) -> dict[str, DatabaseRole]:
    """The role by the names that need no administrator: our logins, and the group roles where they can log in still."""
    groups = {role_name(role): role for role in ROLES}
    return groups | {login_name(database, kind): ROLE_OF_LOGIN[kind] for kind in LOGIN_KINDS}


def is_login_of(url: URL, role: DatabaseRole) -> bool:
    """Whether the URL names a login of ours that is a member of this role."""
    return _list_known_logins(url.database or DATABASE).get(url.username or "") == role


def derive_login_url(admin_url: URL, kind: LoginKind) -> str:
    """The URL of a login that `bulkhead migrate` makes. Raises ConfigurationError where the administrator has no password."""
    if not admin_url.password:
        raise ConfigurationError(
            "DATABASE_URL needs a password: the passwords of our login roles derive from it"
        )
    login = login_name(admin_url.database or DATABASE, kind)
    password = login_password(str(admin_url.password), login)
    return admin_url.set(drivername="postgresql", username=login, password=password).render_as_string(
        hide_password=False
    )


def prepare_threshold() -> int | None:
    """After how many executions a statement is prepared; None is never.

    A prepared statement belongs to the server's session, and a pooler gives each transaction another one.
    """
    return None if settings().database_direct_url is not None else PREPARE_THRESHOLD


@cache
def engine(role: DatabaseRole) -> AsyncEngine:
    return _make_engine(role, login_url(role), size=POOL_SIZE, threshold=prepare_threshold())


@cache
def replica_engine(role: DatabaseRole) -> AsyncEngine:
    """Statements are never prepared: a pooler may be in front of the replica alone."""
    return _make_engine(role, login_url(role, replica=True), size=REPLICA_POOL_SIZE, threshold=None)


def _make_engine(role: DatabaseRole, url: str, *, size: int, threshold: int | None) -> AsyncEngine:
    made = create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=size,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=False,
        hide_parameters=True,  # or a failed statement writes what it carried, hashes too, into the log
        connect_args={
            "async_creator_fn": guarded_connection.connect,
            "answer_timeout_s": answer_timeout_s(_login_kind(role)),
            "connect_timeout": CONNECT_TIMEOUT_S,
            "prepare_threshold": threshold,
            "application_name": f"bulkhead-{role}",
        },
    )
    _engines.append(made)
    return made


RawConnection = psycopg.AsyncConnection[tuple[Any, ...]]


class _RawPool:
    """Connections of the driver itself, beside the pool of the engine. `limit` None: any number."""

    def __init__(self, limit: int | None = None) -> None:
        self._idle: list[RawConnection] = []
        self._places = asyncio.Semaphore(limit) if limit is not None else None
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[RawConnection]:
        """Raises sqlalchemy.exc.TimeoutError where all are in use for too long, as the pool of the engine does."""
        if self._places is not None:
            try:
                async with asyncio.timeout(POOL_TIMEOUT_S):
                    await self._places.acquire()
            except TimeoutError as problem:
                raise sa.exc.TimeoutError("no connection became free") from problem
        try:
            async with self._take() as connection:
                yield connection
        finally:
            if self._places is not None:
                self._places.release()

    @asynccontextmanager
    async def _take(self) -> AsyncIterator[RawConnection]:
        connection = self._idle.pop() if self._idle else await _open_raw_connection()
        try:
            yield connection
        except BaseException:
            if connection.broken:  # the server was away, so those that wait are dead too
                await self._close_idle()
            await connection.close()  # whatever state it is in
            raise
        if self._is_closed:  # everything was disposed of in the meantime
            await connection.close()
        else:
            self._idle.append(connection)

    async def _close_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    async def close(self) -> None:
        self._is_closed = True
        await self._close_idle()


_raw_pool, _statement_pool = _RawPool(), _RawPool(MAX_STATEMENT_CONNECTIONS)


@asynccontextmanager
async def raw_connection() -> AsyncIterator[RawConnection]:
    """The driver's own connection as the app, beside the pool; each statement is a transaction of its own.

    For thousands of statements that read and write no row of a tenant: no tenant is set on this connection.
    """
    async with _raw_pool.connection() as connection:
        yield connection


@asynccontextmanager
async def statement_connection() -> AsyncIterator[RawConnection]:
    """As `raw_connection`, for one statement that reads: neither BEGIN nor COMMIT is sent. There are only a few.

    A tenant that the statement sets ends with it.
    """
    async with _statement_pool.connection() as connection:
        yield connection


async def _open_raw_connection() -> RawConnection:
    name = "bulkhead-app-bare"
    return await guarded_connection.connect(
        login_url("app"),
        answer_timeout_s=answer_timeout_s(_login_kind("app")),
        autocommit=True,
        connect_timeout=CONNECT_TIMEOUT_S,
        prepare_threshold=prepare_threshold(),
        application_name=name,
    )


async def dispose() -> None:
    """Closes what this event loop opened; the next use opens a new connection."""
    global _raw_pool, _statement_pool
    pools = _raw_pool, _statement_pool
    _raw_pool, _statement_pool = _RawPool(), _RawPool(MAX_STATEMENT_CONNECTIONS)
    for pool in pools:
        await pool.close()
    while _engines:
        await _engines.pop().dispose()
    engine.cache_clear()
    replica_engine.cache_clear()
    login_url.cache_clear()


def is_connection_error(error: BaseException) -> bool:
    """True when the database cannot be reached, does not answer or is busy: the statement itself is not the problem.

    A statement that was cancelled because it took too long is one.
    """
    if is_cancelled(error):
        return False
    cause = getattr(error, "orig", None) or error
    return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError | sa.exc.TimeoutError)


def is_cancelled(error: BaseException) -> bool:
    """True when the database has stopped a statement at its time limit."""
    return isinstance(getattr(error, "orig", None) or error, psycopg.errors.QueryCanceled)


def is_read_only_error(error: BaseException) -> bool:
    """True when a transaction that may only read has tried to write, or to lock a row."""
    return isinstance(getattr(error, "orig", None) or error, psycopg.errors.ReadOnlySqlTransaction)


def to_refusal(error: BaseException) -> Unavailable | TookTooLong | None:
    """What to tell the person when the database is away or has ended what they did; None for other errors."""
    if transaction_retries.is_conflict(error):
        return Unavailable(
            "Another change of the same data was made at the same moment, and this one was stopped.",
            "Reload the page to see what is there, then try again.",
            retry_after=1,
        )
    if is_cancelled(error):
        return TookTooLong(
            "This took too long and was stopped. Nothing was changed.",
            "Try again with a narrower search or a shorter period.",
        )
    if not is_connection_error(error):
        return None
    return Unavailable(
        "We’ll be back in a moment. Nothing is lost.", "Try again in a few seconds.", retry_after=5
    )


@asynccontextmanager
async def transaction(
    role: DatabaseRole = "app",
    *,
    tenant_id: str = "",
    user_id: str = "",
    reason: str = "",
    read_only: bool = False,
) -> AsyncIterator[AsyncSession]:
    """Commit at the end, roll back on any error. A statement without a tenant is recorded as a security event.

    `read_only`: the database refuses every write of the transaction, including those of functions (`is_read_only_error`).
    """
    info = {"tenant_id": tenant_id, "user_id": user_id, "reason": reason, READ_ONLY: read_only, ROLE: role}
    tenant_before = tenant_scope.change(tenant_id)
    try:
        async with AsyncSession(engine(role), expire_on_commit=False, info=info) as session, session.begin():
            yield session
        if count_writes(session):
            transaction_retries.note_effect()
    except NoTenant as bug:
        await _record_missing_tenant(role, str(bug))
        raise
    finally:
        tenant_scope.change(tenant_before)


@asynccontextmanager
async def replica_transaction(session: AsyncSession) -> AsyncIterator[AsyncSession]:
    """A read-only transaction on the replica with the role and the scope of `session`, which stays open."""
    info = {key: session.info.get(key, "") for key in SCOPE} | {READ_ONLY: True, ROLE: session.info[ROLE]}
    engine_of_role = replica_engine(session.info[ROLE])
    async with AsyncSession(engine_of_role, expire_on_commit=False, info=info) as reading, reading.begin():
        yield reading


async def _record_missing_tenant(role: DatabaseRole, message: str) -> None:
    """Record a security event in its own transaction, because the failed one is rolled back. Operators see the number."""
    values = {"id": new_id("sec"), "role": role_name(role), "what": message}
    try:
        async with engine(role).begin() as connection:
            await connection.execute(RECORD_MISSING_TENANT, values)
    except sa.exc.DBAPIError:  # the caller raises the bug itself, which matters more
        logging.getLogger(__name__).exception("missing_tenant_not_counted")


def has_written(session: AsyncSession, *, since: int = 0) -> bool:
    """Whether the transaction has written or is about to. `since`: after so many statements by `count_writes`."""
    return count_writes(session) > since or bool(session.new or session.dirty or session.deleted)


def count_writes(session: AsyncSession) -> int:
    """Statements of the transaction that count as writes. Rows that are about to be written don't."""
    count: int = session.info.get(WRITE_COUNT, 0)
    return count


async def set_tenant(session: AsyncSession, tenant_id: str) -> None:
    """From now on the transaction reads and writes only this tenant."""
    await _change_scope(session, tenant_id=tenant_id)


async def set_user(session: AsyncSession, user_id: str) -> None:
    """From now on the transaction reads this person's memberships and their tenants, and can't change any."""
    await _change_scope(session, user_id=user_id)


async def clear_scope(session: AsyncSession, *, reason: str = "") -> None:
    """From now on the transaction has no tenant. With a reason, the role bulkhead_operator reads all tenants."""
    await _change_scope(session, reason=reason)


async def _change_scope(
    session: AsyncSession, *, tenant_id: str = "", user_id: str = "", reason: str = ""
) -> None:
    await session.flush()  # pending rows belong to the previous tenant
    session.info.update(tenant_id=tenant_id, user_id=user_id, reason=reason)
    tenant_scope.change(tenant_id)
    session.expunge_all()
    connection = await session.connection()
    await connection.run_sync(lambda sync: _write_scope(session.info, sync))


def _write_scope(info: dict[Any, Any], connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "select set_config('app.tenant_id', %s, true), set_config('app.user_id', %s, true),"
        " set_config('app.cross_tenant_reason', %s, true)",
        (info.get("tenant_id", ""), info.get("user_id", ""), info.get("reason", "")),
    )


def begin_reading(connection: sa.Connection) -> None:
    """First in a transaction: after a query it can't be made writable again."""
    connection.exec_driver_sql("set transaction read only")


@event.listens_for(Session, "after_begin")
def _write_scope_on_begin(session: Session, transaction: Any, connection: sa.Connection) -> None:
    connection.info[SESSION_INFO] = session.info
    if session.info.get(READ_ONLY):
        begin_reading(connection)
    if any(session.info.get(key) for key in SCOPE):
        _write_scope(session.info, connection)


@lru_cache(maxsize=1_000)
def _build_criteria(tenant_id: str) -> LoaderCriteriaOption:
    """Kept, because building it takes longer than running many a statement."""
    return with_loader_criteria(
        TenantRow,
        lambda cls: getattr(cls, "tenant_id", TENANT_ID) == tenant_id,
        include_aliases=True,
        track_closure_variables=True,
    )


@event.listens_for(Session, "do_orm_execute")
def _filter_by_tenant(state: ORMExecuteState) -> None:
    """Inspect the statement, not its mappers: a count, a join or a subquery may use a table without a mapper in it."""
    if state.is_column_load or state.is_relationship_load:
        return
    info = state.session.info
    if tenant_id := info.get("tenant_id"):
        if state.is_select or state.is_update or state.is_delete:
            state.statement = state.statement.options(_build_criteria(tenant_id))
    elif not (info.get("user_id") or info.get("reason")):
        statement: Any = state.statement
        for part in visitors.iterate(statement):
            if isinstance(part, sa.Table) and TENANT_ID.name in part.c:
                raise NoTenant(f"{part.name} was queried without a tenant")


@event.listens_for(Session, "before_flush")
def _refuse_foreign_rows(session: Session, context: Any, instances: Any) -> None:
    tenant_id = session.info.get("tenant_id", "")
    for row in (*session.new, *session.dirty):
        if isinstance(row, TenantRow) and row.tenant_id != tenant_id:
            raise NoTenant(
                f"{type(row).__name__} of another tenant in a transaction of {tenant_id or 'none'}"
            )


@event.listens_for(sa.Engine, "before_cursor_execute")
def _note_write(
    connection: sa.Connection,
    cursor: Any,  # of the driver
    statement: str,
    parameters: Any,  # of any type that the driver takes
    context: sa.ExecutionContext | None,
    executemany: bool,
) -> None:
    """All but queries that SQLAlchemy composed count as writes: other SQL may call a function that writes.

    Without `compiled` it is the driver's own, with which only the scope is written.
    """
    connection.info[STATEMENT_BEGAN] = time.perf_counter()
    compiled = context.compiled if context is not None else None
    if compiled is not None and not isinstance(compiled.statement, sa.SelectBase):
        info = connection.info.get(SESSION_INFO, {})
        info[WRITE_COUNT] = info.get(WRITE_COUNT, 0) + 1


@event.listens_for(sa.Engine, "after_cursor_execute")
def _count_seconds(connection: sa.Connection, *_: object) -> None:
    """As load of the tenant whose transaction it is. An id that isn't one may come from a request: it counts for no one."""
    began = connection.info.pop(STATEMENT_BEGAN, None)
    tenant_id = connection.info.get(SESSION_INFO, {}).get("tenant_id")
    if tenant_id and began is not None and is_id("ten", tenant_id):
        tenant_load.add_database_seconds(tenant_id, time.perf_counter() - began)


@event.listens_for(sa.Engine, "handle_error")
def _count_seconds_of_failure(context: sa.ExceptionContext) -> None:
    """A statement that was stopped at its time limit has cost the most."""
    if context.connection is not None and not context.connection.invalidated:
        _count_seconds(context.connection)


@event.listens_for(sa.Engine, "handle_error")
def _refuse_unstorable_values(context: sa.ExceptionContext) -> None:
    """Forms refuse such values earlier and name the field. The others raise Invalid here, not a server error."""
    problem = context.original_exception
    if isinstance(problem, UnicodeEncodeError) or (
        isinstance(problem, psycopg.DataError) and problem.sqlstate in UNSTORABLE_SQLSTATES
    ):
        raise Invalid("Your input contains an unsupported character.", "Type it again instead of pasting it.")
