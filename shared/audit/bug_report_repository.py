"""SQL of reports of bugs. Migration 0013 has the function."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.ids import new_id
from shared.core.log import Bug

RECORD_BUG = text("select record_bug(:id, :request_id, :process, :problem, :place)")


async def record_bug(session: AsyncSession, bug: Bug, process: str) -> None:
    """Without a tenant. The function bounds lengths and the number of reports."""
    values = {"request_id": bug.request_id, "process": process, "problem": bug.problem, "place": bug.place}
    connection = await session.connection()
    await connection.execute(RECORD_BUG, {"id": new_id("bug"), **values})
