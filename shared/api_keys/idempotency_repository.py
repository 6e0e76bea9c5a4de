"""SQL of kept answers."""

from datetime import datetime

from sqlalchemy import delete, text, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.api_keys.models import IdempotencyKey
from shared.core import rows
from shared.core.context import Ctx
from shared.core.rows import insert_missing

FIND_NEXT = text("select next_tenant_with_old_answers(:former)")


async def add(ctx: Ctx, row_id: str, request_digest: str) -> bool:
    """False where the row exists. Waits for a transaction that is adding it."""
    row = IdempotencyKey(tenant_id=ctx.tenant_id, id=row_id, request_digest=request_digest)
    return await insert_missing(ctx, [row])


async def get(ctx: Ctx, row_id: str) -> IdempotencyKey:
    return await ctx.session.get_one(IdempotencyKey, (ctx.tenant_id, row_id), populate_existing=True)


async def find_next_with_old_answers(session: AsyncSession, former_tenant_id: str) -> str:
    """The id of the tenant after this one that has answers past their day; "" for none. In a transaction without a tenant."""
    connection = await session.connection()
    return str((await connection.execute(FIND_NEXT, {"former": former_tenant_id})).scalar_one())


async def delete_expired(ctx: Ctx, *, before: datetime, limit: int, row_id: str = "") -> int:
    """The one that is named, if it has expired, and the oldest ones. Returns how many.

    Rows that another request deletes are skipped.
    """
    expired = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.tenant_id == ctx.tenant_id)
        .where(IdempotencyKey.created_at < before)
        .order_by((col(IdempotencyKey.id) == row_id).desc(), col(IdempotencyKey.created_at))
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    if expired_ids := await rows.all(ctx, expired):
        key = tuple_(col(IdempotencyKey.tenant_id), col(IdempotencyKey.id))
        await ctx.session.exec(
            delete(IdempotencyKey).where(key.in_([(ctx.tenant_id, row_id) for row_id in expired_ids]))
        )
    return len(expired_ids)
