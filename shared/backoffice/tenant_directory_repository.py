"""SQL of the tenant directory.

The first half reads across tenants, in a transaction with a reason; the second half runs inside one tenant.
"""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    SQLColumnExpression,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    text,
    true,
)
from sqlalchemy import select as columns
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.roles import OWNER
from shared.audit.event_types import AuditAction
from shared.audit.models import AuditEvent, SecurityEvent
from shared.backoffice import tenant_references_repository
from shared.backoffice.tenant_directory_rows import (
    DifferingUsage,
    PayingTwice,
    TenantMember,
    TenantSummary,
    UnbilledUsage,
    UnfinishedProvisioning,
)
from shared.billing.models import BillingSnapshot, BillingSubscription, BillingUsage
from shared.core import ids, rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, contains_text, encode_cursor
from shared.entitlements.models import Plan, PlanVersion, TenantPlan
from shared.identity.models import User
from shared.metering.models import UsageCheck
from shared.tenancy import siblings
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

SHOW_TEST_TENANTS = text("select set_config('app.test_tenants', :value, true)")
EMAIL_SHAPE = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# Of one tenant: the statement counts only for the tenants that it shows.
_membership_stats = (
    columns(
        func.count().filter(col(Membership.state) == MembershipState.ACTIVE).label("active"),
        func.max(col(Membership.seen_at)).label("seen_at"),
    )
    .where(col(Membership.tenant_id) == col(Tenant.id))
    .correlate(Tenant)
    .lateral("people")
)
_step_counts = (
    columns(
        func.count().label("every"),
        func.count().filter(col(ProvisioningStep.state) == StepState.DONE).label("done"),
        func.count().filter(col(ProvisioningStep.state) == StepState.FAILED).label("failed"),
    )
    .where(col(ProvisioningStep.tenant_id) == col(Tenant.id))
    .correlate(Tenant)
    .lateral("steps")
)
_pending_invitations = (
    columns(func.count())
    .where(col(Invitation.tenant_id) == col(Tenant.id))
    .where(col(Invitation.status) == InvitationStatus.PENDING)
    .correlate(Tenant)
    .scalar_subquery()
)
_owner_name = (  # the longest-standing owner's; a tenant can have several
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
# The assignment in effect, as in `entitlements.snapshot`. Also one that began in this transaction, which `now()` would miss.
_assigned_plan_name = (
    columns(col(Plan.name))
    .select_from(TenantPlan)
    .join(PlanVersion, col(PlanVersion.id) == col(TenantPlan.plan_version_id))
    .join(Plan, col(Plan.id) == col(PlanVersion.plan_id))
    .where(col(TenantPlan.tenant_id) == col(Tenant.id))
    .where(col(TenantPlan.starts_at) <= func.statement_timestamp())
    .where(or_(col(TenantPlan.ends_at).is_(None), col(TenantPlan.ends_at) > func.statement_timestamp()))
    .where(col(TenantPlan.closed_at).is_(None))
    .order_by(col(TenantPlan.starts_at).desc(), col(TenantPlan.created_at).desc(), col(TenantPlan.id).desc())
    .limit(1)
    .correlate(Tenant)
    .scalar_subquery()
)
# As text: a plan for any value of a parameter could not use the index of the open steps.
_IS_OPEN = text(f"provisioning_step.state <> '{StepState.DONE.value}'")
_other_tenant = aliased(Tenant)
_live_name = (
    columns(col(_other_tenant.name))
    .where(col(_other_tenant.id) == col(Tenant.live_tenant_id))
    .correlate(Tenant)
    .scalar_subquery()
)
# None in lists, which read no test tenants.
_test_tenant_id = (
    columns(col(_other_tenant.id))
    .where(col(_other_tenant.live_tenant_id) == col(Tenant.id))
    .correlate(Tenant)
    .scalar_subquery()
)
_tenant_name = func.coalesce(_live_name + siblings.NAME_SUFFIX, col(Tenant.name))
_plan_name = func.coalesce(_assigned_plan_name, "None yet")
_active_member_count: SQLColumnExpression[int] = (
    columns(func.count())
    .where(col(Membership.tenant_id) == col(Tenant.id))
    .where(col(Membership.state) == MembershipState.ACTIVE)
    .correlate(Tenant)
    .scalar_subquery()
)
SORT_COLUMNS: dict[str, SQLColumnExpression[Any]] = {
    "name": func.lower(col(Tenant.name)),
    "created_at": col(Tenant.created_at),
    "members": _active_member_count,
}


def is_email_address(search_text: str) -> bool:
    return EMAIL_SHAPE.fullmatch(search_text) is not None


async def _match_tenants(
    session: AsyncSession, search_text: str
) -> tuple[ColumnElement[bool], SQLColumnExpression[str]]:
    """A tenant with this id, reference or text in its name or slug, or with a member of this email address.

    And the member or reference by which it was found, "" for other matches. People are found by their full email address only, not by a part of it or
    by their name. Former members count.
    """
    if ids.is_id("ten", search_text.lower()):
        return col(Tenant.id) == search_text.lower(), literal("")
    if is_email_address(search_text):
        # Looked up before: in one statement the planner reads every tenant to find a few.
        tenant_ids = await _list_ids_by_email(session, search_text.lower())
        if tenant_ids:
            return col(Tenant.id).in_(tenant_ids), _find_matched_member(search_text.lower())
    contains = or_(
        func.strpos(col(Tenant.slug), search_text.lower()) > 0,
        contains_text(col(Tenant.name), search_text.lower()),
    )
    if tenant_ids := await tenant_references_repository.find_tenants(session, search_text):
        return or_(col(Tenant.id).in_(tenant_ids), contains), case(
            (col(Tenant.id).in_(tenant_ids), tenant_references_repository.name_reference(search_text)),
            else_="",
        )
    return contains, literal("")


async def _list_ids_by_email(session: AsyncSession, email: str) -> Sequence[str]:
    statement = (
        columns(col(Membership.tenant_id))
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(User.email) == email)
    )
    return [record[0] for record in await _fetch_all(session, statement)]


def _find_matched_member(search_text: str) -> SQLColumnExpression[str]:
    """The member with this email address, "" where there is none."""
    member = (
        columns(func.concat(col(User.name), " <", col(User.email), ">"))
        .select_from(Membership)
        .join(User, col(User.id) == col(Membership.user_id))
        .where(col(Membership.tenant_id) == col(Tenant.id))
        .where(col(User.email) == search_text)
        .limit(1)
        .correlate(Tenant)
        .scalar_subquery()
    )
    return func.coalesce(member, "")


def _select_summaries(matched: SQLColumnExpression[str]) -> Select[Any]:
    statement = columns(
        col(Tenant.id),
        col(Tenant.slug),
        _tenant_name,
        col(Tenant.state),
        col(Tenant.state_reason),
        col(Tenant.suspension_message),
        _plan_name,
        col(Tenant.created_at),
        func.coalesce(_owner_name, ""),
        _membership_stats.c.active,
        _pending_invitations,
        _membership_stats.c.seen_at,
        _step_counts.c.every,
        _step_counts.c.done,
        _step_counts.c.failed,
        matched,
        func.coalesce(col(Tenant.live_tenant_id), ""),
        func.coalesce(_test_tenant_id, ""),
        col(Tenant.deletion_at),
    )
    return statement.select_from(Tenant).join(_membership_stats, true()).join(_step_counts, true())


async def search_tenants(
    session: AsyncSession,
    search_text: str,
    state: TenantState | None,
    needing: ColumnElement[bool] | None = None,
    *,
    sort: str,
    descending: bool,
    after: str,
    limit: int,
) -> Sequence[tuple[TenantSummary, str]]:
    """With the cursor of each. `search_text`: "" for every tenant.

    Raises Invalid for a page that doesn't exist.
    """
    conditions: list[ColumnElement[bool]] = []
    matched: SQLColumnExpression[str] = literal("")
    if search_text:
        condition, matched = await _match_tenants(session, search_text)
        conditions.append(condition)
    if state is not None:
        conditions.append(col(Tenant.state) == state)
    if needing is not None:
        conditions.append(needing)
    key = (SORT_COLUMNS[sort], col(Tenant.id))
    conditions += after_cursor(key, after, descending=descending)
    order = [column.desc() if descending else column.asc() for column in key]
    # The page first: otherwise the members of every tenant are counted to show a few.
    page = (
        columns(col(Tenant.id).label("id"), key[0].label("sort_value"))
        .where(and_(True, *conditions))
        .order_by(*order)
        .limit(limit)
        .subquery("page")
    )
    page_key = (page.c.sort_value, page.c.id)
    statement = (
        _select_summaries(matched)
        .add_columns(page.c.sort_value)
        .join(page, page.c.id == col(Tenant.id))
        .order_by(*(column.desc() if descending else column.asc() for column in page_key))
    )
    return [
        (TenantSummary(*record[:-1]), encode_cursor(record[-1], record[0]))
        for record in await _fetch_all(session, statement)
    ]


@asynccontextmanager
async def _including_test_tenants(session: AsyncSession) -> AsyncIterator[None]:
    """For what names single tenants. The policy of `tenant` hides test tenants from all else."""
    connection = await session.connection()
    await connection.execute(SHOW_TEST_TENANTS, {"value": "on"})
    yield
    await connection.execute(SHOW_TEST_TENANTS, {"value": ""})


async def get_tenant(session: AsyncSession, tenant_id: str) -> TenantSummary | None:
    """Also a test tenant."""
    async with _including_test_tenants(session):
        return await _get_tenant(session, tenant_id)


async def _get_tenant(session: AsyncSession, tenant_id: str) -> TenantSummary | None:
    records = await _fetch_all(session, _select_summaries(literal("")).where(col(Tenant.id) == tenant_id))
    return TenantSummary(*records[0]) if records else None


async def count_by_state(session: AsyncSession) -> dict[TenantState, int]:
    state = col(Tenant.state)
    statement = columns(state, func.count()).group_by(state).order_by(state)
    return dict(await _fetch_all(session, statement))


async def list_paying_twice(session: AsyncSession, limit: int) -> Sequence[PayingTwice]:
    """Tenants that are charged for more than one plan, those whose access changed longest ago first."""
    statement = (
        columns(col(Tenant.id), col(Tenant.name), col(BillingSnapshot.extra_subscriptions))
        .join(BillingSnapshot, col(BillingSnapshot.tenant_id) == col(Tenant.id))
        .where(col(BillingSnapshot.extra_subscriptions) > 0)
        .order_by(col(BillingSnapshot.changed_at), col(BillingSnapshot.tenant_id))
        .limit(limit)
    )
    return [PayingTwice(*row) for row in await _fetch_all(session, statement)]


async def list_unfinished_provisioning(session: AsyncSession, limit: int) -> Sequence[UnfinishedProvisioning]:
    """The failed step of each unfinished provisioning, or else its first open step. Failed ones first."""
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
        .where(_IS_OPEN)
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
    return [UnfinishedProvisioning(*row) for row in await _fetch_all(session, statement)]


async def list_tenant_names(session: AsyncSession, tenant_ids: Sequence[str]) -> dict[str, str]:
    """By id. The names of test tenants say so."""
    statement = (
        columns(col(Tenant.id), _tenant_name)
        .where(col(Tenant.id).in_(tenant_ids) if tenant_ids else false())
        .order_by(col(Tenant.id))
    )
    async with _including_test_tenants(session):
        return dict(await _fetch_all(session, statement))


async def list_unbilled_usage(session: AsyncSession, limit: int) -> Sequence[UnbilledUsage]:
    """By tenant and problem, the oldest usage first."""
    oldest_at = func.min(col(BillingUsage.at))
    statement = (
        columns(col(Tenant.id), col(Tenant.name), col(BillingUsage.problem), func.count(), oldest_at)
        .join(BillingUsage, col(BillingUsage.tenant_id) == col(Tenant.id))
        .where(col(BillingUsage.problem) != "", col(BillingUsage.reported_at).is_(None))
        .group_by(col(Tenant.id), col(Tenant.name), col(BillingUsage.problem))
        .order_by(oldest_at, col(Tenant.id))
        .limit(limit)
    )
    return [UnbilledUsage(*row) for row in await _fetch_all(session, statement)]


async def list_differing_usage(session: AsyncSession, limit: int) -> Sequence[DifferingUsage]:
    """As the latest comparison found it, the most hours first."""
    count = col(UsageCheck.differing_count)
    statement = (
        columns(col(Tenant.id), col(Tenant.name), count)
        .join(UsageCheck, col(UsageCheck.tenant_id) == col(Tenant.id))
        .where(count > 0)
        .order_by(count.desc(), col(Tenant.id))
        .limit(limit)
    )
    return [DifferingUsage(*row) for row in await _fetch_all(session, statement)]


async def count_cancellations(session: AsyncSession, since: datetime) -> dict[str, int]:
    """Cancelled subscriptions by the customer's answer, the most frequent first; not those without one."""
    feedback, count = col(BillingSubscription.cancellation_feedback), func.count()
    statement = (
        columns(feedback, count)
        .where(feedback != "", col(BillingSubscription.canceled_at) >= since)
        .group_by(feedback)
        .order_by(count.desc(), feedback)
    )
    return {answer: int(number) for answer, number in await _fetch_all(session, statement)}


async def count_security_events(session: AsyncSession, since: datetime) -> dict[str, int]:
    """Attempts by kind. One row has all attempts of one actor in one hour."""
    statement = (
        columns(col(SecurityEvent.kind), func.sum(col(SecurityEvent.count)))
        .where(col(SecurityEvent.at) >= since)
        .group_by(col(SecurityEvent.kind))
        .order_by(col(SecurityEvent.kind))
    )
    return {kind: int(count) for kind, count in await _fetch_all(session, statement)}


async def list_keys(session: AsyncSession) -> Sequence[tuple[str, int, bytes]]:
    """(tenant id, number of the master key, wrapped data key) of every tenant."""
    columns = (TenantKey.tenant_id, TenantKey.kek_id, TenantKey.wrapped)
    return (await session.exec(select(*columns).order_by(TenantKey.tenant_id))).all()


async def _fetch_all(session: AsyncSession, statement: Executable) -> Sequence[Any]:
    """Fetches rows of columns through the session, whose guard requires a tenant or a reason."""
    records: Sequence[Any] = (await session.exec(statement)).all()  # type: ignore[call-overload]
    return records


# Inside of one tenant


async def lock_key(session: AsyncSession, tenant_id: str) -> TenantKey:
    """Needs a transaction that has entered this tenant."""
    return await session.get_one(TenantKey, (tenant_id, "dek"), with_for_update={"key_share": True})


async def get_state_before_suspension(ctx: Ctx) -> TenantState:
    """The state before the suspension, from the audit log: an unverified tenant stays unverified.

    Unless an owner was verified meanwhile: no further link would be sent that verifies the tenant.
    """
    statement = (
        select(AuditEvent.before)
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(AuditEvent.action == AuditAction.TENANT_SUSPENDED)
        .order_by(col(AuditEvent.at).desc(), col(AuditEvent.id).desc())
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
    return await rows.one(ctx, statement) is not None


async def list_members(ctx: Ctx, *, after: str, limit: int) -> Sequence[tuple[TenantMember, str]]:
    """Active members first, then by name; with the cursor of each. Raises Invalid for a page that doesn't exist."""
    ended_last = case((col(Membership.state) == MembershipState.ACTIVE, 0), else_=1)
    name = func.lower(col(User.name))
    key: tuple[SQLColumnExpression[Any], ...] = (ended_last, name, col(Membership.id))
    role_of_membership = (col(RoleRow.tenant_id) == col(Membership.tenant_id)) & (
        col(RoleRow.key) == col(Membership.role)
    )
    statement = (
        columns(
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
            ended_last,
            name,
        )
        .select_from(Membership)
        .join(User, col(User.id) == col(Membership.user_id))
        .join(RoleRow, role_of_membership)
        .where(col(Membership.tenant_id) == ctx.tenant_id, *after_cursor(key, after))
        .order_by(*key)
        .limit(limit)
    )
    return [
        (TenantMember(*record[:-2]), encode_cursor(record[-2], record[-1], record[0]))
        for record in await _fetch_all(ctx.session, statement)
    ]


async def list_provisioning_steps(session: AsyncSession, tenant_id: str) -> Sequence[ProvisioningStep]:
    statement = (
        select(ProvisioningStep)
        .where(ProvisioningStep.tenant_id == tenant_id)
        .order_by(col(ProvisioningStep.position), col(ProvisioningStep.id))
    )
    return (await session.exec(statement)).all()
