"""SQL of notifications."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, func, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.core.rows import insert_missing
from shared.tenancy.models import (
    Notification,
)


async def list_notifications(ctx: Ctx, user_id: str, limit: int) -> Sequence[Notification]:
    statement = (
        select(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .order_by(col(Notification.created_at).desc(), col(Notification.id).desc())
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def count_unread(ctx: Ctx, user_id: str) -> int:
    statement = (
        select(func.count())
        .select_from(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .where(col(Notification.read_at).is_(None))
    )
    return (await ctx.session.exec(statement)).one()


async def mark_read(ctx: Ctx, user_id: str, notification_id: str) -> bool:
    result = await ctx.session.exec(
        update(Notification)
        .where(col(Notification.tenant_id) == ctx.tenant_id)
        .where(col(Notification.user_id) == user_id)
        .where(col(Notification.id) == notification_id)
        .values(read_at=func.coalesce(col(Notification.read_at), now()))
    )
    return result.rowcount == 1


async def add_notification(ctx: Ctx, row: Notification) -> bool:
    row.id = row.id or new_id("ntf")
    return await insert_missing(ctx, [row])


async def get_notification(ctx: Ctx, notification_id: str) -> Notification | None:
    return await ctx.session.get(Notification, (ctx.tenant_id, notification_id))
