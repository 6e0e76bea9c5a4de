"""A database per test process: copied from a template that the migrations built, entered as the apps' own roles."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.cli import database, database_roles
from shared.core import database_logins, db
from shared.core.config import ConfigurationError, settings
from shared.dev.postgres import EmbeddedPostgres
from tests.support import server_users

ROOT = Path(__file__).parents[2]
BUILD_LOCK = 4711
WITHOUT_DISK = {"fsync": "off", "full_page_writes": "off"}
POOLER = "TEST_POOLER"  # environment variable: host and port of a pooler before the test server
MINE, TEMPLATE = "bulkhead_test_", "bulkhead_template_"
_connections: dict[str, psycopg.Connection] = {}  # by name of the database


def revision() -> str:
    return ScriptDirectory(str(ROOT / "alembic")).get_current_head() or "none"


def admin_url(name: str = "postgres") -> str:
    """The URL of a superuser: of the test server, or of the server in DATABASE_URL."""
    database_url = settings().database_direct_url or settings().database_url
    base = make_url(database_url.get_secret_value() if database_url else _server().url())
    return base.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


def _server() -> EmbeddedPostgres:
    """The test server. It never waits for the disk: only a power failure can lose data."""
    return EmbeddedPostgres(settings().absolute_data_dir / "postgres", conf=WITHOUT_DISK)


def connect(name: str = "") -> psycopg.Connection:
    """A superuser's connection in autocommit, without `name` to the database that this process uses now.

    Every caller gets the same one until its database is dropped: opening one costs more than most statements.
    """
    name = name or str(make_url(admin_url_in_use()).database)
    connection = _connections.get(name)
    if connection is None or connection.closed:
        connection = _connections[name] = psycopg.connect(admin_url(name), autocommit=True)
    return connection


def admin_url_in_use() -> str:
    """The URL of a superuser, in the database that this process uses now."""
    config = settings()
    database_url = config.database_direct_url or config.database_url
    assert database_url is not None
    return database_url.get_secret_value()


def _disconnect(name: str) -> None:
    if connection := _connections.pop(name, None):
        connection.close()


def build(name: str = "") -> str:
    """Makes this process's database and points the settings at it. The first process builds the template."""
    name = name or own_name()
    with building() as (connection, template):
        clone(connection, template, name)
    use(name)
    return name


def stop_unused_server() -> None:
    """Stop the embedded server, unless other processes use it. Never a server that DATABASE_URL named at the start."""
    server_users.stop_if_unused(_server())


def own_name() -> str:
    return f"{MINE}{os.getpid()}"


@contextmanager
def building() -> Iterator[tuple[psycopg.Connection, str]]:
    """A superuser's connection that holds the build lock, and the name of the existing template."""
    if settings().database_url is None:
        server_users.hold(_server())
        _server().start()
    template = f"{TEMPLATE}{revision()}_{fingerprint()}"
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [BUILD_LOCK])
        _sweep(connection, template)
        if not connection.execute("select 1 from pg_database where datname = %s", [template]).fetchone():
            _build_template(connection, template)
        yield connection, template


def copy(template: str, name: str) -> None:
    """Copy a database that has no connections, and point the settings at the copy."""
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        clone(connection, template, name)
    use(name)


def clone(connection: psycopg.Connection, template: str, name: str) -> None:
    """Copy the template, which must have no connections, and make its logins. Replaces a database of that name."""
    _drop(connection, name)
    _disconnect(template)
    command = sql.SQL("create database {} template {}")
    connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
    _make_logins(connection, name)


def rename(connection: psycopg.Connection, name: str, new_name: str) -> None:
    """Logins are named after their database, so that the renamed one gets its own."""
    _disconnect(name)
    command = sql.SQL("alter database {} rename to {}")
    connection.execute(command.format(sql.Identifier(name), sql.Identifier(new_name)))
    _drop_logins(connection, name)
    _make_logins(connection, new_name)


def _make_logins(connection: psycopg.Connection, name: str) -> None:
    database_roles.make_logins(connection, admin_url(name))
    database_roles.grant_connect(connection, name)
    database_roles.revoke_public_connect(connection, name)


def _drop_logins(connection: psycopg.Connection, name: str) -> None:
    logins = [database_logins.login_name(name, kind) for kind in database_logins.LOGIN_KINDS]
    rows = connection.execute("select rolname from pg_roles where rolname = any (%s)", [logins]).fetchall()
    for (login,) in rows:
        connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(login)))  # CONNECT on databases
        connection.execute(sql.SQL("drop role {}").format(sql.Identifier(login)))


def do_not_wait_for_disk(name: str) -> None:
    """Commits of new connections return before they are on disk. A power failure can lose them."""
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        command = sql.SQL("alter database {} set synchronous_commit = off")
        connection.execute(command.format(sql.Identifier(name)))


def drop(name: str) -> None:
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        _drop(connection, name)


def empty(name: str) -> None:
    """A database without a schema, for tests of the migrations."""
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        _drop(connection, name)
        connection.execute(sql.SQL("create database {} owner bulkhead_owner").format(sql.Identifier(name)))


def use(name: str) -> None:
    """Point the settings of this process, and of the ones it starts, at that database."""
    url = admin_url(name)
    if address := os.environ.get(POOLER):
        os.environ["DATABASE_DIRECT_URL"] = url
        url = through_pooler(url, address)
    os.environ["DATABASE_URL"] = url
    settings.cache_clear()
    db.log_in_as_worker()  # tests run jobs, which the app's login can't read, in this process
    db.engine.cache_clear()


def through_pooler(url: str, address: str) -> str:
    """The same URL at a pooler's address: host and port."""
    host, _, port = address.partition(":")
    pooled_url = make_url(url).set(host=host, port=int(port)).difference_update_query(["host", "port"])
    return pooled_url.render_as_string(hide_password=False)


def fingerprint() -> str:
    """A digest of the migrations, so that a changed migration gets a new template."""
    migrations = ROOT / "alembic"
    sources = sorted([*migrations.rglob("*.py"), *migrations.rglob("*.sql")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:8]


def _drop(connection: psycopg.Connection, name: str) -> None:
    _disconnect(name)
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
    _drop_logins(connection, name)


def _sweep(connection: psycopg.Connection, template: str) -> None:
    """Drop the databases of ended runs and of older schemas. A running one keeps its own."""
    for (name,) in connection.execute("select datname from pg_database").fetchall():
        owner = name.removeprefix(MINE).partition("_")[0]
        if (name.startswith(MINE) and owner.isdigit() and not Path(f"/proc/{owner}").exists()) or (
            name.startswith(TEMPLATE) and name != template
        ):
            with suppress(psycopg.Error):
                connection.execute(sql.SQL("drop database {}").format(sql.Identifier(name)))
                _drop_logins(connection, name)


def _build_template(connection: psycopg.Connection, template: str) -> None:
    draft = f"{template}_build"  # killed half-way: never taken for a template
    _drop(connection, draft)
    connection.execute(sql.SQL("create database {}").format(sql.Identifier(draft)))
    before = os.environ.get("DATABASE_URL")
    use(draft)
    database.prepare_database()
    rename(connection, draft, template)
    with suppress(ConfigurationError):  # a database of an earlier version is still there
        database_roles.end_group_logins(connection, "postgres")
    os.environ.pop("DATABASE_URL") if before is None else os.environ.update(DATABASE_URL=before)
    if POOLER in os.environ:
        os.environ.pop("DATABASE_DIRECT_URL")
    settings.cache_clear()
