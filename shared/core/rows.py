"""Statements that every repository needs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects.postgresql import insert

from shared.core.context import Ctx


async def insert_missing(ctx: Ctx, rows: Sequence[Any]) -> bool:
    """Adds rows of one table unless ones with their keys are there: for steps that may run twice. True when any was
    added."""
    table = rows[0].__table__
    values = [
        {column.name: getattr(row, column.name) for column in table.columns} | {"tenant_id": ctx.tenant_id}
        for row in rows
    ]
    connection = await ctx.session.connection()
    statement = insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)
    return (await connection.execute(statement)).first() is not None
