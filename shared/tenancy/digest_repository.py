"""SQL of digests."""

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.rows import insert_missing
from shared.identity.models import User
from shared.tenancy.models import Notification, NotificationDigest


async def add_digest(ctx: Ctx, user_id: str, due_at: datetime) -> bool:
    """False where this person has a digest of that time."""
    return await insert_missing(
        ctx, [NotificationDigest(tenant_id=ctx.tenant_id, user_id=user_id, due_at=due_at)]
    )


async def share_digest(ctx: Ctx, user_id: str, due_at: datetime) -> NotificationDigest:
    """Under a lock that whoever closes it waits for."""
    statement = (
        select(NotificationDigest)
        .where(NotificationDigest.tenant_id == ctx.tenant_id)
        .where(NotificationDigest.user_id == user_id)
        .where(NotificationDigest.due_at == due_at)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).one()


async def lock_digest(ctx: Ctx, digest_id: str) -> NotificationDigest | None:
    return await rows.lock(ctx, NotificationDigest, digest_id)


async def list_notifications(ctx: Ctx, digest: NotificationDigest, limit: int) -> Sequence[Notification]:
    """Oldest first. The time of the digest lets the index of a person's newest ones find them."""
    statement = (
        select(Notification)
        .where(Notification.tenant_id == ctx.tenant_id)
        .where(Notification.user_id == digest.user_id)
        .where(Notification.digest_id == digest.id)
        .order_by(col(Notification.created_at), col(Notification.id))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def get_time_zone(ctx: Ctx, user_id: str) -> str:
    """The IANA name that this person chose; "" for none."""
    return (await ctx.session.exec(select(User.time_zone).where(User.id == user_id))).first() or ""
