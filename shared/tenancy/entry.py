"""Enter a tenant: from a session, an invitation, a job or an operator's visit to a `Ctx`. There is no other way in.

The slug in a URL is untrusted: `enter_tenant` and the others read session, user, membership and tenant each time, and
`enter_admitted` enters with what `authentication` read at the beginning of the same event. An unknown and a foreign slug
get the same response.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy.exc import DBAPIError
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import decision_counts, decision_records
from shared.access.actions import OperatorAction
from shared.access.permissions import OperatorPermission, Permission
from shared.access.refusal_codes import Reason
from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES, Role
from shared.audit import audit_log
from shared.core import connection_shares, db, request_ids, tenant_weights
from shared.core.context import Actor, Approval, Ctx, Impersonation, OperatorCtx, Surface, get_key_actor_type
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.core.stated_reason import REASON_DURATION, clean_reason
from shared.entitlements import rights_cache
from shared.identity import realms, sessions
from shared.identity.models import Operator, User
from shared.tenancy import authentication, operator_attempts, roles, siblings, support_transcript
from shared.tenancy import entry_repository as repository
from shared.tenancy.admissions import (
    OperatorAdmission,
    TenantAdmission,
    add_suspension,
    admit_operator,
    get_effective_state,
)
from shared.tenancy.entry_repository import EnteredTenant
from shared.tenancy.models import Tenant, TenantState

NOT_FOUND_MESSAGE = "Page not found."
NOT_FOUND_STEP = "Check the address or choose one of your organisations."
READ_ONLY_MESSAGE = "Nothing can be changed in a read-only support session."
READ_ONLY_STEP = "End it and start one that allows changes, or ask the customer."
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


@asynccontextmanager
async def enter_tenant(cookies: str, slug: str) -> AsyncIterator[Ctx]:
    """`cookies`: the Cookie header. `slug`: also a former one, or the tenant's id.

    Raises NotSignedIn, NotFound, Refused (membership_ended).
    """
    async with connection_shares.hold_session_share(authentication.get_claimed_hash(cookies)):
        principal = await authentication.authenticate(cookies, slug, touches=False)
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
    """Enter with what `authentication.authenticate` read a moment before, at the beginning of the same event."""
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
    """Enter with what `authentication.authenticate_operator` read a moment before, at the beginning of the same event."""
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
    request_ids.note_tenant(
        admission.tenant_id, admission.actor, admission.rights, impersonation=admission.impersonation
    )
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


def _is_verified(user: User) -> bool:
    return user.email_verified_at is not None
