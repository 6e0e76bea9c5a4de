"""SQL of invitations."""

from collections.abc import Collection, Sequence

from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.paging import after_cursor, encode_cursor
from shared.identity.models import User
from shared.tenancy.models import (
    Invitation,
    InvitationStatus,
)

NEWEST = (col(Invitation.created_at), col(Invitation.id))


async def list_pending_invitations(ctx: Ctx) -> Sequence[Invitation]:
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .order_by(col(Invitation.created_at), col(Invitation.id))
    )
    return await rows.all(ctx, statement)


async def list_newest(ctx: Ctx, *, after: str, limit: int) -> Sequence[Invitation]:
    """Pending ones, newest first. Raises Invalid for an unknown page."""
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


def get_cursor(invitation: Invitation) -> str:
    return encode_cursor(invitation.created_at, invitation.id)


async def lock_pending_invitations_to(ctx: Ctx, user_ids: Collection[str]) -> Sequence[Invitation]:
    """Those to the addresses of these people, expired ones included."""
    statement = (
        select(Invitation)
        .join(User, col(User.email) == col(Invitation.email))
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(User.id).in_(user_ids))
        .order_by(col(Invitation.id))
        .with_for_update(of=Invitation, key_share=True)
    )
    return await rows.all(ctx, statement)


async def lock_pending_invitations_by(ctx: Ctx, user_ids: Collection[str]) -> Sequence[Invitation]:
    """Those that these people have sent."""
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.invited_by).in_(user_ids))
        .order_by(col(Invitation.id))
        .with_for_update(key_share=True)
    )
    return await rows.all(ctx, statement)


async def get_invitation(ctx: Ctx, invitation_id: str) -> Invitation | None:
    return await ctx.session.get(Invitation, (ctx.tenant_id, invitation_id))


async def lock_invitation(ctx: Ctx, invitation_id: str) -> Invitation | None:
    return await rows.lock(ctx, Invitation, invitation_id)


async def lock_expired_invitation(ctx: Ctx, email: str) -> Invitation | None:
    """The expired pending invitation of this address. It holds no seat and is replaced by a new one."""
    statement = (
        select(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.email == email)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) <= now())
        .with_for_update(key_share=True)
    )
    return await rows.one(ctx, statement)
