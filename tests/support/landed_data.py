"""The database that commit 6f945b5 made, restored for a test."""

import gzip
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support import database

DUMP = Path(__file__).parents[1] / "data" / "made_at_6f945b5.sql.gz"
MASTER_KEYS = "1:a2V5IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZyE="  # under which its secrets are sealed
# Tables that a later migration renamed: old name to new name.
RENAMED = {
    "billing_inbox": "inbound_webhook",
    "billing_standing": "billing_snapshot",
    "decision_tally": "decision_count",
    "mail_choice": "mail_preference",
    "user_place": "user_tenant",
}


class PresentNames(dict[str, str]):
    """For `str.format_map`: `{invitation}` becomes what that table is called now."""

    def __missing__(self, table: str) -> str:
        return RENAMED.get(table, table)


def restore(name: str) -> None:
    """Into a new database of that name, at revision 0003."""
    database.empty(name)
    statements = gzip.decompress(DUMP.read_bytes())
    with psycopg.connect(database.admin_url(name)) as connection:
        connection.execute(statements)


def count_rows(name: str) -> dict[str, int]:
    """By table."""
    query = sql.SQL(" union all ")
    with psycopg.connect(database.admin_url(name)) as connection:
        tables = connection.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'alembic_version'"
        ).fetchall()
        counts = [
            sql.SQL("select {}, count(*) from {}").format(sql.Literal(table), sql.Identifier(table))
            for (table,) in tables
        ]
        return dict(connection.execute(query.join(counts)).fetchall())
