"""SQL of notifications."""

from collections.abc import Sequence

from sqlalchemy import update
from sqlmodel import col, func, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.core.paging import after_cursor, encode_cursor
from shared.core.rows import insert_missing
from shared.tenancy.models import Notification

NEWEST = (col(Notification.created_at), col(Notification.id))


async def list_notifications(
    ctx: Ctx, user_id: str, limit: int, *, after: str = ""
) -> Sequence[Notification]:
    """Those that are shown in the app, newest first. Raises Invalid for an unknown page."""
    statement = (
        select(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .where(col(Notification.in_app).is_(True))
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(notification: Notification) -> str:
    return encode_cursor(notification.created_at, notification.id)


async def get_inbox_status(ctx: Ctx, user_id: str) -> tuple[int, str]:
    """How many are unread in the app, and why this person's address gets no more mail."""
    statement = (
        select(func.count(), func.find_mail_problem(user_id))
        .select_from(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == user_id)
        .where(col(Notification.read_at).is_(None))
        .where(col(Notification.in_app).is_(True))
    )
    unread, mail_problem = (await ctx.session.exec(statement)).one()
    return unread, mail_problem


async def mark_all_read(ctx: Ctx, user_id: str) -> None:
    await ctx.session.exec(
        update(Notification)
        .where(col(Notification.tenant_id) == ctx.tenant_id)
        .where(col(Notification.user_id) == user_id)
        .where(col(Notification.read_at).is_(None))
        .values(read_at=now())
    )


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
