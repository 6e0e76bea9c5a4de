"""SQL of streams of the audit log."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, text
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.evidence.models import AuditStream, StreamState

NEXT_TO_STREAM = text("select next_tenant_to_stream(:former, :due)")


async def list_streams(ctx: Ctx) -> Sequence[AuditStream]:
    """Oldest first."""
    statement = (
        select(AuditStream)
        .where(AuditStream.tenant_id == ctx.tenant_id)
        .where(col(AuditStream.deleted_at).is_(None))
        .order_by(col(AuditStream.created_at), col(AuditStream.id))
    )
    return await rows.all(ctx, statement)


async def lock_stream(ctx: Ctx, stream_id: str) -> AuditStream | None:
    """Locked until the transaction ends. None where this tenant has no such stream any more."""
    row = await rows.lock(ctx, AuditStream, stream_id)
    return row if row is not None and row.deleted_at is None else None


async def lock_new_streams(ctx: Ctx) -> None:
    """Until the transaction ends: two people who add one at the same time do not both add the last one."""
    key = func.hashtextextended(f"audit_streams:{ctx.tenant_id}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def find_next_to_stream(session: AsyncSession, former_tenant_id: str, due: datetime) -> str:
    """The tenant after this one that has something to send; "" for none."""
    connection = await session.connection()
    values = {"former": former_tenant_id, "due": due}
    return str((await connection.execute(NEXT_TO_STREAM, values)).scalar_one())


async def lock_due_streams(ctx: Ctx, due: datetime) -> Sequence[AuditStream]:
    """Active ones that are not being sent for, locked until the transaction ends."""
    statement = (
        select(AuditStream)
        .where(AuditStream.tenant_id == ctx.tenant_id)
        .where(col(AuditStream.state) == StreamState.ACTIVE, col(AuditStream.deleted_at).is_(None))
        .where(or_(col(AuditStream.due_at).is_(None), col(AuditStream.due_at) <= due))
        .order_by(col(AuditStream.id))
        .with_for_update(key_share=True, skip_locked=True)
    )
    return await rows.all(ctx, statement)
