"""SQL of exports."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_
from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.files.models import OPEN_STATES, ExportJob, StoredFile

OPEN_AT_MOST = timedelta(days=1)


async def get_export(ctx: Ctx, export_id: str) -> ExportJob | None:
    return await ctx.session.get(ExportJob, (ctx.tenant_id, export_id))


async def list_exports(
    ctx: Ctx, owner_id: str, *, kind: str, limit: int
) -> Sequence[tuple[ExportJob, StoredFile | None]]:
    """Of one owner and kind, the newest first, with their files."""
    statement = (
        select(ExportJob, StoredFile)
        .outerjoin(
            StoredFile,
            (col(StoredFile.tenant_id) == ExportJob.tenant_id) & (col(StoredFile.id) == ExportJob.file_id),
        )
        .where(ExportJob.tenant_id == ctx.tenant_id)
        .where(ExportJob.owner_id == owner_id)
        .where(ExportJob.kind == kind)
        .order_by(col(ExportJob.created_at).desc(), col(ExportJob.id).desc())
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def lock_open_exports(ctx: Ctx) -> None:
    """Until the transaction ends: two people who start one at the same time do not both take the last place."""
    key = func.hashtextextended(f"exports:{ctx.tenant_id}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def count_open_exports(ctx: Ctx) -> int:
    """Without those of more than a day ago, whose jobs have ended in some way."""
    statement = (
        select(func.count())
        .select_from(ExportJob)
        .where(ExportJob.tenant_id == ctx.tenant_id)
        .where(col(ExportJob.state).in_(OPEN_STATES))
        .where(col(ExportJob.created_at) > now() - OPEN_AT_MOST)
    )
    return (await ctx.session.exec(statement)).one()


async def delete_exports(ctx: Ctx, file_ids: Sequence[str], *, finished_before: datetime) -> None:
    """Those of these files, and those without a file that ended before that time."""
    statement = (
        delete(ExportJob)
        .where(col(ExportJob.tenant_id) == ctx.tenant_id)
        .where(
            or_(
                col(ExportJob.file_id).in_(file_ids),
                col(ExportJob.file_id).is_(None) & (col(ExportJob.finished_at) < finished_before),
            )
        )
    )
    await ctx.session.exec(statement)
