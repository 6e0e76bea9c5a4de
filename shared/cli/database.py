"""Roles, database and schema: made where missing, never changed by hand."""

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from psycopg import sql
from sqlalchemy import create_engine, pool
from sqlalchemy.engine import make_url

from shared.core import db
from shared.core.config import settings
from shared.core.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
ROLES: tuple[db.Role, ...] = ("owner", "app", "operator")


def embedded() -> EmbeddedPostgres | None:
    """The server of this data directory, or None where DATABASE_URL names another."""
    return None if settings().database_url else EmbeddedPostgres(settings().root / "postgres")


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
    config.set_main_option("script_location", str(ROOT / "alembic"))
    url = make_url(db.url("owner")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        # Two starters at once: the second waits, then finds nothing to do.
        connection.exec_driver_sql("select pg_advisory_lock(7233)")
        connection.commit()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        connection.commit()
        return MigrationContext.configure(connection).get_current_revision() or "nothing"


def _admin_url(server: EmbeddedPostgres | None) -> str | None:
    """None where DATABASE_URL logs in as one of our roles: then somebody else has made them."""
    if server is not None:
        return server.url()
    given = settings().database_url
    assert given is not None
    user = make_url(given.get_secret_value()).username
    return None if user in {db.role_name(role) for role in ROLES} else given.get_secret_value()


def _make_roles(admin: str) -> None:
    with psycopg.connect(admin.replace("+psycopg", ""), autocommit=True) as connection:
        for role in ROLES:
            name, password = db.role_name(role), make_url(db.url(role)).password
            known = connection.execute("select 1 from pg_roles where rolname = %s", [name]).fetchone()
            verb = "alter" if known else "create"
            connection.execute(
                sql.SQL(
                    verb + " role {} login nosuperuser nobypassrls nocreatedb nocreaterole password {}"
                ).format(sql.Identifier(name), sql.Literal(password))
            )
        database = make_url(db.url("owner")).database or db.DATABASE
        if not connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone():
            connection.execute(sql.SQL("create database {} owner bulkhead_owner").format(sql.Identifier(database)))
        target = make_url(admin.replace("+psycopg", "")).set(database=database)
    with psycopg.connect(target.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("alter schema public owner to bulkhead_owner")
