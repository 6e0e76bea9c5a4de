"""SQL of roles and of the members and invitations with a role."""

from collections.abc import Sequence

from sqlalchemy import and_
from sqlmodel import col, func, select

from shared.access.roles import ROLES
from shared.core import rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import is_id
from shared.tenancy.models import (
    Invitation,
    InvitationStatus,
    Membership,
    MembershipState,
    RoleRow,
    ServiceAccount,
)


async def add_builtin_roles(ctx: Ctx) -> None:
    builtin_roles = [
        RoleRow(tenant_id=ctx.tenant_id, key=role.key, name=role.name) for role in ROLES.values()
    ]
    await rows.insert_missing(ctx, builtin_roles)


async def get_role(ctx: Ctx, key: str) -> RoleRow | None:
    """The current row, read again: it may have changed before the membership lock was taken."""
    statement = select(RoleRow).where(RoleRow.tenant_id == ctx.tenant_id).where(RoleRow.key == key)
    return (await ctx.session.exec(statement, execution_options={"populate_existing": True})).first()


async def get_existing_role(ctx: Ctx, key: str) -> RoleRow | None:
    """As `get_role`; None for a deleted role."""
    row = await get_role(ctx, key)
    return row if row is not None and row.deleted_at is None else None


async def list_custom_roles(ctx: Ctx) -> Sequence[RoleRow]:
    statement = (
        select(RoleRow)
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(col(RoleRow.builtin).is_(False))
        .where(col(RoleRow.deleted_at).is_(None))
        .order_by(func.lower(RoleRow.name), RoleRow.id)
    )
    return await rows.all(ctx, statement)


async def is_role_name_taken(ctx: Ctx, name: str, other_than: str) -> bool:
    """Compares case-insensitively with roles that are not deleted. `other_than`: key of the renamed role."""
    statement = (
        select(RoleRow.id)
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(func.lower(RoleRow.name) == func.lower(name))
        .where(col(RoleRow.deleted_at).is_(None))
        .where(RoleRow.key != other_than)
    )
    return await rows.one(ctx, statement) is not None


async def count_members_by_role(ctx: Ctx) -> dict[str, int]:
    """Active and deactivated members by role key."""
    statement = (
        select(Membership.role, func.count())
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.state != MembershipState.REMOVED)
        .group_by(Membership.role)
        .order_by(Membership.role)
    )
    return dict((await ctx.session.exec(statement)).all())


async def count_invitations_by_role(ctx: Ctx) -> dict[str, int]:
    """Invitations that can still be accepted, by role key."""
    statement = (
        select(Invitation.role, func.count())
        .where(Invitation.tenant_id == ctx.tenant_id)
        .where(Invitation.status == InvitationStatus.PENDING)
        .where(col(Invitation.expires_at) > now())
        .group_by(Invitation.role)
        .order_by(Invitation.role)
    )
    return dict((await ctx.session.exec(statement)).all())


async def list_user_ids_with_role(ctx: Ctx, role: str) -> Sequence[str]:
    """User ids of the active members with this role."""
    statement = (
        select(Membership.user_id)
        .where(Membership.tenant_id == ctx.tenant_id)
        .where(Membership.role == role)
        .where(Membership.state == MembershipState.ACTIVE)
        .order_by(col(Membership.user_id))
    )
    return await rows.all(ctx, statement)


async def count_service_accounts_by_role(ctx: Ctx) -> dict[str, int]:
    """Service accounts that have not ended, by role key."""
    statement = (
        select(ServiceAccount.role, func.count())
        .where(ServiceAccount.tenant_id == ctx.tenant_id)
        .where(col(ServiceAccount.ended_at).is_(None))
        .group_by(ServiceAccount.role)
        .order_by(ServiceAccount.role)
    )
    return dict((await ctx.session.exec(statement)).all())


async def list_service_account_ids_with_role(ctx: Ctx, role: str) -> Sequence[str]:
    """Ids of the service accounts with this role that have not ended."""
    statement = (
        select(ServiceAccount.id)
        .where(ServiceAccount.tenant_id == ctx.tenant_id)
        .where(ServiceAccount.role == role)
        .where(col(ServiceAccount.ended_at).is_(None))
        .order_by(col(ServiceAccount.id))
    )
    return await rows.all(ctx, statement)


async def get_active_role(ctx: Ctx, holder_id: str) -> RoleRow | None:
    """The current role of an active member or of a service account, otherwise None."""
    if is_id("sac", holder_id):
        return await _get_role_of_service_account(ctx, holder_id)
    statement = (
        select(RoleRow)
        .join(
            Membership,
            and_(
                col(Membership.tenant_id) == col(RoleRow.tenant_id), col(Membership.role) == col(RoleRow.key)
            ),
        )
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(Membership.user_id == holder_id)
        .where(Membership.state == MembershipState.ACTIVE)
    )
    return (await ctx.session.exec(statement, execution_options={"populate_existing": True})).first()


async def _get_role_of_service_account(ctx: Ctx, service_account_id: str) -> RoleRow | None:
    statement = (
        select(RoleRow)
        .join(
            ServiceAccount,
            and_(
                col(ServiceAccount.tenant_id) == col(RoleRow.tenant_id),
                col(ServiceAccount.role) == col(RoleRow.key),
            ),
        )
        .where(RoleRow.tenant_id == ctx.tenant_id)
        .where(ServiceAccount.id == service_account_id)
        .where(col(ServiceAccount.ended_at).is_(None))
    )
    return (await ctx.session.exec(statement, execution_options={"populate_existing": True})).first()
