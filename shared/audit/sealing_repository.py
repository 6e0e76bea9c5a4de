"""SQL of sealing. Migration 0009 has the functions."""

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

SEAL_TENANT, SEAL_ALL = (
    text("select seal_audit_log(:max_events)"),
    text("select seal_audit_logs(:max_events)"),
)


async def seal_tenant(session: AsyncSession, max_events: int) -> int:
    """Of the tenant of the transaction."""
    connection = await session.connection()
    return int((await connection.execute(SEAL_TENANT, {"max_events": max_events})).scalar_one())


async def seal_all(session: AsyncSession, max_events: int) -> bool:
    connection = await session.connection()
    return bool((await connection.execute(SEAL_ALL, {"max_events": max_events})).scalar_one())
