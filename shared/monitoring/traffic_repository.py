"""SQL of the traffic of each minute. Migration 0039 has the function."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.traffic import Minute

RECORD_TRAFFIC = text("""
    select record_traffic(cast(:minutes as timestamptz[]), cast(:dimensions as text[]), cast(:names as text[]),
        cast(:requests as bigint[]), cast(:errors as bigint[]), cast(:times as bigint[]), cast(:latencies as text[]))
""")


async def record_minutes(session: AsyncSession, minutes: Mapping[int, Minute]) -> None:
    """Adds to what other processes have counted. `minutes`: by minutes since 1970. Rows of an old minute are left out."""
    rows = [
        (datetime.fromtimestamp(number * 60, UTC), dimension.value, value, tally)
        for number, minute in sorted(minutes.items())
        for (dimension, value), tally in sorted(minute.items())
    ]
    values = {
        "minutes": [row[0] for row in rows],
        "dimensions": [row[1] for row in rows],
        "names": [row[2] for row in rows],
        "requests": [row[3].requests for row in rows],
        "errors": [row[3].errors for row in rows],
        "times": [row[3].total_ms for row in rows],
        "latencies": ["{" + ",".join(map(str, row[3].latency)) + "}" for row in rows],
    }
    connection = await session.connection()
    await connection.execute(RECORD_TRAFFIC, values)
