"""Roles, database and schema: made where missing, never changed by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url

from shared.core import db
from shared.core.config import Misconfigured, settings
from shared.core.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
ROLES: tuple[db.Role, ...] = ("owner", "app", "operator")
LOCK = 7233  # of those who migrate


def embedded() -> EmbeddedPostgres | None:
    """The server of this data directory, or None where DATABASE_URL names another."""
    return None if settings().database_url else EmbeddedPostgres(settings().root / "postgres")


@contextmanager
def running() -> Iterator[None]:
    """For one command: the embedded server is there, and stops again if it was started for this."""
    server = embedded()
    if server is not None:
        server.start()
    try:
        yield
    finally:
        if server is not None and server.started:
            server.stop()


def prepare() -> str:
    """Starts the embedded server if that is the one. Returns the revision of the schema."""
    server = embedded()
    if server is not None:
        server.start()
    admin = _admin_url(server)
    if admin is not None:
        _make_roles(admin)
    return upgrade()


def upgrade(revision: str = "head") -> str:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    url = make_url(db.url("owner")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Two starters at once: the second waits, then finds nothing to do.
        connection.exec_driver_sql(f"select pg_advisory_lock({LOCK})")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
        return MigrationContext.configure(connection).get_current_revision() or "nothing"


def _admin_url(server: EmbeddedPostgres | None) -> str | None:
    """None where DATABASE_URL logs in as bulkhead_owner: then somebody else has made roles and database."""
    if server is not None:
        return server.url()
    given = settings().database_url
    assert given is not None
    url = make_url(given.get_secret_value()).set(drivername="postgresql")
    if url.username == db.role_name("owner"):
        return None
    if url.username in {db.role_name(role) for role in ROLES}:
        raise Misconfigured(
            f"DATABASE_URL logs in as {url.username}, who may not migrate. Migrate with an administrative user,"
            f" or with {db.role_name('owner')}."
        )
    return url.render_as_string(hide_password=False)


def _make_roles(admin: str) -> None:
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [LOCK])
        for role in ROLES:
            _make_role(connection, db.role_name(role), make_url(db.url(role)).password or "")
        owner = sql.Identifier(db.role_name("owner"))
        if not _one(connection, "select 1 from pg_roles where rolname = current_user and rolsuper"):
            # An administrator who is no superuser gives things only to roles they belong to.
            connection.execute(sql.SQL("grant {} to current_user").format(owner))
        database = make_url(db.url("owner")).database or db.DATABASE
        if not _one(connection, "select 1 from pg_database where datname = %s", database):
            name = sql.Identifier(database)
            connection.execute(sql.SQL("create database {} owner {}").format(name, owner))
    target = make_url(admin).set(database=database).render_as_string(hide_password=False)
    with psycopg.connect(target, autocommit=True) as connection:
        if not _one(
            connection, "select 1 where has_schema_privilege(%s, 'public', 'create')", db.role_name("owner")
        ):
            connection.execute(sql.SQL("grant create on schema public to {}").format(owner))


def _make_role(connection: psycopg.Connection[Any], name: str, password: str) -> None:
    """Always with the password that we derive, so that a changed one of the administrator heals itself."""
    known = _one(connection, "select 1 from pg_roles where rolname = %s", name)
    begin = "alter role {} login password {}" if known else "create role {} login noinherit password {}"
    connection.execute(sql.SQL(begin).format(sql.Identifier(name), sql.Literal(password)))
    if _one(connection, "select 1 from pg_roles where rolname = %s and (rolsuper or rolbypassrls)", name):
        raise Misconfigured(
            f"the role {name} may pass by row security. Take SUPERUSER and BYPASSRLS from it."
        )


def _one(connection: psycopg.Connection[Any], query: LiteralString, *values: str) -> bool:
    return connection.execute(query, values).fetchone() is not None
