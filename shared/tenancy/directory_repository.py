"""SQL of the directory: tenants as operators see them.

The first half reads across tenants, in a transaction that has stated its reason; the second half is inside of one.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Select,
    SQLColumnExpression,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    tuple_,
)
from sqlalchemy import select as columns
from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.roles import OWNER
from shared.audit.actions import AuditAction
from shared.audit.models import AuditEvent, SecurityEvent
from shared.core.ctx import Ctx
from shared.core.errors import Invalid
from shared.entitlements.models import Plan, PlanVersion, TenantPlan
from shared.identity.models import User
from shared.tenancy.directory_rows import Belonging, Listed, Unfinished
from shared.tenancy.models import (
    Invitation,
    InvitationStatus,
    Membership,
    MembershipState,
    ProvisioningStep,
    RoleRow,
    StepState,
    Tenant,
    TenantKey,
    TenantState,
)

_people = (
    columns(
        col(Membership.tenant_id).label("tenant_id"),
        func.count().filter(col(Membership.state) == MembershipState.ACTIVE).label("active"),
        func.max(col(Membership.seen_at)).label("seen_at"),
    )
    .group_by(col(Membership.tenant_id))
    .subquery("people")
)
_steps = (
    columns(
        col(ProvisioningStep.tenant_id).label("tenant_id"),
        func.count().label("every"),
        func.count().filter(col(ProvisioningStep.state) == StepState.DONE).label("done"),
        func.count().filter(col(ProvisioningStep.state) == StepState.FAILED).label("failed"),
    )
    .group_by(col(ProvisioningStep.tenant_id))
    .subquery("steps")
)
_invited = (
    columns(func.count())
    .where(col(Invitation.tenant_id) == col(Tenant.id))
    .where(col(Invitation.status) == InvitationStatus.PENDING)
    .correlate(Tenant)
    .scalar_subquery()
)
_owner = (  # the name of the longest-standing one; a tenant may have several
    columns(col(User.name))
    .select_from(Membership)
    .join(User, col(User.id) == col(Membership.user_id))
    .where(col(Membership.tenant_id) == col(Tenant.id))
    .where(col(Membership.role) == OWNER)
    .where(col(Membership.state) == MembershipState.ACTIVE)
    .order_by(col(Membership.created_at), col(Membership.id))
    .limit(1)
    .correlate(Tenant)
    .scalar_subquery()
)
_given = (  # the assignment that counts now, as in `entitlements.facts`
    columns(col(Plan.name))
    .select_from(TenantPlan)
    .join(PlanVersion, col(PlanVersion.id) == col(TenantPlan.plan_version_id))
    .join(Plan, col(Plan.id) == col(PlanVersion.plan_id))
    .where(col(TenantPlan.tenant_id) == col(Tenant.id))
    .where(col(TenantPlan.starts_at) <= func.now())
    .where(or_(col(TenantPlan.ends_at).is_(None), col(TenantPlan.ends_at) > func.now()))
    .where(col(TenantPlan.closed_at).is_(None))
    .order_by(col(TenantPlan.starts_at).desc(), col(TenantPlan.created_at).desc(), col(TenantPlan.id).desc())
    .limit(1)
    .correlate(Tenant)
    .scalar_subquery()
)
_plan = func.coalesce(_given, "None yet")
_members: ColumnElement[int] = func.coalesce(_people.c.active, 0, type_=Integer)
SORTS: dict[str, SQLColumnExpression[Any]] = {
    "name": func.lower(col(Tenant.name)),
    "created_at": col(Tenant.created_at),
    "members": _members,
}


def _found_by(needle: str) -> tuple[ColumnElement[bool], ColumnElement[str]]:
    """Whether a tenant matches, and which of its members when only a member does. Former members are found too.

    A person is found by their whole address, which whoever asks has from them; by no part of it, nor by a name.
    """
    own = or_(
        col(Tenant.id) == needle,
        func.strpos(col(Tenant.slug), needle) > 0,
        func.strpos(func.lower(col(Tenant.name)), needle) > 0,
    )
    theirs = (
        columns(col(Membership.tenant_id))
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(User.email) == needle)
    )
    first = (
        columns(func.concat(col(User.name), " <", col(User.email), ">"))
        .select_from(Membership)
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(Membership.tenant_id) == col(Tenant.id))
        .where(col(User.email) == needle)
        .limit(1)
        .correlate(Tenant)
        .scalar_subquery()
    )
    return or_(own, col(Tenant.id).in_(theirs)), case((own, literal("")), else_=func.coalesce(first, ""))


def _listed(matched: ColumnElement[str]) -> Select[Any]:
    return _from_tenants(
        col(Tenant.id),
        col(Tenant.slug),
        col(Tenant.name),
        col(Tenant.state),
        col(Tenant.state_reason),
        _plan,
        col(Tenant.created_at),
        func.coalesce(_owner, ""),
        _members,
        _invited,
        _people.c.seen_at,
        func.coalesce(_steps.c.every, 0),
        func.coalesce(_steps.c.done, 0),
        func.coalesce(_steps.c.failed, 0),
        matched,
    )


def _from_tenants(*wanted: Any) -> Select[Any]:
    return (
        columns(*wanted)
        .select_from(Tenant)
        .outerjoin(_people, _people.c.tenant_id == col(Tenant.id))
        .outerjoin(_steps, _steps.c.tenant_id == col(Tenant.id))
    )


async def search(
    session: AsyncSession,
    needle: str,
    state: TenantState | None,
    *,
    sort: str,
    descending: bool,
    after: str,
    limit: int,
) -> Sequence[Listed]:
    """`needle` is lower case, "" for every tenant. `after`: the id of the row before."""
    conditions: list[ColumnElement[bool]] = []
    matched: ColumnElement[str] = literal("")
    if needle:
        condition, matched = _found_by(needle)
        conditions.append(condition)
    if state is not None:
        conditions.append(col(Tenant.state) == state)
    key = (SORTS[sort], col(Tenant.id))
    if after:
        here = await _place(session, _from_tenants(*key).where(col(Tenant.id) == after))
        conditions.append(tuple_(*key) < here if descending else tuple_(*key) > here)
    order = [one.desc() if descending else one.asc() for one in key]
    statement = _listed(matched).where(and_(True, *conditions)).order_by(*order).limit(limit)
    return [Listed(*found) for found in await _all(session, statement)]


async def get(session: AsyncSession, tenant_id: str) -> Listed | None:
    found = await _all(session, _listed(literal("")).where(col(Tenant.id) == tenant_id))
    return Listed(*found[0]) if found else None


async def count_by_state(session: AsyncSession) -> dict[TenantState, int]:
    state = col(Tenant.state)
    statement = columns(state, func.count()).group_by(state).order_by(state)
    return dict(await _all(session, statement))


async def list_unfinished(session: AsyncSession, limit: int) -> Sequence[Unfinished]:
    """Where each setting-up stands: its failed step, else its first one that is not done. Failed ones first."""
    failed = case((col(ProvisioningStep.state) == StepState.FAILED, 0), else_=1)
    first = (
        columns(
            col(Tenant.id).label("tenant_id"),
            col(Tenant.name).label("name"),
            col(ProvisioningStep.key).label("key"),
            col(ProvisioningStep.state).label("state"),
            col(ProvisioningStep.error).label("error"),
            col(ProvisioningStep.attempts).label("attempts"),
            col(Tenant.created_at).label("created_at"),
            failed.label("failed"),
        )
        .ext(distinct_on(col(Tenant.id)))
        .join(ProvisioningStep, col(ProvisioningStep.tenant_id) == col(Tenant.id))
        .where(col(ProvisioningStep.state) != StepState.DONE)
        .where(col(Tenant.state) != TenantState.DELETED)
        .order_by(col(Tenant.id), failed, col(ProvisioningStep.position))
        .subquery("first")
    )
    c = first.c
    statement = (
        columns(c.tenant_id, c.name, c.key, c.state, c.error, c.attempts, c.created_at)
        .order_by(c.failed, c.created_at.desc(), c.tenant_id)
        .limit(limit)
    )
    return [Unfinished(*found) for found in await _all(session, statement)]


async def list_names(session: AsyncSession, tenant_ids: Sequence[str]) -> dict[str, str]:
    statement = (
        columns(col(Tenant.id), col(Tenant.name))
        .where(col(Tenant.id).in_(tenant_ids) if tenant_ids else false())
        .order_by(col(Tenant.id))
    )
    return dict(await _all(session, statement))


async def count_security_events(session: AsyncSession, since: datetime) -> dict[str, int]:
    """Attempts by kind. A row stands for all attempts of one actor in one hour."""
    statement = (
        columns(col(SecurityEvent.kind), func.sum(col(SecurityEvent.count)))
        .where(col(SecurityEvent.at) >= since)
        .group_by(col(SecurityEvent.kind))
        .order_by(col(SecurityEvent.kind))
    )
    return {kind: int(count) for kind, count in await _all(session, statement)}


async def list_outdated_keys(session: AsyncSession, newest: int) -> Sequence[str]:
    """Tenants whose data key is wrapped by another master key than the newest."""
    statement = select(TenantKey.tenant_id).where(TenantKey.kek_id != newest).order_by(TenantKey.tenant_id)
    return (await session.exec(statement)).all()


async def _all(session: AsyncSession, statement: Executable) -> Sequence[Any]:
    """Rows of columns. Through the session, whose guard asks for a tenant or a reason."""
    found: Sequence[Any] = (await session.exec(statement)).all()  # type: ignore[call-overload]
    return found


# Inside of one tenant


async def lock_key(session: AsyncSession, tenant_id: str) -> TenantKey:
    """In a transaction that has entered this tenant."""
    return await session.get_one(TenantKey, (tenant_id, "dek"), with_for_update=True)


async def get_state_before_suspension(ctx: Ctx) -> TenantState:
    """The trail remembers: an unverified tenant that was suspended comes back unverified.

    Unless an owner was verified meanwhile: nobody would be sent another link that opens it.
    """
    statement = (
        select(AuditEvent.before)
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(AuditEvent.action == AuditAction.TENANT_SUSPENDED)
        .order_by(col(AuditEvent.seq).desc())
        .limit(1)
    )
    before = (await ctx.session.exec(statement)).first() or {}
    state = TenantState(before.get("state", TenantState.ACTIVE))
    if state is TenantState.PENDING_VERIFICATION and await _has_verified_owner(ctx):
        return TenantState.ACTIVE
    return state


async def _has_verified_owner(ctx: Ctx) -> bool:
    statement = (
        select(Membership.id)
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(Membership.tenant_id) == ctx.tenant_id)
        .where(col(Membership.role) == OWNER)
        .where(col(Membership.state) == MembershipState.ACTIVE)
        .where(col(User.email_verified_at).is_not(None))
        .limit(1)
    )
    return (await ctx.session.exec(statement)).first() is not None


async def list_members(ctx: Ctx, *, after: str, limit: int) -> Sequence[Belonging]:
    """Active ones first, then by name. `after`: the id of the row before."""
    gone = case((col(Membership.state) == MembershipState.ACTIVE, 0), else_=1)
    key = (gone, func.lower(col(User.name)), col(Membership.id))

    def members(*wanted: Any) -> Select[Any]:
        joined = columns(*wanted).select_from(Membership).join(User, col(User.id) == col(Membership.user_id))
        held = (col(RoleRow.tenant_id) == col(Membership.tenant_id)) & (
            col(RoleRow.key) == col(Membership.role)
        )
        return joined.join(RoleRow, held).where(col(Membership.tenant_id) == ctx.tenant_id)

    statement = members(
        col(Membership.id),
        col(User.id),
        col(User.name),
        col(User.email),
        col(User.email_verified_at).is_not(None),
        col(RoleRow.name),
        col(Membership.state),
        col(Membership.created_at),
        col(Membership.seen_at),
        col(Membership.ended_at),
        col(Membership.ended_by),
    )
    if after:
        here = await _place(ctx.session, members(*key).where(col(Membership.id) == after))
        statement = statement.where(tuple_(*key) > here)
    return [Belonging(*found) for found in await _all(ctx.session, statement.order_by(*key).limit(limit))]


async def _place(session: AsyncSession, statement: Select[Any]) -> ColumnElement[Any]:
    """Where a row stands in the order, in the database's own words: it and Python do not agree on lower case."""
    found = await _all(session, statement)
    if not found:
        raise Invalid("This page does not exist.", "Start again at the first page.")
    return tuple_(*(literal(value) for value in found[0]))


async def list_steps(session: AsyncSession, tenant_id: str) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == tenant_id)
        .order_by(col(ProvisioningStep.position), col(ProvisioningStep.id))
    )
    return (await session.exec(statement)).all()
