"""SQL of stored files."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, update
from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.files.models import StoredFile


async def get_file(ctx: Ctx, file_id: str) -> StoredFile | None:
    return await ctx.session.get(StoredFile, (ctx.tenant_id, file_id))


async def list_expired_files(ctx: Ctx, at: datetime, *, limit: int) -> Sequence[str]:
    """Ids of files that have expired, the oldest first. Those that were never finished are among them."""
    statement = (
        select(StoredFile.id)
        .where(StoredFile.tenant_id == ctx.tenant_id)
        .where(col(StoredFile.expires_at) <= at)
        .order_by(col(StoredFile.expires_at), StoredFile.id)
        .limit(limit)
    )
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
