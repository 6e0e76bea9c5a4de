"""SQL of reports of bugs. Migration 0013 has the function."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.log import Bug

RECORD_BUGS = text("""
    select record_bugs(cast(:ids as text[]), cast(:times as timestamptz[]), cast(:requests as text[]), :process,
        cast(:problems as text[]), cast(:places as text[]))
""")


async def record_bugs(session: AsyncSession, bugs: Sequence[Bug], process: str) -> None:
    """Without a tenant. The function bounds lengths and the number of equal reports; a bug that came before is kept once."""
    values = {
        "ids": [bug.id for bug in bugs],
        "times": [bug.at for bug in bugs],
        "requests": [bug.request_id for bug in bugs],
        "process": process,
        "problems": [bug.problem for bug in bugs],
        "places": [bug.place for bug in bugs],
    }
    connection = await session.connection()
    await connection.execute(RECORD_BUGS, values)
