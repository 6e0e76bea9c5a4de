"""SQL of loads, throttles and quotas that every process runs."""

import json
from collections.abc import Mapping

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.tenant_limits import Throttle
from shared.core.tenant_load import TenantLoad

RECORD_LOADS = text("select record_tenant_load(cast(:loads as jsonb))")
SET_STATEMENT_TIMEOUT = text("select set_config('statement_timeout', :milliseconds, true)")
LIST_THROTTLES = text("select tenant_id, percent, reason, expires_at from list_throttles()")


async def record_loads(session: AsyncSession, loads: Mapping[str, TenantLoad]) -> None:
    """Of all tenants, in one statement."""
    rows = [
        {
            "tenant_id": tenant_id,
            "requests": load.requests,
            "events": load.events,
            "jobs": load.jobs,
            "refused": load.refused,
            "database_seconds": load.database_seconds,
        }
        for tenant_id, load in loads.items()
    ]
    connection = await session.connection()
    await connection.execute(RECORD_LOADS, {"loads": json.dumps(rows)})


async def set_statement_timeout(session: AsyncSession, milliseconds: int) -> None:
    """To the end of the transaction."""
    connection = await session.connection()
    await connection.execute(SET_STATEMENT_TIMEOUT, {"milliseconds": str(milliseconds)})


async def list_throttles(session: AsyncSession) -> dict[str, Throttle]:
    """Those in force, by tenant."""
    connection = await session.connection()
    return {
        row[0]: Throttle(row[1], row[2], row[3]) for row in (await connection.execute(LIST_THROTTLES)).all()
    }
