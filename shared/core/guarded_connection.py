"""A connection that gives up on a server that does not answer.

The server's own time limits end slow statements. They do nothing when the server hangs or its machine is gone, and the
network alone may take many minutes to notice.
"""

from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen

T = TypeVar("T")
NO_ANSWER = "the database server does not answer"


class GuardedConnection(psycopg.AsyncConnection[Any]):
    answer_timeout_s: float | None = None

    async def wait(  # psycopg's own signature
        self,
        gen: PQGen[T],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> T:
        """Wait for the server as psycopg does. After `answer_timeout_s`, close the connection.

        Raises psycopg.OperationalError then.
        """
        if timeout is not None or self.answer_timeout_s is None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.answer_timeout_s)
        except errors._WaitTimeout:
            self.pgconn.finish()  # what the server makes of the statement is unknown
            raise psycopg.OperationalError(NO_ANSWER) from None


async def connect(
    conninfo: str = "", *, answer_timeout_s: float | None = None, **options: Any
) -> GuardedConnection:
    connection = await GuardedConnection.connect(conninfo, **options)
    connection.answer_timeout_s = answer_timeout_s
    return connection
