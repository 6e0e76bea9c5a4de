"""The only door into a tenant: from a session, an invitation, a job or an operator's reason to a `Ctx`.

The slug in an address is a wish. What counts is read anew every time: session, person, membership, tenant. A slug
that does not exist and one that is somebody else's give the same answer.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import decision_counts
from shared.access.permissions import OperatorPermission, Permission
from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES, Role
from shared.audit import audit_log
from shared.core import db, log
from shared.core.context import Actor, Ctx, OperatorCtx, Rights
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.core.stated_reason import clean_reason
from shared.entitlements import rights_cache
from shared.identity import realms, sessions
from shared.identity.models import Operator, User
from shared.tenancy import entry_repository as repository
from shared.tenancy import roles
from shared.tenancy.models import Membership, MembershipState, Tenant, TenantState

NOT_FOUND_MESSAGE = "There is nothing at this address."
NOT_FOUND_STEP = "Check the address, or choose one of your organisations."
SEEN_UPDATE_INTERVAL = timedelta(minutes=5)
VISIT_DURATION = timedelta(minutes=30)  # looking again for the same reason is the same look
# What an operator may do inside a tenant: look. Changing something is an operator action of its own.
VISITOR_PERMISSIONS = {
    OperatorPermission.TENANT_READ: frozenset(
        {
            Permission.AUDIT_READ,
            Permission.HOME_READ,
            Permission.MEMBER_READ,
            Permission.ROLE_READ,
            Permission.SETTINGS_READ,
        }
    )
}


# Of those who are nowhere. Nothing is decided from it: without a permission nobody gets as far.
NO_RIGHTS = Rights("", "", "", "none", frozenset(), {}, frozenset(), {}, {})
NO_ROLE = Role("", "", "", frozenset())


@dataclass(frozen=True, slots=True)
class Principal:
    """What a session may do at an address: for those who look before a transaction is opened."""

    session_hash: str = field(repr=False)
    user_id: str  # or the operator's id
    permissions: frozenset[str] = frozenset()
    tenant_id: str = ""  # "" when the address is nobody's or somebody else's
    rights: Rights = NO_RIGHTS
    ended_message: str = ""  # why a former member may not enter, and
    ended_step: str = ""  # what they can do about it

    @property
    def actor_id(self) -> str:
        return self.user_id


class Authenticator(Protocol):
    async def __call__(self, cookies: str, slug: str, *, touches: bool) -> Principal | None: ...


@dataclass(frozen=True, slots=True)
class UserTenant:
    slug: str
    name: str
    role: Role
    state: str  # of the tenant


@asynccontextmanager
async def enter_tenant(cookies: str, slug: str) -> AsyncIterator[Ctx]:
    """`cookies`: the Cookie header. Raises NotSignedIn, NotFound, Refused (membership_ended)."""
    async with decision_counts.counting_decisions() as decisions, db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        user = await repository.get_user(session, user_session.subject_id) if user_session else None
        if user_session is None or user is None:
            raise NotSignedIn
        await db.set_user(session, user.id)
        membership_row = await repository.get_membership_by_slug(session, user.id, slug)
        if membership_row is not None:
            membership, tenant, role, epoch = membership_row
            if (ended := _build_ended_refusal(membership, tenant)) is not None:
                raise ended
            await db.set_tenant(session, tenant.id)
            ctx = await _build_ctx(
                session,
                tenant,
                Actor("user", user.id, user.name),
                roles.build_role(role),
                epoch=epoch,
                session_hash=user_session.session_hash,
                verified=_is_verified(user),
            )
            decisions.set_context(ctx)
            yield ctx
            return
    await _record_cross_tenant_attempt(user_session.subject_id, slug)
    raise NotFound(NOT_FOUND_MESSAGE, NOT_FOUND_STEP)


@asynccontextmanager
async def enter_job(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    """Raises Refused for a tenant that may not work any more: the job is skipped, with this reason."""
    async with (
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=tenant_id) as session,
    ):
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.state is TenantState.DELETED:
            raise Refused("This organisation has been deleted.", reason="tenant_deleted")
        if tenant.state is TenantState.SUSPENDED:
            raise Refused("This organisation is suspended.", reason="tenant_suspended")
        # The person who caused the job was asked then; the job itself may do what its tenant may.
        ctx = await _build_ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)
        decisions.set_context(ctx)
        yield ctx


@asynccontextmanager
async def enter_billing_sync(tenant_id: str, task: str, request_id: str = "") -> AsyncIterator[Ctx]:
    """For what the payment provider says of a tenant, which is written down whatever the tenant's own state is.

    Raises NotFound.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.", "")
        yield await _build_ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)


@asynccontextmanager
async def enter_invitation(tenant_id: str, actor: Actor) -> AsyncIterator[Ctx]:
    """For somebody who holds a link of this tenant and is no member: no role, no permission.

    Raises NotFound, Refused for a tenant that is suspended: nobody enters it, not by joining either.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.state is TenantState.DELETED:
            raise NotFound(
                "This invitation no longer exists.", "Ask the person who invited you for a new one."
            )
        if tenant.state is TenantState.SUSPENDED:
            raise Refused(
                f"{tenant.name} is suspended, so nobody can join it now.",
                "Ask the person who invited you. The link works again if the organisation is restored in time.",
                reason="tenant_suspended",
            )
        yield await _build_ctx(session, tenant, actor, NO_ROLE)


async def enter_founder(session: AsyncSession, tenant: Tenant, user: User) -> Ctx:
    """For the transaction that has just added `tenant`, with its founder as owner."""
    actor = Actor("user", user.id, user.name)
    return await _build_ctx(session, tenant, actor, ROLES[OWNER], verified=_is_verified(user))


@asynccontextmanager
async def enter_operator(cookies: str) -> AsyncIterator[OperatorCtx]:
    """Raises NotSignedIn."""
    async with db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        operator = (
            await repository.get_operator(session, operator_session.subject_id) if operator_session else None
        )
        if operator_session is None or operator is None or operator.disabled_at is not None:
            raise NotSignedIn
        yield _build_operator_ctx(session, operator, operator_session.session_hash)


async def enter_operator_account(session: AsyncSession, operator_id: str, session_hash: str) -> OperatorCtx:
    """For an operator's own account, in the transaction that changes it. Raises NotSignedIn."""
    operator = await repository.get_operator(session, operator_id)
    if operator is None or operator.disabled_at is not None:
        raise NotSignedIn
    return _build_operator_ctx(session, operator, session_hash)


@asynccontextmanager
async def enter_platform(name: str) -> AsyncIterator[OperatorCtx]:
    """For the command line of whoever runs the platform: the operator role of the database, every permission."""
    async with db.transaction("operator") as session:
        yield OperatorCtx(
            actor=Actor("operator", "opr_platform", name),
            role="owner",
            permissions=OPERATOR_ROLES["owner"].permissions,
            request_id=log.new_request_id(),
            session=session,
        )


@asynccontextmanager
async def enter_as_operator(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """An operator inside one tenant, in the operator's transaction; the tenant's own trail says so.

    Raises Invalid without a reason, NotFound. What is added inside belongs to the tenant.
    """
    reason = clean_reason(reason)
    await db.set_tenant(octx.session, tenant_id)
    try:
        tenant = await repository.get_tenant(octx.session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.", "Search for it in the list of tenants.")
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
        )
        already_recorded = await repository.has_recent_visit(
            octx.session, tenant_id, octx.actor_id, reason, VISIT_DURATION
        )
        if not already_recorded:
            audit_log.record(ctx, "operator.looked", tenant_id, reason=reason)
        yield ctx
    except BaseException:
        # The transaction is lost anyway; what remains must not be flushed into another tenant.
        octx.session.expunge_all()
        raise
    await db.clear_scope(octx.session)


@asynccontextmanager
async def read_across_tenants(octx: OperatorCtx, reason: str) -> AsyncIterator[AsyncSession]:
    """Reading across tenants, for a stated reason, which goes into the operators' trail. Raises Invalid without."""
    reason = clean_reason(reason)
    await record_cross_tenant_read(octx, reason)
    await db.clear_scope(octx.session, reason=reason)
    yield octx.session
    await db.clear_scope(octx.session)


async def record_cross_tenant_read(octx: OperatorCtx, reason: str, **details: str) -> None:
    """The line of reading across tenants. Another reading for the same reason and with the same details is the same."""
    if not await repository.has_recent_cross_tenant_read(
        octx.session, octx.actor_id, reason, details, VISIT_DURATION
    ):
        audit_log.record_operator(octx, "tenants.read_across", "*", reason=reason, **details)


async def authenticate(cookies: str, slug: str, *, touches: bool = True) -> Principal | None:
    """None without a live session. Asked by the HTTP guard and before every event.

    `touches`: a person did something, so that the idle clock begins anew.
    """
    async with db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        user = await repository.get_user(session, user_session.subject_id) if user_session else None
        if user_session is None or user is None:
            return None
        if touches:
            await sessions.touch(session, realms.USER, user_session)
        signed_in_user = Principal(user_session.session_hash, user.id)
        if not slug:
            return signed_in_user
        await db.set_user(session, user.id)
        membership_row = await repository.get_membership_by_slug(session, user.id, slug)
        if membership_row is not None:
            membership, tenant, role, epoch = membership_row
            ended, rights = _build_ended_refusal(membership, tenant), NO_RIGHTS
            if ended is None:
                await db.set_tenant(session, tenant.id)
                state = _get_effective_state(tenant, verified=_is_verified(user))
                rights = await rights_cache.get_rights(
                    session, tenant.id, tenant.rights_version, epoch, state
                )
                if touches:
                    await repository.touch_membership(session, tenant.id, user.id, SEEN_UPDATE_INTERVAL)
            return Principal(
                user_session.session_hash,
                user.id,
                frozenset() if ended else roles.build_role(role).permissions,
                tenant.id,
                rights,
                ended.detail if ended else "",
                ended.next_step if ended else "",
            )
    await _record_cross_tenant_attempt(user.id, slug)
    return signed_in_user


async def authenticate_operator(cookies: str, *, touches: bool = True) -> Principal | None:
    async with db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        operator = (
            await repository.get_operator(session, operator_session.subject_id) if operator_session else None
        )
        if operator_session is None or operator is None or operator.disabled_at is not None:
            return None
        if touches:
            await sessions.touch(session, realms.OPERATOR, operator_session)
        return Principal(
            operator_session.session_hash, operator.id, OPERATOR_ROLES[operator.role].permissions
        )


async def list_memberships(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """For a transaction that looks as this person (`db.look_as`): where they belong, ended memberships too."""
    return await repository.list_memberships(session, user_id)


async def list_user_tenants(cookies: str) -> list[UserTenant]:
    """The tenants of the signed-in person, by name. Raises NotSignedIn."""
    async with db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        if user_session is None:
            raise NotSignedIn
        await db.set_user(session, user_session.subject_id)
        return [
            UserTenant(tenant.slug, tenant.name, roles.build_role(role), tenant.state.value)
            for membership, tenant, role in await repository.list_memberships_with_roles(
                session, user_session.subject_id
            )
            if membership.state is MembershipState.ACTIVE and tenant.state is not TenantState.DELETED
        ]


async def _build_ctx(
    session: AsyncSession,
    tenant: Tenant,
    actor: Actor,
    role: Role,
    *,
    epoch: int | None = None,
    request_id: str = "",
    session_hash: str = "",
    verified: bool = True,
) -> Ctx:
    state = _get_effective_state(tenant, verified=verified)
    if epoch is None:
        epoch = await repository.get_epoch(session)
    return Ctx(
        tenant_id=tenant.id,
        slug=tenant.slug,
        tenant_name=tenant.name,
        tenant_state=state,
        actor=actor,
        role=role.key,
        role_name=role.name,
        permissions=role.permissions,
        rights=await rights_cache.get_rights(session, tenant.id, tenant.rights_version, epoch, state),
        request_id=request_id or log.new_request_id(),
        session=session,
        session_hash=session_hash,
    )


def _build_operator_ctx(session: AsyncSession, operator: Operator, session_hash: str) -> OperatorCtx:
    return OperatorCtx(
        actor=Actor("operator", operator.id, operator.name),
        role=operator.role,
        permissions=OPERATOR_ROLES[operator.role].permissions,
        request_id=log.new_request_id(),
        session=session,
        session_hash=session_hash,
    )


def _is_verified(user: User) -> bool:
    return user.email_verified_at is not None


def _get_effective_state(tenant: Tenant, *, verified: bool) -> str:
    """A person who has not verified their address works nowhere, as if the tenant itself were unverified."""
    return tenant.state.value if verified else TenantState.PENDING_VERIFICATION.value


def _build_ended_refusal(membership: Membership, tenant: Tenant) -> Refused | None:
    if membership.state is MembershipState.ACTIVE:
        return None
    day = f"{membership.ended_at:%-d %B %Y}" if membership.ended_at else "an unknown day"
    past_verb = "removed you from" if membership.state is MembershipState.REMOVED else "deactivated you in"
    return Refused(
        f"{membership.ended_by or 'Somebody'} {past_verb} {tenant.name} on {day}.",
        f"Ask an owner of {tenant.name} to let you in again.",
        reason="membership_ended",
    )


async def _record_cross_tenant_attempt(user_id: str, slug: str) -> None:
    """In a transaction of its own, because the one that found out is about to be rolled back."""
    request_id = log.new_request_id()
    log.get_logger(__name__).warning(
        "cross_tenant_attempt", tenant_id="-", actor_id=user_id, request_id=request_id
    )
    async with db.transaction() as session:
        subject = slug if slug.isascii() and slug.isprintable() else "unprintable"
        await audit_log.record_security_event(session, "cross_tenant_attempt", user_id, subject, request_id)
