"""SQL of `entry`: memberships of users, operators and visits."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import BigInteger, and_, column, func, or_, table, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.models import AuditEvent, OperatorEvent
from shared.core.db import now
from shared.identity.models import Operator
from shared.tenancy.models import FormerSlug, Membership, MembershipState, RoleRow, Tenant

CATALOG_EPOCH = select(column("number", BigInteger)).select_from(table("entitlement_epoch")).scalar_subquery()
_role_of_membership = and_(
    col(RoleRow.tenant_id) == col(Membership.tenant_id), col(RoleRow.key) == col(Membership.role)
)


async def get_membership_by_slug(
    session: AsyncSession, user_id: str, slug: str
) -> tuple[Membership, Tenant, RoleRow, int] | None:
    """The membership with tenant, role and catalog epoch. Needs `db.set_user`: row security hides other memberships."""
    if not slug.isascii() or "\0" in slug:
        return None  # no slug contains these, and the database refuses NUL
    statement = (
        select(Membership, Tenant, RoleRow, CATALOG_EPOCH)
        .join(Tenant, col(Tenant.id) == Membership.tenant_id)
        .join(RoleRow, _role_of_membership)
        .where(Tenant.slug == slug)
        .where(Membership.user_id == user_id)
    )
    return (await session.exec(statement)).first()


async def find_present_slug(session: AsyncSession, user_id: str, alias: str) -> str:
    """The slug of the tenant that has `alias` as its id or as a former slug; "" unless the user is an active member.

    Needs `db.set_user`.
    """
    if not alias.isascii() or "\0" in alias:
        return ""
    tenant_ids = select(func.unnest(func.list_user_tenants())).scalar_subquery()
    was_kept = (
        select(FormerSlug.id)
        .where(FormerSlug.tenant_id == col(Tenant.id))
        .where(FormerSlug.id == alias)
        .where(FormerSlug.kept_until > now())
        .exists()
    )
    statement = (
        select(Tenant.slug)
        .join(Membership, col(Membership.tenant_id) == Tenant.id)
        .where(col(Tenant.id).in_(tenant_ids))
        .where(Membership.user_id == user_id)
        .where(Membership.state == MembershipState.ACTIVE)
        .where(or_(col(Tenant.id) == alias, was_kept))
    )
    return (await session.exec(statement)).first() or ""


async def list_memberships(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """All memberships of this user. Needs `db.set_user`."""
    tenant_ids = select(func.unnest(func.list_user_tenants())).scalar_subquery()
    statement = (
        select(Membership, Tenant)
        .join(Tenant, col(Tenant.id) == Membership.tenant_id)
        .where(col(Membership.tenant_id).in_(tenant_ids))
        .where(Membership.user_id == user_id)
        .order_by(Tenant.name, Tenant.id)
    )
    return (await session.exec(statement)).all()


async def list_memberships_with_roles(
    session: AsyncSession, user_id: str
) -> Sequence[tuple[Membership, Tenant, RoleRow]]:
    """All memberships of this user with their roles. Needs `db.set_user`."""
    tenant_ids = select(func.unnest(func.list_user_tenants())).scalar_subquery()
    statement = (
        select(Membership, Tenant, RoleRow)
        .join(Tenant, col(Tenant.id) == Membership.tenant_id)
        .join(RoleRow, _role_of_membership)
        .where(col(Membership.tenant_id).in_(tenant_ids))
        .where(Membership.user_id == user_id)
        .order_by(Tenant.name, Tenant.id)
    )
    return (await session.exec(statement)).all()


async def get_epoch(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(select(CATALOG_EPOCH))).scalar_one())


async def get_operator(session: AsyncSession, operator_id: str) -> Operator | None:
    return await session.get(Operator, operator_id)


async def get_tenant(session: AsyncSession, tenant_id: str) -> Tenant | None:
    return await session.get(Tenant, tenant_id)


async def touch_membership(session: AsyncSession, tenant_id: str, user_id: str, every: timedelta) -> None:
    seen = col(Membership.seen_at)
    statement = (
        update(Membership)
        .where(col(Membership.tenant_id) == tenant_id)
        .where(col(Membership.user_id) == user_id)
        .where(seen.is_(None) | (seen < now() - every))
        .values(seen_at=now())
    )
    await session.exec(statement)


async def has_recent_visit(
    session: AsyncSession, tenant_id: str, operator_id: str, reason: str, within: timedelta
) -> bool:
    statement = (
        select(AuditEvent.id)
        .where(AuditEvent.tenant_id == tenant_id)
        .where(AuditEvent.actor_id == operator_id)
        .where(AuditEvent.action == "operator.looked")
        .where(AuditEvent.reason == reason)
        .where(col(AuditEvent.at) > now() - within)
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None


async def has_recent_cross_tenant_read(
    session: AsyncSession, operator_id: str, reason: str, details: dict[str, str], within: timedelta
) -> bool:
    statement = (
        select(OperatorEvent.id)
        .where(OperatorEvent.actor_id == operator_id)
        .where(OperatorEvent.action == "tenants.read_across")
        .where(OperatorEvent.reason == reason)
        .where(OperatorEvent.details == details)
        .where(col(OperatorEvent.at) > now() - within)
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None
