"""Explain a decision about one person of a tenant, now or at a past time. The callers have checked the permission."""

from dataclasses import dataclass
from datetime import datetime

from shared.access import refusal_messages
from shared.access.actions import Action
from shared.access.roles import OWNER, ROLES
from shared.core.context import Ctx, Rights
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements import assignments, rights_cache
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import REGISTRY_SOURCE, Entitlements
from shared.entitlements.evaluate import AccessSubject, DecisionTrace, TenantLayers, trace_decision
from shared.entitlements.limits import find_usage
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import member_repository, service_account_repository, tenant_repository
from shared.tenancy import past_state_repository as repository
from shared.tenancy.models import MembershipState, TenantState

PERSON_WITHOUT_ROLE = "Non-member"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`detail` and `next_step`: the refusal that the person would read, "" when it is allowed."""

    at: datetime  # the time that was asked about; the trace's facts may be older
    trace: DecisionTrace
    person_name: str
    plan_name: str  # the tenant's plan, or the simulated one
    detail: str
    next_step: str


async def explain_in_tenant(
    ctx: Ctx, user_id: str, action: Action, *, at: datetime | None, plan: str = ""
) -> Explanation:
    """Explains one decision about a person at a time, None for now. `plan`: key of another plan than the tenant's.

    Raises Invalid for an unknown plan, NotFound for a person who was never a member and for a time before the tenant.
    """
    asked_at = at or now()
    await require_existing(ctx, asked_at)
    subject = await get_subject_at(ctx, user_id, asked_at)
    return await explain_for_subject(ctx, subject, action, at=at, plan=plan)


async def require_existing(ctx: Ctx, at: datetime) -> None:
    """Raises NotFound for a time before the tenant."""
    if at < await tenant_repository.get_created_at(ctx):
        raise NotFound("This organisation didn’t exist yet at that time.", "Choose a later time.")


async def explain_for_subject(
    ctx: Ctx, subject: AccessSubject, action: Action, *, at: datetime | None, plan: str = ""
) -> Explanation:
    """`subject`: as it was at this time. Raises Invalid for an unknown plan."""
    asked_at = at or now()
    tenant = await _get_tenant_layers(ctx, at, plan)
    snapshot, catalog = tenant.entitlements.snapshot, tenant.entitlements.catalog
    used = await count_usage_at(ctx, action.limit, asked_at)
    trace = trace_decision(action, subject, tenant, used)
    detail, step = "", ""
    if subject.ended_state and not trace.decision.allowed:
        detail = f"Your access was {subject.ended_state}."
        step = f"Contact an owner of {ctx.tenant_name} to restore it."
    elif not trace.decision.allowed:
        rights = rights_cache.compute_rights(snapshot, catalog, subject.state)
        subject_rights = SubjectRights(subject.permissions, rights)
        refusal = refusal_messages.build_refusal(trace.decision.reason, action, subject_rights, used=used)
        detail, step = refusal.detail, refusal.next_step
    return Explanation(asked_at, trace, subject.person_name, snapshot.offer.name, detail, step)


async def _get_tenant_layers(ctx: Ctx, at: datetime | None, plan: str) -> TenantLayers:
    """Those of now are cached already, as the visit has entered the tenant."""
    if at is None and not plan:
        return await rights_cache.get_tenant_layers(ctx)
    snapshot, catalog = await assignments.get_snapshot(ctx, at)
    if plan:
        snapshot = _simulate_plan(snapshot, catalog, plan)
    return TenantLayers(Entitlements(snapshot, catalog), rights_cache.get_provider(catalog))


@dataclass(frozen=True, slots=True)
class SubjectRights:
    permissions: frozenset[str]
    rights: Rights


async def get_subject_at(ctx: Ctx, user_id: str, at: datetime) -> AccessSubject:
    """The person's role and the tenant's state at a time. `user_id`: "" for a non-member. Raises NotFound."""
    state, state_source_id = await _get_state_at(ctx, at)
    if not user_id:
        return AccessSubject(
            PERSON_WITHOUT_ROLE, "", frozenset(), state=state, state_source_id=state_source_id
        )
    if await member_repository.get_membership_of_user(ctx, user_id) is None:
        raise NotFound("This person isn’t in this organisation.", "Choose one from the list.")
    user = await member_repository.get_user(ctx, user_id)
    if user.email_verified_at is None or user.email_verified_at > at:
        # Unverified people have no access, as if the tenant were unverified (`tenancy.entry`).
        state, state_source_id = TenantState.PENDING_VERIFICATION.value, user.id
    membership = await repository.get_membership_at(ctx, user_id, at)
    if membership is None or membership.state != MembershipState.ACTIVE:
        membership_source_id = membership.id if membership else REGISTRY_SOURCE
        ended_state = membership.state if membership else ""
        return AccessSubject(
            user.name, "", frozenset(), membership_source_id, state, state_source_id, ended_state
        )
    assignment = _RoleAssignment(key=membership.role, at=membership.at, source_id=membership.id)
    role = await _get_role_at(ctx, assignment, at)
    return AccessSubject(user.name, role.name, role.permissions, role.source_id, state, state_source_id)


async def get_job_subject_at(ctx: Ctx, task: str, at: datetime) -> AccessSubject:
    """Of a job, which has all permissions of its tenant."""
    state, state_source_id = await _get_state_at(ctx, at)
    owner = ROLES[OWNER]
    return AccessSubject(task, owner.name, owner.permissions, state=state, state_source_id=state_source_id)


async def get_account_subject_at(ctx: Ctx, service_account_id: str, at: datetime) -> AccessSubject:
    """The same of a service account. Raises NotFound for a time before its last change: nothing records its former roles."""
    account = await service_account_repository.get_account(ctx, service_account_id)
    changed_at = (account.version_at or account.created_at) if account is not None else None
    if account is None or changed_at is None or at < changed_at:
        raise NotFound(
            "What this service account could do at that time isn’t recorded.", "Choose a later time."
        )
    state, state_source_id = await _get_state_at(ctx, at)
    assignment = _RoleAssignment(key=account.role, at=changed_at, source_id=account.id)
    role = await _get_role_at(ctx, assignment, at)
    return AccessSubject(account.name, role.name, role.permissions, role.source_id, state, state_source_id)


async def get_token_subject(ctx: Ctx, at: datetime) -> AccessSubject:
    """The holder of an issuer's token, who has entered with its role and permissions."""
    state, state_source_id = await _get_state_at(ctx, at)
    issuer_id = ctx.actor_id.partition(":")[0]
    return AccessSubject(ctx.actor.name, ctx.role_name, ctx.permissions, issuer_id, state, state_source_id)


async def _get_state_at(ctx: Ctx, at: datetime) -> tuple[str, str]:
    """The tenant's state, and the id of the row it comes from."""
    change = await repository.get_state_at(ctx, at)
    return (change.state, change.id) if change else (TenantState.ACTIVE.value, REGISTRY_SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoleAssignment:
    key: str
    at: datetime
    source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoleThen:
    name: str
    permissions: frozenset[str]
    source_id: str


async def _get_role_at(ctx: Ctx, assignment: _RoleAssignment, at: datetime) -> _RoleThen:
    builtin = ROLES.get(assignment.key)
    if builtin is not None:
        return _RoleThen(name=builtin.name, permissions=builtin.permissions, source_id=assignment.source_id)
    role = await repository.get_role_at(ctx, assignment.key, at)
    if role is None:
        return _RoleThen(name="", permissions=frozenset(), source_id=assignment.source_id)
    permissions = frozenset[str]() if role.deleted else frozenset(role.permissions) & ROLES[OWNER].permissions
    # The later change: assigning the role, or changing its permissions.
    source_id = role.id if role.at > assignment.at else assignment.source_id
    return _RoleThen(name=role.name, permissions=permissions, source_id=source_id)


async def count_usage_at(ctx: Ctx, limit: str, at: datetime) -> int | None:
    """None for "" and for a limit that nothing counts yet."""
    usage = find_usage(limit)
    return await usage.at(ctx, at) if usage is not None else None


def _simulate_plan(snapshot: EntitlementSnapshot, catalog: Catalog, plan: str) -> EntitlementSnapshot:
    offer = catalog.find_offer(plan, snapshot.at)
    if offer is None or offer.kind != "plan":
        raise Invalid("This plan doesn’t exist.", "Choose one from the list.")
    return snapshot.with_plan(offer)
