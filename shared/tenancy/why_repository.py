"""SQL of the past: who somebody was in a tenant at a time, how the tenant stood, how much was in use."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, func, or_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select

from shared.core.ctx import Ctx
from shared.entitlements.models import MembershipChange, RoleChange, TenantStateChange
from shared.identity.models import User
from shared.tenancy.models import Invitation, Membership, MembershipState, Tenant


async def get_membership(ctx: Ctx, user_id: str, at: datetime) -> MembershipChange | None:
    statement = (
        select(MembershipChange)
        .where(MembershipChange.tenant_id == ctx.tenant_id)
        .where(MembershipChange.user_id == user_id)
        .where(col(MembershipChange.at) <= at)
        .order_by(col(MembershipChange.at).desc(), col(MembershipChange.id))
        .limit(1)
    )
    return (await ctx.session.exec(statement)).first()


async def get_role(ctx: Ctx, key: str, at: datetime) -> RoleChange | None:
    statement = (
        select(RoleChange)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(RoleChange.key == key)
        .where(col(RoleChange.at) <= at)
        .order_by(col(RoleChange.at).desc(), col(RoleChange.id))
        .limit(1)
    )
    return (await ctx.session.exec(statement)).first()


async def get_state(ctx: Ctx, at: datetime) -> TenantStateChange | None:
    statement = (
        select(TenantStateChange)
        .where(TenantStateChange.tenant_id == ctx.tenant_id)
        .where(col(TenantStateChange.at) <= at)
        .order_by(col(TenantStateChange.at).desc(), col(TenantStateChange.id))
        .limit(1)
    )
    return (await ctx.session.exec(statement)).first()


async def get_founded(ctx: Ctx) -> datetime:
    found = await ctx.session.get(Tenant, ctx.tenant_id)
    assert found is not None
    return found.created_at


async def list_people(ctx: Ctx) -> Sequence[tuple[Membership, User]]:
    """Everybody who belongs or belonged to the tenant, by name."""
    statement = (
        select(Membership, User)
        .join(User, col(User.id) == col(Membership.user_id))
        .where(Membership.tenant_id == ctx.tenant_id)
        .order_by(func.lower(User.name), User.id)
    )
    return (await ctx.session.exec(statement)).all()


async def count_seats(ctx: Ctx, at: datetime) -> int:
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


async def count_roles(ctx: Ctx, at: datetime) -> int:
    """Custom ones, as they were then."""
    latest = (
        select(RoleChange.deleted, RoleChange.key)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(col(RoleChange.at) <= at)
        .ext(distinct_on(col(RoleChange.key)))
        .order_by(col(RoleChange.key), col(RoleChange.at).desc())
        .subquery()
    )
    own = and_(latest.c.deleted.is_(False), latest.c.key.like("rol\\_%"))
    statement = select(func.count()).select_from(latest).where(own)
    return (await ctx.session.exec(statement)).one()
