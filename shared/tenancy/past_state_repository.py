"""SQL of past states: a person's role and a tenant's state at a time."""

from datetime import datetime

from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.entitlements.models import MembershipChange, RoleChange, TenantStateChange


async def get_membership_at(ctx: Ctx, user_id: str, at: datetime) -> MembershipChange | None:
    statement = (
        select(MembershipChange)
        .where(MembershipChange.tenant_id == ctx.tenant_id)
        .where(MembershipChange.user_id == user_id)
        .where(col(MembershipChange.at) <= at)
        .order_by(col(MembershipChange.at).desc(), col(MembershipChange.id))
        .limit(1)
    )
    return await rows.one(ctx, statement)


async def get_role_at(ctx: Ctx, key: str, at: datetime) -> RoleChange | None:
    statement = (
        select(RoleChange)
        .where(RoleChange.tenant_id == ctx.tenant_id)
        .where(RoleChange.key == key)
        .where(col(RoleChange.at) <= at)
        .order_by(col(RoleChange.at).desc(), col(RoleChange.id))
        .limit(1)
    )
    return await rows.one(ctx, statement)


async def get_state_at(ctx: Ctx, at: datetime) -> TenantStateChange | None:
    statement = (
        select(TenantStateChange)
        .where(TenantStateChange.tenant_id == ctx.tenant_id)
        .where(col(TenantStateChange.at) <= at)
        .order_by(col(TenantStateChange.at).desc(), col(TenantStateChange.id))
        .limit(1)
    )
    return await rows.one(ctx, statement)
