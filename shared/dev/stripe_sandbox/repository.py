"""The file of a sandbox: every object of every account as JSON, kept over a restart."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class ObjectFile:
    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = off")  # a stand-in may lose its last second with the machine
        self._db.execute(
            "create table if not exists object"
            " (place integer primary key, account text, kind text, id text, body text, unique (account, kind, id))"
        )

    def read_objects(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """With their account's key, in the order in which they were made."""
        for key, body in self._db.execute("select account, body from object order by place"):
            yield key, json.loads(body)

    def write_objects(self, rows: Iterable[tuple[str, str, str, dict[str, Any] | None]]) -> None:
        """A body of None deletes the object."""
        with self._db:
            for key, kind, id_, body in rows:
                if body is None:
                    self._db.execute(
                        "delete from object where account = ? and kind = ? and id = ?", (key, kind, id_)
                    )
                else:
                    self._db.execute(
                        "insert into object (account, kind, id, body) values (?, ?, ?, ?)"
                        " on conflict (account, kind, id) do update set body = excluded.body",
                        (key, kind, id_, json.dumps(body)),
                    )

    def close(self) -> None:
        self._db.close()
