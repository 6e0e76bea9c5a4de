"""The database as a process meets it: its address, version, rights, time limits, schema, connections and clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.engine import make_url

from shared.cli import database_diagnosis, login_checks
from shared.cli.doctor.check_results import CheckResult, failed, failed_by, ok, run_check, warning
from shared.core import database_logins, db, setting_urls
from shared.core.config import ConfigurationError, settings
from shared.core.database_logins import LOGIN_KINDS, ROLES, DatabaseRole, LoginKind, role_name
from shared.core.schema_fingerprint import SHOWN, list_differences
from shared.web import health

NAME = "database"
MIN_VERSION = 15
MAX_CLOCK_DIFFERENCE_S = 5.0
# One tenant app, one admin app and one worker, with full pools and two connections outside of them each.
NEEDED_CONNECTIONS = 3 * (2 * db.POOL_SIZE + 2) + db.MAX_STATEMENT_CONNECTIONS
GROUPS = """
    select rolname::text, rolcanlogin, rolsuper or rolbypassrls from pg_roles where rolname = any (%s)
"""
TIMEOUTS = "select name, setting || coalesce(unit, '') from pg_settings where name = any (%s)"
CONNECTIONS = """
    select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
        (select count(*)::int from pg_stat_activity where backend_type = 'client backend')
"""
IS_ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
MIGRATE = "Run `bulkhead migrate`."


def find_login_url(role: DatabaseRole) -> str | None:
    """The URL of a login of this role that can connect; None where the environment has none."""
    try:
        url = db.login_url(role)
        with psycopg.connect(url, connect_timeout=login_checks.CONNECT_TIMEOUT_S) as connection:
            row = connection.execute("select pg_has_role(%s, 'usage')", [role_name(role)]).fetchone()
    except (ConfigurationError, psycopg.Error):
        return None
    return url if row == (True,) else None


def check_database() -> Iterator[CheckResult]:
    """Connect first: without a connection, that is the only result."""
    configured_url = settings().database_url or settings().database_migrate_url
    if configured_url is None:
        yield failed(NAME, "DATABASE_URL is missing.", "Set it, or run `bulkhead up` in development.")
        return
    url = make_url(configured_url.get_secret_value())
    if problem := database_diagnosis.find_connection_problem(url):
        yield failed_by(NAME, ConfigurationError(problem[0].upper() + problem[1:]))
        return
    login_urls = [find_login_url(role) for role in ("app", "operator", "owner")]
    login_url = next((each for each in login_urls if each is not None), None)
    if login_url is None:
        yield failed(NAME, "The server answers, and no login of Bulkhead can use it.", MIGRATE)
        return
    with _connect(login_url) as connection:
        yield from _check_version(connection)
        for name, check in (
            ("database encryption", _check_encryption),
            ("database login", _check_login),
            ("database time limits", _check_timeouts),
            ("database roles", _check_groups),
            ("database connections", _check_connections),
            ("clock", _check_clock),
        ):
            yield from run_check(name, lambda check=check: check(connection))  # type: ignore[misc]
    yield from run_check("schema", lambda: _check_schema(login_url))


@contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=login_checks.CONNECT_TIMEOUT_S,
        application_name="bulkhead-doctor",
    ) as connection:
        yield connection


def _check_version(connection: psycopg.Connection) -> Iterator[CheckResult]:
    version = connection.info.server_version // 10_000
    text = f"PostgreSQL {version} answers as {connection.info.user} in {connection.info.dbname}."
    if version < MIN_VERSION:
        yield failed(NAME, text, f"Bulkhead needs PostgreSQL {MIN_VERSION} or newer: upgrade the server.")
    else:
        yield ok(NAME, text)


def _check_encryption(connection: psycopg.Connection) -> Iterator[CheckResult]:
    if connection.execute(IS_ENCRYPTED).fetchone() == (True,):
        yield ok("database encryption", "The connection uses TLS.")
    elif setting_urls.is_private_host(connection.info.host):
        yield ok("database encryption", "The connection has no TLS, inside a private network.")
    else:
        yield failed(
            "database encryption",
            "The connection has no TLS and leaves the private network.",
            "Add sslmode=verify-full and sslrootcert to DATABASE_URL.",
        )


def _check_login(connection: psycopg.Connection) -> Iterator[CheckResult]:
    """Of the processes: the login must have no rights beyond its own role. The owner's is of migrations alone."""
    if _find_login_kind(connection) == "owner":
        yield ok("database login", f"{connection.info.user} migrates; no process may use it.")
        return
    if settings().is_production:
        login_checks.require_no_administrator()
    login_checks.require_no_excess(connection, "DATABASE_URL")
    yield ok("database login", f"{connection.info.user} has no more rights than a process needs.")


def _check_timeouts(connection: psycopg.Connection) -> Iterator[CheckResult]:
    kind = _find_login_kind(connection)
    if kind == "owner":
        yield ok(
            "database time limits", f"{connection.info.user} has none: migrations take as long as they need."
        )
        return
    expected = database_logins.login_settings(kind) if kind else {}
    if not expected:
        yield warning(
            "database time limits",
            f"{connection.info.user} is a login of another name: its time limits are not known.",
            "Use the URL that `bulkhead db-url` prints, or set them as docs/settings.md lists.",
        )
        return
    actual: dict[str, str] = dict(connection.execute(TIMEOUTS, [list(expected)]).fetchall())
    different = [
        f"{name} is {actual.get(name, 'unknown')}, not {value}"
        for name, value in expected.items()
        if actual.get(name) != f"{int(value.removesuffix('s')) * 1_000}ms"
    ]
    if different:
        yield failed("database time limits", f"{'; '.join(different)}.", MIGRATE)
    else:
        yield ok(
            "database time limits", ", ".join(f"{name} {value}" for name, value in expected.items()) + "."
        )


def _find_login_kind(connection: psycopg.Connection) -> LoginKind | None:
    user, database = connection.info.user, connection.info.dbname
    return next((kind for kind in LOGIN_KINDS if database_logins.login_name(database, kind) == user), None)


def _check_groups(connection: psycopg.Connection) -> Iterator[CheckResult]:
    names = [role_name(role) for role in ROLES]
    rows = {name: flags for name, *flags in connection.execute(GROUPS, [names]).fetchall()}
    if missing := [name for name in names if name not in rows]:
        yield failed("database roles", f"These roles are missing: {', '.join(missing)}.", MIGRATE)
    elif bypassing := [name for name, (_, bypasses) in rows.items() if bypasses]:
        yield failed(
            "database roles",
            f"{', '.join(bypassing)} can bypass row security.",
            "Run as an administrator: alter role … nosuperuser nobypassrls.",
        )
    elif logins := [name for name, (can_login, _) in rows.items() if can_login]:
        yield warning(
            "database roles",
            f"{', '.join(logins)} can log in, as earlier versions did.",
            "When every process runs this version, run `bulkhead migrate --end-shared-logins`.",
        )
    else:
        yield ok("database roles", f"{', '.join(names)} obey row security and can't log in.")


def _check_connections(connection: psycopg.Connection) -> Iterator[CheckResult]:
    row = connection.execute(CONNECTIONS).fetchone()
    assert row is not None
    allowed, used = row
    text = f"{used} of {allowed} connections are open; a tenant app, an admin app and a worker take up to {NEEDED_CONNECTIONS}."
    if allowed < NEEDED_CONNECTIONS:
        yield warning(
            "database connections",
            text,
            "Raise max_connections, or put a pooler in front (docs/settings.md).",
        )
    else:
        yield ok("database connections", text)


def _check_clock(connection: psycopg.Connection) -> Iterator[CheckResult]:
    before = datetime.now(UTC)
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    middle = before + (datetime.now(UTC) - before) / 2
    difference_s = abs((row[0] - middle).total_seconds())
    text = f"The clocks of the database and of this machine differ by {difference_s:.1f} s."
    if difference_s > MAX_CLOCK_DIFFERENCE_S:
        yield failed("clock", text, "Synchronise both machines with a time server (NTP).")
    else:
        yield ok("clock", text)


def _check_schema(login_url: str) -> Iterator[CheckResult]:
    engine = create_engine(
        make_url(login_url).set(drivername="postgresql+psycopg"),
        poolclass=pool.NullPool,
    )
    with engine.connect() as connection:
        yield _compare_schema(connection)


def _compare_schema(connection: Connection) -> CheckResult:
    if connection.exec_driver_sql("select to_regclass('public.alembic_version')").scalar() is None:
        return failed("schema", "The database has no schema yet.", MIGRATE)
    revision = connection.exec_driver_sql("select version_num from alembic_version").scalar()
    if revision not in health.list_known_revisions():
        return warning(
            "schema",
            f"It is at {revision}, which is newer than this version.",
            "Run the version that it belongs to; /readyz says whether this one works with it.",
        )
    if revision not in health.list_migration_heads():
        heads = ", ".join(sorted(health.list_migration_heads()))
        return failed("schema", f"It is at {revision}, and this version needs {heads}.", MIGRATE)
    if different := list_differences(connection, revision):
        return failed(
            "schema",
            f"{len(different)} objects differ from the published migration {revision}: {', '.join(different[:SHOWN])}.",
            "Give them the definitions of the migration; `bulkhead migrate` explains how.",
        )
    return ok("schema", f"It is at {revision}, the newest.")
