"""SQL of the export of all data of a tenant. In a transaction of the tenant."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table
from sqlalchemy import select as columns
from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.files.models import OPEN_STATES, ExportJob, StoredFile


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


async def find_open_export(ctx: Ctx, kind: str) -> ExportJob | None:
    """One of this kind that waits or runs, whoever asked for it."""
    statement = (
        select(ExportJob)
        .where(ExportJob.tenant_id == ctx.tenant_id)
        .where(ExportJob.kind == kind)
        .where(col(ExportJob.state).in_(OPEN_STATES))
        .order_by(ExportJob.id)
        .limit(1)
    )
    return await rows.one(ctx, statement)


async def get_file(ctx: Ctx, file_id: str) -> StoredFile | None:
    return await ctx.session.get(StoredFile, (ctx.tenant_id, file_id))
