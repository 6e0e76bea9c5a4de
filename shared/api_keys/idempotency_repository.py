"""SQL of kept answers."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, text, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.api_keys.models import IdempotencyKey
from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now

RETENTION = timedelta(hours=24)
# As text: building it for each request would cost more than running it.
ADD = text("""
    insert into idempotency_key as k (tenant_id, id, request_digest, created_at) values (:tenant_id, :id, :digest, :at)
    on conflict (tenant_id, id) do update set request_digest = excluded.request_digest, status = null,
        headers = excluded.headers, body = null, created_at = excluded.created_at
    where k.created_at < :expired_before returning k.id
""")
SET_ANSWER = text("""
    update idempotency_key set status = :status, headers = cast(:headers as jsonb), body = :body
    where tenant_id = :tenant_id and id = :id
""")
FIND_NEXT = text("select next_tenant_with_old_answers(:former)")


async def add(ctx: Ctx, row_id: str, request_digest: str) -> bool:
    """False where the row exists, unless it has expired: then it is begun again. Waits for a transaction that is adding it."""
    at, connection = now(), await ctx.session.connection()
    values = {
        "tenant_id": ctx.tenant_id,
        "id": row_id,
        "digest": request_digest,
        "at": at,
        "expired_before": at - RETENTION,
    }
    return (await connection.execute(ADD, values)).first() is not None


async def get(ctx: Ctx, row_id: str) -> IdempotencyKey:
    return await ctx.session.get_one(IdempotencyKey, (ctx.tenant_id, row_id))


async def set_answer(ctx: Ctx, row_id: str, *, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Of a row that this transaction has added."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "id": row_id, "status": status, "body": body}
    await connection.execute(SET_ANSWER, values | {"headers": json.dumps(dict(headers))})


async def find_next_with_old_answers(session: AsyncSession, former_tenant_id: str) -> str:
    """The id of the tenant after this one that has answers past their day; "" for none. In a transaction without a tenant."""
    connection = await session.connection()
    return str((await connection.execute(FIND_NEXT, {"former": former_tenant_id})).scalar_one())


async def delete_expired(ctx: Ctx, *, before: datetime, limit: int) -> int:
    """The oldest ones. Returns how many. Rows that another transaction works on are skipped."""
    expired = (
        select(IdempotencyKey.id)
        .where(IdempotencyKey.tenant_id == ctx.tenant_id)
        .where(IdempotencyKey.created_at < before)
        .order_by(col(IdempotencyKey.created_at))
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    if expired_ids := await rows.all(ctx, expired):
        key = tuple_(col(IdempotencyKey.tenant_id), col(IdempotencyKey.id))
        await ctx.session.exec(
            delete(IdempotencyKey).where(key.in_([(ctx.tenant_id, row_id) for row_id in expired_ids]))
        )
    return len(expired_ids)
