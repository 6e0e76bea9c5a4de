"""SQL of stored files."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.paging import after_cursor, encode_cursor
from shared.files.models import FileState, StoredFile

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
    """Every file of the tenant that expires later or never."""
    statement = (
        update(StoredFile)
        .where(col(StoredFile.tenant_id) == ctx.tenant_id)
        .where(or_(col(StoredFile.expires_at).is_(None), col(StoredFile.expires_at) > at))
        .values(expires_at=at)
    )
    await ctx.session.exec(statement)


NEWEST = (col(StoredFile.created_at), col(StoredFile.id))


async def list_files(ctx: Ctx, kind: str, *, after: str, limit: int) -> Sequence[StoredFile]:
    """Of this kind, whole and not ended, newest first. Raises Invalid for an unknown page."""
    expires_at = col(StoredFile.expires_at)
    statement = (
        select(StoredFile)
        .where(StoredFile.tenant_id == ctx.tenant_id)
        .where(StoredFile.kind == kind)
        .where(col(StoredFile.state) == FileState.READY)
        .where(or_(expires_at.is_(None), expires_at > now()))
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(file: StoredFile) -> str:
    return encode_cursor(file.created_at, file.id)


async def lock_kind(ctx: Ctx, kind: str) -> None:
    """Until the transaction ends: the bytes of this kind are counted and added by one at a time."""
    key = func.hashtextextended(f"files:{ctx.tenant_id}:{kind}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def count_bytes(ctx: Ctx, kind: str) -> int:
    """Of all files of this kind that are stored, ended ones included."""
    statement = (
        select(func.coalesce(func.sum(StoredFile.size), 0))
        .where(StoredFile.tenant_id == ctx.tenant_id)
        .where(StoredFile.kind == kind)
    )
    return int((await ctx.session.exec(statement)).one())


async def delete_files(ctx: Ctx, file_ids: Sequence[str]) -> None:
    statement = (
        delete(StoredFile)
        .where(col(StoredFile.tenant_id) == ctx.tenant_id)
        .where(col(StoredFile.id).in_(file_ids))
    )
    await ctx.session.exec(statement)
