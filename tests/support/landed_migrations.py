"""What landed migrations are: digests of their files, of the SQL that they execute, and of the schema they leave.

`python -m tests.support.landed_migrations` adds a migration that lands to alembic/landed.json. Entries that are there
stay as they are.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from procrastinate.schema import SchemaManager
from sqlalchemy.engine import make_url

from shared.core.schema_fingerprint import LANDED, describe_schema
from tests.support import database

MIGRATIONS = LANDED.parent
# How statements begin that Alembic itself executes around those of a migration.
BOOKKEEPING = (
    *("CREATE TABLE alembic_version", "INSERT INTO alembic_version", "UPDATE alembic_version"),
    *("insert into schema_version", "delete from schema_version", "SELECT pg_catalog.pg_class.relname"),
    *("SELECT alembic_version.version_num", "SELECT pg_catalog.pg_class.relname"),
)


@dataclass(frozen=True, kw_only=True)
class Migration:
    file: str  # SHA-256 of the file
    sql: str  # of the statements that it executes
    schema: dict[str, str]  # digest by object, once it has run


def read_landed() -> dict[str, Any]:
    return json.loads(LANDED.read_text())


def digest(content: bytes | str) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def digest_frozen_files() -> dict[str, str]:
    files = [file for file in sorted((MIGRATIONS / "frozen").iterdir()) if file.suffix in (".py", ".sql")]
    return {file.name: digest(file.read_bytes()) for file in files}


def digest_queue_schema() -> str:
    """Of the procrastinate that is installed."""
    return digest(SchemaManager.get_schema())


def list_scripts() -> list[Script]:
    """Oldest first."""
    return [*ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]


def describe_migrations(name: str) -> dict[str, Migration]:
    """By revision. Runs every migration, through alembic/env.py, in the empty database of that name."""
    migrations = {}
    with connect_as_owner(name) as connection:
        for script in list_scripts():
            with statements(connection) as executed:
                upgrade(connection, script.revision)
            migrations[script.revision] = Migration(
                file=digest(Path(script.path).read_bytes()),
                sql=digest("\n;\n".join(executed)),
                schema=describe_schema(connection),
            )
    return migrations


def upgrade(connection: sa.Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    connection.commit()


@contextmanager
def connect_as_owner(name: str) -> Iterator[sa.Connection]:
    """As bulkhead_owner, who runs the migrations."""
    url = make_url(database.admin_url(name)).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "grant create on schema public to bulkhead_owner"
        )  # PostgreSQL 15 needs it
        connection.exec_driver_sql("set role bulkhead_owner")
        connection.commit()
        yield connection
    engine.dispose()


@contextmanager
def statements(connection: sa.Connection) -> Iterator[list[str]]:
    """Fills with what migrations execute on the connection within the block."""
    executed: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.strip().startswith(BOOKKEEPING):
            executed.append(statement)

    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        yield executed
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)


def record(name: str, say: Callable[[str], object] = print) -> None:
    """Adds what has landed since to alembic/landed.json, from the empty database of that name."""
    landed = read_landed()
    for revision, migration in describe_migrations(name).items():
        if revision not in landed["migrations"]:
            landed["migrations"][revision] = asdict(migration)
            say(f"Migration {revision} has landed: it is never edited from now on.")
    landed["frozen"] = digest_frozen_files() | landed["frozen"]
    landed["queue_schema"] = digest_queue_schema()
    LANDED.write_text(json.dumps(landed, indent=1) + "\n")


def main() -> None:
    os.environ.setdefault("BULKHEAD_DATA_DIR", str(database.ROOT / ".bulkhead" / "test"))
    name = f"{database.MINE}{os.getpid()}_landed"
    database.build(f"{database.MINE}{os.getpid()}")  # starts the server, makes the roles
    database.empty(name)
    try:
        record(name)
    finally:
        database.drop(name)
        database.drop(f"{database.MINE}{os.getpid()}")


if __name__ == "__main__":
    main()
