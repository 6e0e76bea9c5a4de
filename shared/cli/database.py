"""Roles, database and schema: made where missing, never changed by hand."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.engine import make_url

from shared import modules
from shared.cli import up_lock
from shared.cli.schema_fingerprint import require_published
from shared.core import db
from shared.core.config import ConfigurationError, settings
from shared.dev.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
ROLES: tuple[db.DatabaseRole, ...] = ("owner", "app", "operator")
MIGRATION_LOCK = 7233  # of those who migrate
UP_RESTART_SECONDS = 60.0  # `up` starts an ended server again within this time
MAINTENANCE_DATABASE = "postgres"  # every server has it


def use_embedded_server() -> None:
    """Make the embedded server of the data directory the database of this process and of those it starts.

    Does nothing where DATABASE_URL names a server, and in production.
    """
    if settings().database_url is None and not settings().is_production:
        os.environ["DATABASE_URL"] = _embedded_url()
        settings.cache_clear()
        db.login_url.cache_clear()


def embedded_server() -> EmbeddedPostgres | None:
    """The server of this data directory, or None where DATABASE_URL names another."""
    database_url = settings().database_url
    if database_url is not None and database_url.get_secret_value() == _embedded_url():
        return EmbeddedPostgres(_embedded_root())
    return None


def _embedded_root() -> Path:
    return settings().absolute_data_dir / "postgres"


def _embedded_url() -> str:
    return EmbeddedPostgres(_embedded_root()).url(database=db.DATABASE)


@contextmanager
def running_server() -> Iterator[None]:
    """For one command: the embedded server is there, and stops again if it was started for this.

    Raises ConfigurationError when the server of a running `bulkhead up` does not answer: only `up` starts it.
    """
    modules.load()
    server = embedded_server()
    if server is not None and up_lock.is_held(settings().absolute_data_dir):
        if not server.wait_until_ready(UP_RESTART_SECONDS):
            raise ConfigurationError(
                "the database of the running `bulkhead up` does not answer. The output of `bulkhead up` says why."
            )
    elif server is not None:
        server.start()
    try:
        yield
    finally:
        if server is not None and server.started:
            server.stop()


def prepare_database() -> str:
    """Starts the embedded server if that is the one. Returns the revision of the schema."""
    server = embedded_server()
    if server is not None:
        server.start()
    admin = _admin_url()
    if admin is not None:
        _make_roles(admin)
    return upgrade_schema()


def upgrade_schema(revision: str = "head") -> str:
    """Returns the revision of the schema. Raises ConfigurationError for data of an unpublished migration."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    url = make_url(db.login_url("owner")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Two starters at once: the second waits, then finds nothing to do.
        connection.exec_driver_sql(f"select pg_advisory_lock({MIGRATION_LOCK})")
        connection.commit()
        require_published(connection, _revision(connection))
        connection.commit()  # or Alembic would run all migrations in this transaction
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
        return _revision(connection) or "nothing"


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _admin_url() -> str | None:
    """None where DATABASE_URL logs in as bulkhead_owner: then roles and database already exist."""
    if (server := embedded_server()) is not None:
        return server.url()  # its database is still to be made
    database_url = settings().database_url
    assert database_url is not None
    url = make_url(database_url.get_secret_value()).set(drivername="postgresql")
    if url.username == db.role_name("owner"):
        return None
    if url.username in {db.role_name(role) for role in ROLES}:
        raise ConfigurationError(
            f"DATABASE_URL logs in as {url.username}, who can't migrate. Migrate with an administrative user,"
            f" or with {db.role_name('owner')}."
        )
    return url.render_as_string(hide_password=False)


def is_missing_database(text: str) -> bool:
    """Whether the driver says that the server has no database of that name: a failed connection has no SQLSTATE."""
    return "does not exist" in text and 'database "' in text


def _connect_to_make(admin: str) -> psycopg.Connection[Any]:
    """To the database, or to the server's own where ours is still to be made."""
    try:
        return psycopg.connect(admin, autocommit=True)
    except psycopg.OperationalError as problem:
        if not is_missing_database(str(problem)):
            raise
    url = make_url(admin).set(database=MAINTENANCE_DATABASE)
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _make_roles(admin: str) -> None:
    with _connect_to_make(admin) as connection:
        connection.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        for role in ROLES:
            _make_role(connection, db.role_name(role), make_url(db.login_url(role)).password or "")
        owner_identifier = sql.Identifier(db.role_name("owner"))
        if not _has_row(connection, "select 1 from pg_roles where rolname = current_user and rolsuper"):
            # An administrator who is no superuser gives things only to roles they belong to.
            connection.execute(sql.SQL("grant {} to current_user").format(owner_identifier))
        database = make_url(db.login_url("owner")).database or db.DATABASE
        if not _has_row(connection, "select 1 from pg_database where datname = %s", database):
            database_identifier = sql.Identifier(database)
            connection.execute(
                sql.SQL("create database {} owner {}").format(database_identifier, owner_identifier)
            )
    target = make_url(admin).set(database=database).render_as_string(hide_password=False)
    with psycopg.connect(target, autocommit=True) as connection:
        if not _has_row(
            connection, "select 1 where has_schema_privilege(%s, 'public', 'create')", db.role_name("owner")
        ):
            connection.execute(sql.SQL("grant create on schema public to {}").format(owner_identifier))


def _make_role(connection: psycopg.Connection[Any], name: str, password: str) -> None:
    """Always with the password that we derive, so that a changed one of the administrator heals itself."""
    role_exists = _has_row(connection, "select 1 from pg_roles where rolname = %s", name)
    statement = (
        "alter role {} login password {}" if role_exists else "create role {} login noinherit password {}"
    )
    connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(password)))
    if _has_row(connection, "select 1 from pg_roles where rolname = %s and (rolsuper or rolbypassrls)", name):
        raise ConfigurationError(
            f"the role {name} can bypass row security. Remove SUPERUSER and BYPASSRLS from it."
        )


def _has_row(connection: psycopg.Connection[Any], query: LiteralString, *values: str) -> bool:
    return connection.execute(query, values).fetchone() is not None
