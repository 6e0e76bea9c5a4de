"""What every repository needs: all rows of a statement, one of them, one row under a lock, and rows added once.

A statement itself names the tenant; row security filters as well.
"""

from collections.abc import Sequence
from typing import Any, TypeVar, TypeVarTuple, overload

from sqlalchemy.dialects.postgresql import insert
from sqlmodel.sql.expression import Select, SelectOfScalar

from shared.core.context import Ctx
from shared.core.db import TenantRow

T = TypeVar("T")
Row = TypeVar("Row", bound=TenantRow)
Ts = TypeVarTuple("Ts")


@overload
async def all(ctx: Ctx, statement: Select[*Ts]) -> Sequence[tuple[*Ts]]: ...
@overload
async def all(ctx: Ctx, statement: SelectOfScalar[T]) -> Sequence[T]: ...
async def all(ctx: Ctx, statement: Any) -> Any:
    return (await ctx.session.exec(statement)).all()


@overload
async def one(ctx: Ctx, statement: Select[*Ts]) -> tuple[*Ts] | None: ...
@overload
async def one(ctx: Ctx, statement: SelectOfScalar[T]) -> T | None: ...
async def one(ctx: Ctx, statement: Any) -> Any:
    """The first row; None where there is none."""
    return (await ctx.session.exec(statement)).first()


async def lock(ctx: Ctx, table: type[Row], row_id: str) -> Row | None:
    """The tenant's row of this id, as it is now, locked until the transaction ends. None where there is none."""
    key = (ctx.tenant_id, row_id)
    return await ctx.session.get(table, key, with_for_update={"key_share": True}, populate_existing=True)


async def insert_missing(ctx: Ctx, rows: Sequence[TenantRow]) -> bool:
    """Add rows of one table except those whose keys exist, for steps that may run twice. True when any was added."""
    table: Any = rows[0].__table__  # type: ignore[attr-defined]
    values = [
        {column.name: getattr(row, column.name) for column in table.columns} | {"tenant_id": ctx.tenant_id}
        for row in rows
    ]
    connection = await ctx.session.connection()
    statement = insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)
    return (await connection.execute(statement)).first() is not None
