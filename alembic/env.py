"""Migrations run as bulkhead_owner, over the connection that `shared.cli.database` hands in."""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script
from sqlalchemy import create_engine, pool

from shared.core import db

FROZEN = {
    "shared.core.row_security": "row_security.py",
    "procrastinate.schema": "procrastinate_schema.py",
}


def main() -> None:
    with frozen_imports():
        context.script.get_heads()  # loads the files of all migrations
    given = context.config.attributes.get("connection")
    if given is not None:
        context.configure(
            connection=given, transaction_per_migration=True, on_version_apply=record_compatibility
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    url = db.login_url("owner").replace("postgresql://", "postgresql+psycopg://", 1)
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        connection.exec_driver_sql("set role bulkhead_owner")
        connection.commit()
        context.configure(
            connection=connection, transaction_per_migration=True, on_version_apply=record_compatibility
        )
        with context.begin_transaction():
            context.run_migrations()


def record_compatibility(*, ctx: MigrationContext, step: MigrationInfo, **_: Any) -> None:
    """Write down, with the migration, the oldest revision whose code works with the schema that it leaves.

    Code that does not know a migration asks for this at `/readyz`. Migrations since 0005 say it as `works_with`.
    """
    connection = ctx.connection
    assert connection is not None
    revision = step.up_revision
    works_with = getattr(revision.module, "works_with", None) if isinstance(revision, Script) else None
    if not works_with or not sa.inspect(connection).has_table("schema_version"):
        return
    if step.is_upgrade:
        insert = sa.text("insert into schema_version (revision, works_with) values (:revision, :works_with)")
        connection.execute(insert, {"revision": revision.revision, "works_with": works_with})
    else:
        delete = sa.text("delete from schema_version where revision = :revision")
        connection.execute(delete, {"revision": revision.revision})


@contextmanager
def frozen_imports() -> Iterator[None]:
    """Within the block, the modules that migrations 0001 to 0003 import are the copies in alembic/frozen.

    Those files may not be edited, and they import live code: a change to it would change what they execute.
    """
    live_modules = {name: sys.modules.get(name) for name in FROZEN}
    sys.modules.update({name: _load_frozen(name, file) for name, file in FROZEN.items()})
    try:
        yield
    finally:
        for name, module in live_modules.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _load_frozen(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "frozen" / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


main()
