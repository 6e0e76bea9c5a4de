"""Counts how often this process waits for the database, by what libpq sends: BEGIN and COMMIT count as well."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryFile
from typing import IO, Any
from unittest.mock import patch

from shared.core import db, guarded_connection

MESSAGE = re.compile(
    r"^F\t\d+\t(Query|Parse|Bind|Execute)\t(.*?)(?=^[FB]\t\d+\t|\Z)", re.MULTILINE | re.DOTALL
)
QUERY = re.compile(r' "(.*)"', re.DOTALL)
PREPARED = re.compile(r' "(\w*)" "(.*)" \d', re.DOTALL)  # Parse: name and text
BOUND = re.compile(r' "\w*" "(\w*)"')
WITHOUT_TIME = 1  # PQTRACE_SUPPRESS_TIMESTAMPS
opened_connection = guarded_connection.connect


class RoundTrips:
    """The statements of new connections since `start`. A statement that is prepared first counts once."""

    def __init__(self) -> None:
        self._traces: list[IO[bytes]] = []
        self._offsets: list[int] = []

    async def connect(self, *arguments: Any, **options: Any) -> Any:
        connection = await opened_connection(*arguments, **options)
        trace = TemporaryFile()  # noqa: SIM115  closed with the others
        self._traces.append(trace)
        self._offsets.append(0)
        connection.pgconn.trace(trace.fileno())
        connection.pgconn.set_trace_flags(WITHOUT_TIME)
        return connection

    def start(self) -> None:
        self._offsets = [trace.seek(0, 2) for trace in self._traces]

    def list_statements(self) -> list[str]:
        """In order within each connection."""
        return [statement for index in range(len(self._traces)) for statement in self._read(index)]

    def _read(self, index: int) -> list[str]:
        trace = self._traces[index]
        trace.seek(0)
        before = trace.read(self._offsets[index]).decode(errors="replace")
        text_by_name: dict[str, str] = {}
        _parse_statements(before, text_by_name)
        return _parse_statements(trace.read().decode(errors="replace"), text_by_name)

    def close(self) -> None:
        for trace in self._traces:
            trace.close()


def _parse_statements(trace: str, text_by_name: dict[str, str]) -> list[str]:
    """`text_by_name`: of prepared statements, in and out."""
    statements, current = [], ""
    for kind, message in MESSAGE.findall(trace):
        if kind == "Query":
            statements += QUERY.findall(message)
        elif kind == "Parse":
            text_by_name.update(PREPARED.findall(message))
        elif kind == "Bind":
            current = text_by_name[BOUND.findall(message)[0]]
        else:
            statements.append(current)
    return statements


@asynccontextmanager
async def recorded_round_trips() -> AsyncIterator[RoundTrips]:
    """From here on, this process opens new connections, which are watched."""
    await db.dispose()
    recorded = RoundTrips()
    with patch.object(guarded_connection, "connect", recorded.connect):
        try:
            yield recorded
        finally:
            await db.dispose()
            recorded.close()
