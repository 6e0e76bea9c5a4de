"""SQL of the use of limits: seats and custom roles at a past time, and of all tenants."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, or_, union
from sqlalchemy import select as columns
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import rows
from shared.core.context import Ctx
from shared.entitlements.models import MembershipChange, RoleChange
from shared.identity.models import User
from shared.tenancy.models import (
    Invitation,
    InvitationStatus,
    Membership,
    MembershipState,
    RoleRow,
    ServiceAccount,
)


async def count_seats_at(ctx: Ctx, at: datetime) -> int:
    """Active members and open invitations, as they were then."""
    latest = (
        select(MembershipChange.state)
        .where(MembershipChange.tenant_id == ctx.tenant_id)
        .where(col(MembershipChange.at) <= at)
        .ext(distinct_on(col(MembershipChange.user_id)))
        .order_by(col(MembershipChange.user_id), col(MembershipChange.at).desc())
        .subquery()
    )
    active = select(func.count()).select_from(latest).where(latest.c.state == MembershipState.ACTIVE)
    invited = (
        select(func.count())
        .select_from(Invitation)
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(col(Invitation.created_at) <= at)
        .where(col(Invitation.expires_at) > at)
        .where(or_(col(Invitation.ended_at).is_(None), col(Invitation.ended_at) > at))
    )
    return (await ctx.session.exec(active)).one() + (await ctx.session.exec(invited)).one()


async def count_accounts_at(ctx: Ctx, at: datetime) -> int:
    """Service accounts, as they were then."""
    statement = (
        select(func.count())
        .select_from(ServiceAccount)
        .where(ServiceAccount.tenant_id == ctx.tenant_id)
        .where(col(ServiceAccount.created_at) <= at)
        .where(or_(col(ServiceAccount.ended_at).is_(None), col(ServiceAccount.ended_at) > at))
    )
    return (await ctx.session.exec(statement)).one()


async def count_custom_roles_at(ctx: Ctx, at: datetime) -> int:
    """Roles of the tenant's own, as they were then."""
    latest = (
        select(RoleChange.deleted, RoleChange.key)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(col(RoleChange.at) <= at)
        .ext(distinct_on(col(RoleChange.key)))
        .order_by(col(RoleChange.key), col(RoleChange.at).desc())
        .subquery()
    )
    is_custom = and_(latest.c.deleted.is_(False), latest.c.key.like("rol\\_%"))
    statement = select(func.count()).select_from(latest).where(is_custom)
    return (await ctx.session.exec(statement)).one()


async def list_custom_role_changes(
    ctx: Ctx, since: datetime, until: datetime, limit: int
) -> Sequence[RoleChange]:
    """After `since`, up to and including `until`, newest first."""
    statement = (
        select(RoleChange)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(col(RoleChange.key).like("rol\\_%"))
        .where(col(RoleChange.at) > since)
        .where(col(RoleChange.at) <= until)
        .order_by(col(RoleChange.at).desc(), col(RoleChange.id))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def count_seats_of_all(session: AsyncSession, at: datetime) -> dict[str, int]:
    """By tenant: active members, and pending invitations that have not expired, each address once."""
    members = (
        columns(col(Membership.tenant_id), col(User.email))
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(Membership.state) == MembershipState.ACTIVE)
    )
    invited = (
        columns(col(Invitation.tenant_id), col(Invitation.email))
        .where(col(Invitation.status) == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) > at)
    )
    seats = union(members, invited).subquery()
    seat = seats.c.tenant_id
    statement = columns(seat, func.count()).group_by(seat).order_by(seat)
    records = await (await session.connection()).execute(statement)
    return {row[0]: row[1] for row in records}


async def count_custom_roles_of_all(session: AsyncSession) -> dict[str, int]:
    """By tenant: roles of its own."""
    statement = (
        columns(col(RoleRow.tenant_id), func.count())
        .where(col(RoleRow.builtin).is_(False))
        .where(col(RoleRow.deleted_at).is_(None))
        .group_by(col(RoleRow.tenant_id))
        .order_by(col(RoleRow.tenant_id))
    )
    records = await (await session.connection()).execute(statement)
    return {row[0]: row[1] for row in records}
