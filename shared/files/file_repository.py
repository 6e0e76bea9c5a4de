"""SQL of stored files."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.files.models import StoredFile

FIND_NEXT = text("select next_tenant_with_ended_files(:former)")


async def get_file(ctx: Ctx, file_id: str) -> StoredFile | None:
    return await ctx.session.get(StoredFile, (ctx.tenant_id, file_id))


async def find_next_with_ended_files(session: AsyncSession, former_tenant_id: str) -> str:
    """The id of the tenant after this one that has files or exports to delete; "" for none. In a transaction without a tenant."""
    connection = await session.connection()
    return str((await connection.execute(FIND_NEXT, {"former": former_tenant_id})).scalar_one())


async def list_ended_files(ctx: Ctx, at: datetime | None, *, limit: int) -> Sequence[str]:
    """Ids of files that have expired at this time, the oldest first; of all files for None.

    Those that were never finished are among them.
    """
    statement = select(StoredFile.id).where(StoredFile.tenant_id == ctx.tenant_id)
    if at is not None:
        statement = statement.where(col(StoredFile.expires_at) <= at)
    statement = statement.order_by(col(StoredFile.expires_at), StoredFile.id).limit(limit)
    return await rows.all(ctx, statement)


async def expire_files(ctx: Ctx, at: datetime) -> None:
    """Every file of the tenant that expires later."""
    statement = (
        update(StoredFile)
        .where(col(StoredFile.tenant_id) == ctx.tenant_id)
        .where(col(StoredFile.expires_at) > at)
        .values(expires_at=at)
    )
    await ctx.session.exec(statement)


async def delete_files(ctx: Ctx, file_ids: Sequence[str]) -> None:
    statement = (
        delete(StoredFile)
        .where(col(StoredFile.tenant_id) == ctx.tenant_id)
        .where(col(StoredFile.id).in_(file_ids))
    )
    await ctx.session.exec(statement)
