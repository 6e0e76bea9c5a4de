"""Enter a tenant: from a session, an invitation, a job or an operator's visit to a `Ctx`. There is no other way in.

The slug in a URL is untrusted. Session, user, membership and tenant are read at every entry; `enter_admitted` enters with
what `authenticate` read at the beginning of the same event. An unknown and a foreign slug get the same response.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, decision_counts, decision_records
from shared.access.actions import OperatorAction
from shared.access.permissions import OperatorPermission, Permission
from shared.access.refusal_codes import Reason
from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES, Role
from shared.audit import audit_log
from shared.core import connection_shares, db, log, request_ids, tenant_weights
from shared.core.context import (
    Actor,
    Approval,
    Ctx,
    Impersonation,
    OperatorCtx,
    Rights,
    Surface,
    get_key_actor_type,
)
from shared.core.db import now
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.core.stated_reason import REASON_DURATION, clean_reason
from shared.entitlements import rights_cache
from shared.identity import realms, sessions
from shared.identity.models import Operator, User
from shared.identity.session_proofs import SessionFacts
from shared.tenancy import entry_repository as repository
from shared.tenancy import impersonation_sessions, operator_attempts, roles, siblings, support_transcript
from shared.tenancy.admissions import (
    NO_RIGHTS,
    OperatorAdmission,
    Principal,
    TenantAdmission,
    add_suspension,
    admit_member,
    admit_operator,
    find_ended_refusal,
    get_effective_state,
)
from shared.tenancy.entry_repository import (
    EnteredTenant,
    IssuerStanding,
    KeyStanding,
    Standing,
    TenantStanding,
)
from shared.tenancy.impersonation_repository import ImpersonationStanding
from shared.tenancy.models import Membership, Tenant, TenantState

NOT_FOUND_MESSAGE = "Page not found."
NOT_FOUND_STEP = "Check the address or choose one of your organisations."
READ_ONLY_MESSAGE = "Nothing can be changed in a read-only support session."
READ_ONLY_STEP = "End it and start one that allows changes, or ask the customer."
SEEN_UPDATE_INTERVAL = timedelta(minutes=5)
# Operators may only read inside a tenant. Their changes are separate operator actions.
VISITOR_PERMISSIONS = {
    OperatorPermission.TENANT_READ: frozenset(
        {
            Permission.AUDIT_READ,
            Permission.HOME_READ,
            Permission.MEMBER_READ,
            Permission.ROLE_READ,
            Permission.SETTINGS_READ,
            Permission.USAGE_READ,
        }
    )
}


NO_ROLE = Role("", "", "", frozenset())


@dataclass(frozen=True, slots=True)
class UserTenant:
    slug: str
    name: str
    role: Role
    state: str  # of the tenant


@asynccontextmanager
async def enter_tenant(cookies: str, slug: str) -> AsyncIterator[Ctx]:
    """`cookies`: the Cookie header. `slug`: also a former one, or the tenant's id.

    Raises NotSignedIn, NotFound, Refused (membership_ended).
    """
    async with connection_shares.hold_session_share(_get_claimed_hash(cookies)):
        principal = await authenticate(cookies, slug, touches=False)
        if principal is None:
            raise NotSignedIn
        if principal.ended_message:
            raise Refused(principal.ended_message, principal.ended_step, reason="membership_ended")
        admission = principal.admission
        if principal.present_slug:
            async with enter_tenant(cookies, principal.present_slug) as ctx:
                yield ctx
            return
        if not isinstance(admission, TenantAdmission):
            raise NotFound(NOT_FOUND_MESSAGE, NOT_FOUND_STEP)
        async with enter_admitted(admission) as ctx:
            yield ctx


@asynccontextmanager
async def enter_admitted(admission: TenantAdmission) -> AsyncIterator[Ctx]:
    """Enter with what `authenticate` read a moment before, at the beginning of the same event."""
    if admission.impersonation is not None:
        async with _enter_impersonated(admission, admission.impersonation) as ctx:
            yield ctx
        return
    async with (
        connection_shares.hold_tenant_share(admission.tenant_id),
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=admission.tenant_id) as session,
    ):
        ctx = _build_admitted_ctx(session, admission, surface="rest" if admission.is_program else "page")
        decisions.set_context(ctx)
        yield ctx
        decision_records.add_allowed(ctx)


@asynccontextmanager
async def _enter_impersonated(admission: TenantAdmission, impersonation: Impersonation) -> AsyncIterator[Ctx]:
    """For an operator who acts for a member. The visit is recorded before anything is read, aside.

    Raises Refused (support_read_only) where the database has refused a write.
    """
    async with connection_shares.hold_tenant_share(admission.tenant_id):
        await support_transcript.record_visit(admission)
        try:
            async with db.transaction(
                tenant_id=admission.tenant_id, read_only=not impersonation.can_write
            ) as session:
                ctx = _build_admitted_ctx(session, admission, surface="page")
                yield ctx
                if impersonation.can_write:
                    decision_records.add_allowed(ctx)
        except Refused as refusal:
            await support_transcript.record_refusal(admission, refusal, surface="page")
            raise
        except DBAPIError as problem:
            if not db.is_read_only_error(problem):
                raise
            read_only = Refused(READ_ONLY_MESSAGE, READ_ONLY_STEP, reason=Reason.SUPPORT_READ_ONLY)
            await support_transcript.record_refusal(admission, read_only, surface="page")
            raise read_only from problem


@asynccontextmanager
async def enter_impersonator(
    tenant_id: str, operator: Actor, impersonation: Impersonation
) -> AsyncIterator[Ctx]:
    """To begin or end an impersonation: a context without role and permissions, in any state of the tenant.

    Raises NotFound.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("This tenant doesn’t exist.", "")
        ctx = await _build_ctx(session, tenant, operator, NO_ROLE)
        yield replace(ctx, impersonation=impersonation)


@asynccontextmanager
async def enter_job(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    """Raises Refused for a suspended or deleted tenant; the worker then skips or delays the job."""
    async with (
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=tenant_id) as session,
    ):
        tenant = await _require_active_tenant(session, tenant_id)
        # Permissions were checked when the job was enqueued. The job itself has all permissions of its tenant.
        ctx = await _build_ctx(
            session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id, surface="job"
        )
        decisions.set_context(ctx)
        yield ctx
        decision_records.add_allowed(ctx)


@asynccontextmanager
async def enter_requester(
    tenant_id: str, holder_id: str, *, key_id: str, request_id: str
) -> AsyncIterator[Ctx]:
    """For a job, with the rights that its requester has now, not those of the time of the request.

    `holder_id`: a person or service account. `key_id`: of the API key that asked, "" without one.
    Raises Refused when the holder has left, the key has ended, or the tenant is suspended or deleted.
    """
    async with (
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=tenant_id) as session,
    ):
        tenant = await _require_active_tenant(session, tenant_id)
        requester = await repository.find_requester(
            session, tenant_id, holder_id, key_id, live_tenant_id=tenant.live_tenant_id
        )
        if requester is None or (key_id and requester.scopes is None):
            raise Refused(
                "Whoever asked for this no longer has access.",
                "Ask again as a member, or with a key that works.",
                reason="membership_ended",
            )
        role, scopes = roles.build_role(requester.role), None
        actor = Actor("user", holder_id, requester.name)
        if requester.scopes is not None:
            scopes = frozenset(requester.scopes)
            role = Role(role.key, role.name, role.sentence, role.permissions & scopes)
            actor = Actor(get_key_actor_type(holder_id), key_id, requester.name)
        ctx = await _build_ctx(
            session,
            tenant,
            actor,
            role,
            request_id=request_id,
            verified=requester.is_verified,
            key_holder_id=holder_id if key_id else "",
            scopes=scopes,
            surface="job",
        )
        decisions.set_context(ctx)
        yield ctx
        decision_records.add_allowed(ctx)


async def _require_active_tenant(session: AsyncSession, tenant_id: str) -> EnteredTenant:
    """Raises Refused (tenant_deleted, tenant_suspended)."""
    tenant = await repository.get_tenant(session, tenant_id)
    if tenant is None or tenant.state is TenantState.DELETED:
        raise Refused("This organisation has been deleted.", reason="tenant_deleted")
    if tenant.state is TenantState.SUSPENDED:
        raise Refused("This organisation is suspended.", reason="tenant_suspended")
    return tenant


@asynccontextmanager
async def enter_billing_sync(tenant_id: str, task: str, request_id: str = "") -> AsyncIterator[Ctx]:
    """For applying the payment provider's state, in whatever state the tenant is. Raises NotFound, for a test tenant too."""
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.live_tenant_id:
            raise NotFound("This tenant doesn’t exist.", "")
        yield await _build_ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)


@asynccontextmanager
async def enter_cleaning(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    """For deleting what is over, in whatever state the tenant is: without any permission. Raises NotFound."""
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("This tenant doesn’t exist.", "")
        yield await _build_ctx(
            session, tenant, Actor("job", task, task), NO_ROLE, request_id=request_id, surface="job"
        )


@asynccontextmanager
async def enter_invitation(tenant_id: str, actor: Actor) -> AsyncIterator[Ctx]:
    """For the holder of an invitation link: a context without role and permissions.

    Raises NotFound, Refused for a suspended tenant, which cannot be joined.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.live_tenant_id or tenant.state is TenantState.DELETED:
            raise NotFound(
                "This invitation no longer exists.", "Ask the person who invited you for a new one."
            )
        if tenant.state is TenantState.SUSPENDED:
            raise Refused(
                f"{tenant.name} is suspended, so you can’t join it now.",
                "Ask the person who invited you. The link works again if the organisation is restored before it expires.",
                reason="tenant_suspended",
            )
        yield await _build_ctx(session, tenant, actor, NO_ROLE)


async def enter_founder(session: AsyncSession, tenant: Tenant, user: User) -> Ctx:
    """Enter a tenant that this transaction has just created, with `user` as its owner."""
    actor = Actor("user", user.id, user.name)
    entered_tenant = repository.to_entered_tenant(tenant)
    return await _build_ctx(session, entered_tenant, actor, ROLES[OWNER], verified=_is_verified(user))


@asynccontextmanager
async def enter_operator(cookies: str) -> AsyncIterator[OperatorCtx]:
    """Raises NotSignedIn. What is refused or fails inside is recorded in the audit log."""
    async with operator_attempts.recording_attempts() as acts, db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        if operator_session is None or operator_session.person.disabled_at is not None:
            raise NotSignedIn
        acts.octx = _build_operator_ctx(
            session, admit_operator(operator_session.person, operator_session.session_hash)
        )
        yield acts.octx


@asynccontextmanager
async def enter_admitted_operator(admission: OperatorAdmission) -> AsyncIterator[OperatorCtx]:
    """Enter with what `authenticate_operator` read a moment before, at the beginning of the same event."""
    async with operator_attempts.recording_attempts() as acts, db.transaction("operator") as session:
        acts.octx = _build_operator_ctx(session, admission)
        yield acts.octx


async def enter_operator_account(session: AsyncSession, operator_id: str, session_hash: str) -> OperatorCtx:
    """For an operator's own account, in the transaction that changes it. Raises NotSignedIn."""
    operator = await repository.get_operator(session, operator_id)
    if operator is None or operator.disabled_at is not None:
        raise NotSignedIn
    return _build_operator_ctx(session, admit_operator(operator, session_hash))


def act_for_requester(octx: OperatorCtx, requester: Operator, approval: Approval) -> OperatorCtx:
    """The requester, in the transaction of the operator who approves: they may do what both may."""
    admission = admit_operator(requester, "")
    return replace(
        _build_operator_ctx(octx.session, admission),
        permissions=admission.permissions & octx.permissions,
        approval=approval,
    )


def act_without_second(octx: OperatorCtx, action: OperatorAction) -> OperatorCtx:
    """The same operator, where the settings require no second one."""
    return replace(octx, approval=Approval("", action.name))


@asynccontextmanager
async def enter_platform(name: str) -> AsyncIterator[OperatorCtx]:
    """For the command line: the database's operator role with every operator permission."""
    async with operator_attempts.recording_attempts() as acts, db.transaction("operator") as session:
        acts.octx = OperatorCtx(
            actor=Actor("operator", "opr_platform", name),
            role="owner",
            permissions=OPERATOR_ROLES["owner"].permissions,
            request_id=request_ids.current(),
            session=session,
        )
        yield acts.octx


@asynccontextmanager
async def enter_as_operator(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """Enter a tenant as an operator, in the operator's transaction. The tenant's audit log records the visit.

    Rows added inside belong to the tenant. Raises Invalid without a reason, NotFound.
    """
    reason = clean_reason(reason)
    await db.set_tenant(octx.session, tenant_id)
    try:
        tenant = await repository.get_tenant(octx.session, tenant_id)
        if tenant is None:
            raise NotFound("This tenant doesn’t exist.", "Search for it in the list of tenants.")
        permissions = frozenset[str]().union(
            *(
                tenant_permissions
                for operator_permission, tenant_permissions in VISITOR_PERMISSIONS.items()
                if operator_permission in octx.permissions
            )
        )
        operator_role = OPERATOR_ROLES[octx.role]
        ctx = await _build_ctx(
            octx.session,
            tenant,
            octx.actor,
            Role(f"operator:{operator_role.key}", operator_role.name, operator_role.sentence, permissions),
            request_id=octx.request_id,
            session_hash=octx.session_hash,
            operator_key_id=octx.key_id,
        )
        ctx = replace(ctx, approval=octx.approval)
        already_recorded = await repository.has_recent_visit(
            octx.session, tenant_id, octx.actor_id, reason, REASON_DURATION
        )
        if not already_recorded:
            audit_log.record(ctx, "operator.looked", tenant_id, reason=reason)
            await octx.session.flush()
        visit_writes = db.count_writes(octx.session)
        yield ctx
        decision_records.add_operators_allowed(ctx, octx, visit_writes=visit_writes)
    except BaseException:
        # The transaction will be rolled back. Pending rows must not be flushed into another tenant.
        octx.session.expunge_all()
        raise
    await db.clear_scope(octx.session)


@asynccontextmanager
async def enter_live_as_operator(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """As `enter_as_operator`, for plan and bill. Raises Refused (test_mode) for a test tenant, which has neither."""
    async with enter_as_operator(octx, tenant_id, reason) as ctx:
        if ctx.is_test:
            raise Refused(
                "This is a test tenant: plan and bill are those of its live tenant.",
                "Open the live tenant.",
                reason=Reason.TEST_MODE,
            )
        yield ctx


@asynccontextmanager
async def read_across_tenants(octx: OperatorCtx, reason: str) -> AsyncIterator[AsyncSession]:
    """Read across live tenants. The reason is recorded in the operator audit log. Raises Invalid without one.

    The policy of `tenant` hides test tenants from every list and count that joins it.
    """
    reason = clean_reason(reason)
    await record_cross_tenant_read(octx, reason)
    await db.clear_scope(octx.session, reason=reason)
    yield octx.session
    await db.clear_scope(octx.session)


async def record_cross_tenant_read(octx: OperatorCtx, reason: str, **details: str) -> None:
    """Record a read across tenants, once per reason and details within `REASON_DURATION`."""
    if not await repository.has_recent_cross_tenant_read(
        octx.session, octx.actor_id, reason, details, REASON_DURATION
    ):
        audit_log.record_operator(octx, "tenants.read_across", "*", reason=reason, **details)


async def authenticate(cookies: str, slug: str, *, touches: bool = True) -> Principal | None:
    """The principal of a session at `slug`; None without a live session. For the HTTP guard and before every event.

    One statement reads it. `touches`: a user action, which extends the idle timeout. A valid impersonation wins.
    """
    if support_hash := impersonation_sessions.get_session_hash(cookies):
        async with connection_shares.hold_session_share(support_hash):
            impersonated = await impersonation_sessions.find(support_hash)
        if impersonated is not None:
            return await _authenticate_impersonator(impersonated, slug, session_hash=support_hash)
    token_hash = sessions.get_token_hash(realms.USER, cookies)
    if not token_hash:
        return None
    async with connection_shares.hold_session_share(token_hash):
        async with db.statement_connection() as connection:
            standing = await repository.find_standing(connection, token_hash, slug)
        if standing is None or not await _is_genuine(standing, token_hash):
            return None
        tenant = standing.tenant
        ended = find_ended_refusal(tenant) if tenant is not None else None
        if touches:
            await _touch(standing, tenant if ended is None else None, token_hash)
        if tenant is None:
            if standing.present_slug:
                return Principal(token_hash, standing.user_id, present_slug=standing.present_slug)
            if slug:
                await _record_cross_tenant_attempt(standing.user_id, slug)
            return Principal(token_hash, standing.user_id)
        if ended is not None:
            request_ids.note_tenant(
                tenant.tenant_id, Actor("user", standing.user_id, standing.user_name), NO_RIGHTS
            )
            return Principal(
                token_hash,
                standing.user_id,
                tenant_id=tenant.tenant_id,
                ended_message=ended.detail,
                ended_step=ended.next_step,
            )
        rights = await _get_rights(standing, tenant)
    admission = admit_member(standing, tenant, rights=rights, session_hash=token_hash)
    request_ids.note_tenant(tenant.tenant_id, admission.actor, rights)
    return Principal(
        token_hash,
        standing.user_id,
        admission.role.permissions,
        tenant.tenant_id,
        rights,
        admission=admission,
    )


def _get_claimed_hash(cookies: str) -> str:
    return impersonation_sessions.get_session_hash(cookies) or sessions.get_token_hash(realms.USER, cookies)


async def is_session_live(session_hash: str) -> bool:
    """Whether this session of a member, or of an operator who acts for one, is valid now."""
    if impersonation_sessions.is_session_hash(session_hash):
        return await impersonation_sessions.find(session_hash) is not None
    async with db.transaction() as session:
        return await sessions.is_live(session, realms.USER, session_hash)


async def _authenticate_impersonator(
    standing: ImpersonationStanding, slug: str, *, session_hash: str
) -> Principal:
    """The rights are the member's that support may use too. There is no other tenant in an impersonation."""
    impersonation, tenant = impersonation_sessions.build_impersonation(standing), standing.tenant
    outside = Principal(session_hash, standing.operator_id, impersonation=impersonation)
    if slug not in (tenant.slug, tenant.tenant_id):
        if slug:
            await _record_cross_tenant_attempt(standing.operator_id, slug)
        return outside
    if slug != tenant.slug:
        return replace(outside, present_slug=tenant.slug)
    rights = await get_rights(tenant, verified=standing.user_verified)
    rights = rights.with_verdicts(actions.list_support_reasons(can_write=standing.can_write))
    role = roles.build_role(tenant.role)
    admission = TenantAdmission(
        tenant.tenant_id,
        tenant.slug,
        tenant.tenant_name,
        get_effective_state(tenant.tenant_state, verified=standing.user_verified),
        Actor("operator", standing.operator_id, standing.operator_name),
        Role(role.key, role.name, role.sentence, role.permissions & actions.list_support_permissions()),
        rights,
        session_hash,
        impersonation=impersonation,
    )
    return Principal(
        session_hash,
        standing.operator_id,
        admission.role.permissions,
        tenant.tenant_id,
        rights,
        admission=admission,
        impersonation=impersonation,
    )


async def _get_rights(standing: Standing, tenant: TenantStanding) -> Rights:
    return await get_rights(tenant, verified=standing.user_verified)


async def get_rights(tenant: TenantStanding | KeyStanding | IssuerStanding, *, verified: bool) -> Rights:
    """What the tenant may use. `verified`: whether the person's address is."""
    state = get_effective_state(tenant.tenant_state, verified=verified)
    live_tenant_id = "" if isinstance(tenant, IssuerStanding) else tenant.live_tenant_id
    facts = live_tenant_id or tenant.tenant_id, tenant.rights_version, tenant.epoch, state
    rights = rights_cache.find_rights(*facts)
    if rights is None:
        async with db.transaction(tenant_id=facts[0]) as session:
            rights = await rights_cache.get_rights(session, *facts)
    rights = siblings.limit_to_test_mode(rights) if live_tenant_id else rights
    if not live_tenant_id:  # a test tenant has the smallest weight
        tenant_weights.note_plan(tenant.tenant_id, rights.plan)
    return add_suspension(rights, tenant.suspension_message)


async def _is_genuine(standing: Standing, token_hash: str) -> bool:
    facts = SessionFacts(standing.session_id, token_hash, standing.user_id, standing.session_factors)
    return await sessions.is_genuine(realms.USER, facts, standing.session_proof)


async def _touch(standing: Standing, tenant: TenantStanding | None, token_hash: str) -> None:
    """Note that the session and the active member were seen, where that was long ago."""
    touches_session = sessions.is_touch_due(standing.session_seen_at)
    touches_membership = tenant is not None and _is_seen_outdated(tenant.seen_at)
    if not touches_session and not touches_membership:
        return
    tenant_id = (tenant.live_tenant_id or tenant.tenant_id) if tenant is not None else ""
    async with db.transaction(tenant_id=tenant_id) as session:
        if touches_session:
            await sessions.touch_by_hash(session, realms.USER, token_hash)
        if tenant is not None and touches_membership:
            await repository.touch_membership(session, tenant_id, standing.user_id, SEEN_UPDATE_INTERVAL)


async def authenticate_operator(cookies: str, *, touches: bool = True) -> Principal | None:
    async with db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        if operator_session is None or operator_session.person.disabled_at is not None:
            return None
        operator: Operator = operator_session.person
        if touches:
            await sessions.touch(session, realms.OPERATOR, operator_session)
        return Principal(
            operator_session.session_hash,
            operator.id,
            OPERATOR_ROLES[operator.role].permissions,
            admission=admit_operator(operator, operator_session.session_hash),
        )


async def list_memberships(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """All memberships of this user, including ended ones. Needs `db.set_user` in the transaction."""
    return await repository.list_memberships(session, user_id)


async def list_user_tenants(cookies: str) -> list[UserTenant]:
    """The tenants of the signed-in person, by name. Raises NotSignedIn."""
    async with db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        if user_session is None:
            raise NotSignedIn
        return await _list_user_tenants(session, user_session.subject_id)


async def list_actor_tenants(ctx: Ctx) -> list[UserTenant]:
    """As `list_user_tenants`, for the person of a context."""
    return await _list_user_tenants(ctx.session, ctx.actor_id)


async def _list_user_tenants(session: AsyncSession, user_id: str) -> list[UserTenant]:
    return [
        UserTenant(slug, name, roles.build_role(role), state)
        for slug, name, state, role in await repository.list_tenants_with_roles(session, user_id)
    ]


async def _build_ctx(
    session: AsyncSession,
    tenant: EnteredTenant,
    actor: Actor,
    role: Role,
    *,
    request_id: str = "",
    session_hash: str = "",
    verified: bool = True,
    key_holder_id: str = "",
    scopes: frozenset[str] | None = None,
    operator_key_id: str = "",
    surface: Surface = "page",
) -> Ctx:
    state = get_effective_state(tenant.state.value, verified=verified)
    epoch = await repository.get_epoch(session)
    async with repository.in_tenant(session, tenant.rights_tenant_id, then=tenant.tenant_id):
        rights = await rights_cache.get_rights(
            session, tenant.rights_tenant_id, tenant.rights_version, epoch, state
        )
    rights = siblings.limit_to_test_mode(rights) if tenant.live_tenant_id else rights
    if not tenant.live_tenant_id:
        tenant_weights.note_plan(tenant.tenant_id, rights.plan)
    rights = add_suspension(rights, tenant.suspension_message)
    admission = TenantAdmission(
        *(tenant.tenant_id, tenant.slug, tenant.name, state, actor, role, rights, session_hash),
        key_holder_id=key_holder_id,
        scopes=scopes,
        live_tenant_id=tenant.live_tenant_id,
        operator_key_id=operator_key_id,
    )
    return _build_admitted_ctx(session, admission, request_id, surface=surface)


def _build_admitted_ctx(
    session: AsyncSession, admission: TenantAdmission, request_id: str = "", *, surface: Surface
) -> Ctx:
    request_ids.note_tenant(admission.tenant_id, admission.actor, admission.rights)
    return Ctx(
        tenant_id=admission.tenant_id,
        slug=admission.slug,
        tenant_name=admission.tenant_name,
        tenant_state=admission.tenant_state,
        actor=admission.actor,
        role=admission.role.key,
        role_name=admission.role.name,
        permissions=admission.role.permissions,
        rights=admission.rights,
        request_id=request_id or request_ids.current(),
        session=session,
        session_hash=admission.session_hash,
        key_holder_id=admission.key_holder_id,
        scopes=admission.scopes,
        live_tenant_id=admission.live_tenant_id,
        operator_key_id=admission.operator_key_id,
        impersonation=admission.impersonation,
        surface=surface,
    )


def _build_operator_ctx(session: AsyncSession, admission: OperatorAdmission) -> OperatorCtx:
    """Reads and checks nothing: whoever made the admission has."""
    request_ids.note_actor(admission.actor)
    return OperatorCtx(
        actor=admission.actor,
        role=admission.role,
        permissions=admission.permissions,
        request_id=request_ids.current(),
        session=session,
        session_hash=admission.session_hash,
        key_id=admission.key_id,
        scopes=admission.scopes,
    )


def _is_seen_outdated(seen_at: datetime | None) -> bool:
    return seen_at is None or seen_at < now() - SEEN_UPDATE_INTERVAL


def _is_verified(user: User) -> bool:
    return user.email_verified_at is not None


async def _record_cross_tenant_attempt(user_id: str, slug: str) -> None:
    """Record the attempt in its own transaction, because the caller raises and rolls back."""
    request_id = request_ids.current()
    log.get_logger(__name__).warning(
        "cross_tenant_attempt", tenant_id="-", actor_id=user_id, request_id=request_id
    )
    async with db.transaction() as session:
        subject = slug if slug.isascii() and slug.isprintable() else "unprintable"
        await audit_log.record_security_event(session, "cross_tenant_attempt", user_id, subject, request_id)
