"""Production refuses to start with a login that has more rights than the process needs."""

from contextlib import suppress
from typing import Any

import psycopg

from shared.core import database_logins, db
from shared.core.config import ConfigurationError, settings
from shared.core.database_logins import DatabaseRole

CONNECT_TIMEOUT_S = 5
PROBES = 5  # a busy pooler may answer two statements from two sessions
# What the login is, or could become by SET ROLE. A superuser is a member of every role.
RIGHTS = """
    select current_user::text, bool_or(rolsuper), bool_or(rolbypassrls), bool_or(rolcreaterole), bool_or(rolcreatedb),
        bool_or(rolreplication), bool_or(rolname = %(owner)s)
    from pg_roles where pg_has_role(current_user, oid, 'member')
"""
EXCESS_RIGHTS = (
    "is a superuser",
    "can bypass row security",
    "can create roles",
    "can create databases",
    "can replicate",
    "is a member of bulkhead_owner",
)
MEMBERSHIPS = (
    "select rolname::text from pg_roles where rolname = any (%s) and pg_has_role(current_user, oid, 'usage')"
)


def require_no_administrator() -> None:
    """Raises ConfigurationError when DATABASE_URL, or DATABASE_DIRECT_URL, has rights that only `migrate` needs."""
    for setting, url in db.list_configured_urls():
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            require_no_excess(connection, setting)


def require_member(role: DatabaseRole, program: str) -> None:
    """The same, and the login must be a member of this role and of no other one of ours.

    `program`: what it is for, in the message.
    """
    for setting, url in db.list_configured_urls():
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            require_no_excess(connection, setting)
            groups = [database_logins.role_name(each) for each in database_logins.ROLES]
            memberships = {name for (name,) in connection.execute(MEMBERSHIPS, [groups]).fetchall()}
            expected = database_logins.role_name(role)
            if memberships != {expected}:
                actual = " and ".join(sorted(memberships)) or "none of our roles"
                raise ConfigurationError(
                    f"{setting} logs in as {connection.info.user}, a member of {actual}. The {program} needs a login that is"
                    f" a member of {expected} and of no other. {_next_step('worker' if program == 'worker' else role)}"
                )
            if program == "worker":
                _require_worker_login(connection, setting)


def _require_worker_login(connection: psycopg.Connection[Any], setting: str) -> None:
    """Row security knows the worker by its login: another one would find no job."""
    login = database_logins.login_name(connection.info.dbname, "worker")
    if connection.info.user != login:
        raise ConfigurationError(
            f"{setting} logs in as {connection.info.user}. Only {login} can read the queue of this database."
            f" {_next_step('worker')}"
        )


def require_direct_connection(role: DatabaseRole) -> None:
    """Raises ConfigurationError when notifications would go through a pooler that pools transactions.

    A database that is away is no reason: the process starts, is not ready, and comes back with it.
    """
    setting = "DATABASE_URL" if settings().database_direct_url is None else "DATABASE_DIRECT_URL"
    with suppress(psycopg.OperationalError):
        require_no_pooler(db.login_url(role, direct=True), setting, "DATABASE_DIRECT_URL")


def require_no_pooler(url: str, name: str, setting: str) -> None:
    """`name`: what the URL is called in the message; `setting`: what to set instead."""
    if _is_transaction_pooler(url):
        raise ConfigurationError(
            f"{name} goes through a pooler that pools transactions: notifications and locks of a session get lost there."
            f" Set {setting} to the address of the server itself, with the same login."
        )


def _is_transaction_pooler(url: str) -> bool:
    """Whether two connections that are open at the same time were answered by one session of the server."""
    options: dict[str, Any] = {
        "autocommit": True,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "prepare_threshold": None,
    }
    with psycopg.connect(url, **options) as first, psycopg.connect(url, **options) as second:
        return any(_read_backend_pid(first) == _read_backend_pid(second) for _ in range(PROBES))


def _read_backend_pid(connection: psycopg.Connection[Any]) -> object:
    return connection.execute("select pg_backend_pid()").fetchone()


def require_no_excess(connection: psycopg.Connection[tuple[object, ...]], setting: str) -> None:
    """Raises ConfigurationError when the login of this connection, of the URL in `setting`, could do what only `migrate` needs."""
    row = connection.execute(RIGHTS, {"owner": database_logins.role_name("owner")}).fetchone()
    assert row is not None
    user, *flags = row
    excess = [right for right, has_right in zip(EXCESS_RIGHTS, flags, strict=True) if has_right]
    if excess:
        raise ConfigurationError(
            f"{setting} logs in as {user}, who {excess[0]}: whoever reads this process's environment could read every tenant."
            f" Only `bulkhead migrate` needs such a login; give it to that one as DATABASE_MIGRATE_URL. {_next_step('app')}"
        )


def _next_step(kind: str) -> str:
    return f"`bulkhead db-url --role {kind}`, run where DATABASE_MIGRATE_URL is set, prints the URL to use."
