"""SQL of the export of all data of a tenant. In a transaction of the tenant."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table
from sqlalchemy import select as columns

from shared.core.context import Ctx


# `Any`: the values of a row of any table.
async def list_rows(
    ctx: Ctx, table: Table, *, hidden: Collection[str], after: str, limit: int
) -> list[dict[str, Any]]:
    """By id, without the hidden columns. `after`: the last id of the rows before."""
    shown = [column for column in table.columns if column.name not in hidden]
    statement = (
        columns(*shown)
        .where(table.c.tenant_id == ctx.tenant_id)
        .where(table.c.id > after)
        .order_by(table.c.id)
        .limit(limit)
    )
    connection = await ctx.session.connection()
    return [dict(row) for row in (await connection.execute(statement)).mappings()]
