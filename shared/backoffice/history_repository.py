"""SQL of changes in the past: of a tenant's state, and of its members and roles."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case, func, or_
from sqlmodel import col, select
from sqlmodel.sql.expression import Select

from shared.access.roles import OWNER
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import contains_text
from shared.entitlements.models import MembershipChange, PlanVersion, RoleChange, TenantStateChange
from shared.identity.models import User
from shared.tenancy.models import Membership, MembershipState, Tenant


async def get_created_at(ctx: Ctx) -> datetime:
    tenant = await ctx.session.get(Tenant, ctx.tenant_id)
    assert tenant is not None
    return tenant.created_at


async def get_member(ctx: Ctx, user_id: str) -> tuple[Membership, User] | None:
    """A current or former member."""
    return (await ctx.session.exec(_select_members(ctx).where(User.id == user_id))).first()


async def get_owner_id(ctx: Ctx) -> str:
    """Id of the longest-standing owner, "" where there is none."""
    statement = (
        select(Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == OWNER)
        .where(Membership.state == MembershipState.ACTIVE)
        .order_by(col(Membership.created_at), col(Membership.id))
        .limit(1)
    )
    return await rows.one(ctx, statement) or ""


async def search_members(ctx: Ctx, search_text: str, limit: int) -> Sequence[tuple[Membership, User]]:
    """Current and former members, active ones first, then by name.

    `search_text`: part of a name or an email address.
    """
    name = func.lower(col(User.name))
    statement = _select_members(ctx)
    if search_text:
        statement = statement.where(
            or_(contains_text(col(User.name), search_text), contains_text(col(User.email), search_text))
        )
    inactive_last = case((col(Membership.state) == MembershipState.ACTIVE, 0), else_=1)
    return (await ctx.session.exec(statement.order_by(inactive_last, name, col(User.id)).limit(limit))).all()


async def list_user_names(ctx: Ctx, user_ids: Sequence[str]) -> dict[str, str]:
    """Names by user id, of the current and former members among them."""
    statement = (
        select(User.id, User.name)
        .join(Membership, col(Membership.user_id) == col(User.id))
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(col(User.id).in_(user_ids))
        .order_by(col(User.id))
    )
    return dict((await ctx.session.exec(statement)).all())


def _select_members(ctx: Ctx) -> Select[Membership, User]:
    statement = select(Membership, User).join(User, col(User.id) == col(Membership.user_id))
    return statement.where(Membership.tenant_id == ctx.tenant_id)


async def list_membership_changes(ctx: Ctx, user_id: str, until: datetime) -> Sequence[MembershipChange]:
    """All membership changes of a person in the tenant, oldest first."""
    statement = (
        select(MembershipChange)
        .where(MembershipChange.tenant_id == ctx.tenant_id)
        .where(MembershipChange.user_id == user_id)
        .where(col(MembershipChange.at) <= until)
        .order_by(col(MembershipChange.at), col(MembershipChange.id))
    )
    return await rows.all(ctx, statement)


async def list_state_changes(
    ctx: Ctx, since: datetime, until: datetime, limit: int
) -> Sequence[TenantStateChange]:
    """After `since`, newest first."""
    statement = (
        select(TenantStateChange)
        .where(TenantStateChange.tenant_id == ctx.tenant_id)
        .where(col(TenantStateChange.at) > since)
        .where(col(TenantStateChange.at) <= until)
        .order_by(col(TenantStateChange.at).desc(), col(TenantStateChange.id))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def list_role_changes(
    ctx: Ctx, keys: Sequence[str], since: datetime, until: datetime, limit: int
) -> Sequence[RoleChange]:
    """Changes of these roles after `since`, newest first."""
    statement = (
        select(RoleChange)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(col(RoleChange.key).in_(keys))
        .where(col(RoleChange.at) > since)
        .where(col(RoleChange.at) <= until)
        .order_by(col(RoleChange.at).desc(), col(RoleChange.id))
        .limit(limit)
    )
    return await rows.all(ctx, statement)


async def get_plan_version(ctx: Ctx, version_id: str) -> PlanVersion | None:
    """A version of the catalog, with who published it and why. Catalog rows belong to no tenant."""
    return await ctx.session.get(PlanVersion, version_id)
