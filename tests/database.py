"""A database per test process: copied from a template that the migrations built, entered as the apps' own roles."""

import hashlib
import os
from pathlib import Path

import psycopg
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.cli import database
from shared.core import db
from shared.core.config import settings
from shared.core.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[1]
BUILD_LOCK = 4711


def revision() -> str:
    return ScriptDirectory(str(ROOT / "alembic")).get_current_head() or "none"


def admin_url(name: str = "postgres") -> str:
    """Of a superuser: the test server's own, or what DATABASE_URL names."""
    given = settings().database_url
    base = make_url(given.get_secret_value() if given else EmbeddedPostgres(settings().root / "postgres").url())
    return base.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


def name_of(worker: str) -> str:
    return f"bulkhead_test_{worker}"


def build(worker: str) -> str:
    """Makes this worker's database and points the settings at it. The first worker builds the template."""
    if settings().database_url is None:
        EmbeddedPostgres(settings().root / "postgres").start()
    template = f"bulkhead_template_{revision()}_{fingerprint()}"
    with psycopg.connect(admin_url(), autocommit=True) as connection:
        connection.execute("select pg_advisory_lock(%s)", [BUILD_LOCK])
        if not connection.execute("select 1 from pg_database where datname = %s", [template]).fetchone():
            _build_template(connection, template)
        mine = sql.Identifier(name_of(worker))
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(mine))
        connection.execute(sql.SQL("create database {} template {}").format(mine, sql.Identifier(template)))
        connection.execute("select pg_advisory_unlock(%s)", [BUILD_LOCK])
    use(name_of(worker))
    return name_of(worker)


def fingerprint() -> str:
    """A migration that is still being written changes the template's name."""
    sources = sorted((ROOT / "alembic" / "versions").glob("*.py")) + [ROOT / "shared" / "core" / "row_security.py"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:8]


def _build_template(connection: psycopg.Connection, template: str) -> None:
    draft = f"{template}_build"  # killed half-way: never taken for a template
    connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(draft)))
    connection.execute(sql.SQL("create database {}").format(sql.Identifier(draft)))
    use(draft)
    database.prepare()
    connection.execute(
        sql.SQL("alter database {} rename to {}").format(sql.Identifier(draft), sql.Identifier(template))
    )


def use(name: str) -> None:
    """From here on every role of this process, and of those it starts, logs in to that database."""
    os.environ["DATABASE_URL"] = admin_url(name)
    settings.cache_clear()
    db.url.cache_clear()
    db.engine.cache_clear()
