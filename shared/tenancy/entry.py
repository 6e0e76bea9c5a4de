"""Enter a tenant: from a session, an invitation, a job or an operator's visit to a `Ctx`. There is no other way in.

The slug in a URL is untrusted. Session, user, membership and tenant are read at every entry; `enter_admitted` enters with
what `authenticate` read at the beginning of the same event. An unknown and a foreign slug get the same response.
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
from shared.core import connection_shares, db, log, request_ids
from shared.core.context import Actor, Ctx, OperatorCtx, Rights
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.core.stated_reason import REASON_DURATION, clean_reason
from shared.entitlements import rights_cache
from shared.identity import realms, sessions
from shared.identity.models import Operator, User
from shared.tenancy import entry_repository as repository
from shared.tenancy import roles
from shared.tenancy.models import Membership, MembershipState, RoleRow, Tenant, TenantState

NOT_FOUND_MESSAGE = "Page not found."
NOT_FOUND_STEP = "Check the address or choose one of your organisations."
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
        }
    )
}


# Rights of a principal without a tenant. They also have no permissions, so no decision depends on these.
NO_RIGHTS = Rights("", "", "", "none", frozenset(), {}, frozenset(), {}, {})
NO_ROLE = Role("", "", "", frozenset())


@dataclass(frozen=True, slots=True)
class Principal:
    """The permissions of a session at a slug, for checks before the transaction of a handler."""

    session_hash: str = field(repr=False)
    user_id: str  # or the operator's id
    permissions: frozenset[str] = frozenset()
    tenant_id: str = ""  # "" for an unknown or foreign slug
    rights: Rights = NO_RIGHTS
    ended_message: str = ""  # for a former member
    ended_step: str = ""  # what a former member can do
    present_slug: str = ""  # for a member who asked by a former slug, or by the id of the tenant
    admission: "TenantAdmission | OperatorAdmission | None" = field(default=None, repr=False)

    @property
    def actor_id(self) -> str:
        return self.user_id


@dataclass(frozen=True, slots=True)
class TenantAdmission:
    """What `authenticate` read about an active member, so that the handler of the same event need not read it again."""

    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str  # effective for this person
    actor: Actor
    role: Role
    rights: Rights
    session_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperatorAdmission:
    actor: Actor
    role: str
    session_hash: str = field(repr=False)


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
    """`cookies`: the Cookie header. `slug`: also a former one, or the tenant's id.

    Raises NotSignedIn, NotFound, Refused (membership_ended).
    """
    async with (
        connection_shares.hold_session_share(cookies),
        decision_counts.counting_decisions() as decisions,
        db.transaction() as session,
    ):
        user_session = await sessions.find(session, realms.USER, cookies)
        if user_session is None:
            raise NotSignedIn
        user: User = user_session.person
        await db.set_user(session, user.id)
        membership_row = await repository.get_membership_by_slug(session, user.id, slug)
        if membership_row is not None:
            if (ended := _build_ended_refusal(*membership_row[:2])) is not None:
                raise ended
            ctx = _build_admitted_ctx(session, await _admit(session, user_session, membership_row))
            decisions.set_context(ctx)
            yield ctx
            return
        present_slug = await repository.find_present_slug(session, user.id, slug)
    if present_slug:
        async with enter_tenant(cookies, present_slug) as ctx:
            yield ctx
        return
    await _record_cross_tenant_attempt(user_session.subject_id, slug)
    raise NotFound(NOT_FOUND_MESSAGE, NOT_FOUND_STEP)


@asynccontextmanager
async def enter_admitted(admission: TenantAdmission) -> AsyncIterator[Ctx]:
    """Enter with what `authenticate` read a moment before, at the beginning of the same event."""
    async with (
        connection_shares.hold_tenant_share(admission.tenant_id),
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=admission.tenant_id) as session,
    ):
        ctx = _build_admitted_ctx(session, admission)
        decisions.set_context(ctx)
        yield ctx


@asynccontextmanager
async def enter_job(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    """Raises Refused for a suspended or deleted tenant; the worker then skips or delays the job."""
    async with (
        decision_counts.counting_decisions() as decisions,
        db.transaction(tenant_id=tenant_id) as session,
    ):
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.state is TenantState.DELETED:
            raise Refused("This organisation has been deleted.", reason="tenant_deleted")
        if tenant.state is TenantState.SUSPENDED:
            raise Refused("This organisation is suspended.", reason="tenant_suspended")
        # Permissions were checked when the job was enqueued. The job itself has all permissions of its tenant.
        ctx = await _build_ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)
        decisions.set_context(ctx)
        yield ctx


@asynccontextmanager
async def enter_billing_sync(tenant_id: str, task: str, request_id: str = "") -> AsyncIterator[Ctx]:
    """For applying the payment provider's state, in whatever state the tenant is. Raises NotFound."""
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("This tenant doesn't exist.", "")
        yield await _build_ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)


@asynccontextmanager
async def enter_invitation(tenant_id: str, actor: Actor) -> AsyncIterator[Ctx]:
    """For the holder of an invitation link: a context without role and permissions.

    Raises NotFound, Refused for a suspended tenant, which cannot be joined.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.state is TenantState.DELETED:
            raise NotFound(
                "This invitation no longer exists.", "Ask the person who invited you for a new one."
            )
        if tenant.state is TenantState.SUSPENDED:
            raise Refused(
                f"{tenant.name} is suspended, so you can't join it now.",
                "Ask the person who invited you. The link works again if the organisation is restored before it expires.",
                reason="tenant_suspended",
            )
        yield await _build_ctx(session, tenant, actor, NO_ROLE)


async def enter_founder(session: AsyncSession, tenant: Tenant, user: User) -> Ctx:
    """Enter a tenant that this transaction has just created, with `user` as its owner."""
    actor = Actor("user", user.id, user.name)
    return await _build_ctx(session, tenant, actor, ROLES[OWNER], verified=_is_verified(user))


@asynccontextmanager
async def enter_operator(cookies: str) -> AsyncIterator[OperatorCtx]:
    """Raises NotSignedIn."""
    async with db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        if operator_session is None or operator_session.person.disabled_at is not None:
            raise NotSignedIn
        yield _build_operator_ctx(
            session, _admit_operator(operator_session.person, operator_session.session_hash)
        )


@asynccontextmanager
async def enter_admitted_operator(admission: OperatorAdmission) -> AsyncIterator[OperatorCtx]:
    """Enter with what `authenticate_operator` read a moment before, at the beginning of the same event."""
    async with db.transaction("operator") as session:
        yield _build_operator_ctx(session, admission)


async def enter_operator_account(session: AsyncSession, operator_id: str, session_hash: str) -> OperatorCtx:
    """For an operator's own account, in the transaction that changes it. Raises NotSignedIn."""
    operator = await repository.get_operator(session, operator_id)
    if operator is None or operator.disabled_at is not None:
        raise NotSignedIn
    return _build_operator_ctx(session, _admit_operator(operator, session_hash))


@asynccontextmanager
async def enter_platform(name: str) -> AsyncIterator[OperatorCtx]:
    """For the command line: the database's operator role with every operator permission."""
    async with db.transaction("operator") as session:
        yield OperatorCtx(
            actor=Actor("operator", "opr_platform", name),
            role="owner",
            permissions=OPERATOR_ROLES["owner"].permissions,
            request_id=request_ids.current(),
            session=session,
        )


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
            raise NotFound("This tenant doesn't exist.", "Search for it in the list of tenants.")
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
            octx.session, tenant_id, octx.actor_id, reason, REASON_DURATION
        )
        if not already_recorded:
            audit_log.record(ctx, "operator.looked", tenant_id, reason=reason)
        yield ctx
    except BaseException:
        # The transaction will be rolled back. Pending rows must not be flushed into another tenant.
        octx.session.expunge_all()
        raise
    await db.clear_scope(octx.session)


@asynccontextmanager
async def read_across_tenants(octx: OperatorCtx, reason: str) -> AsyncIterator[AsyncSession]:
    """Read across tenants. The reason is recorded in the operator audit log. Raises Invalid without one."""
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

    `touches`: a user action, which extends the idle timeout.
    """
    async with connection_shares.hold_session_share(cookies), db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        if user_session is None:
            return None
        user: User = user_session.person
        if touches:
            await sessions.touch(session, realms.USER, user_session)
        signed_in_user = Principal(user_session.session_hash, user.id)
        if not slug:
            return signed_in_user
        await db.set_user(session, user.id)
        membership_row = await repository.get_membership_by_slug(session, user.id, slug)
        if membership_row is not None:
            membership, tenant = membership_row[:2]
            if (ended := _build_ended_refusal(membership, tenant)) is not None:
                return Principal(
                    user_session.session_hash,
                    user.id,
                    tenant_id=tenant.id,
                    ended_message=ended.detail,
                    ended_step=ended.next_step,
                )
            admission = await _admit(session, user_session, membership_row)
            if touches and _is_seen_outdated(membership):
                await repository.touch_membership(session, tenant.id, user.id, SEEN_UPDATE_INTERVAL)
            return Principal(
                user_session.session_hash,
                user.id,
                admission.role.permissions,
                tenant.id,
                admission.rights,
                admission=admission,
            )
        if present_slug := await repository.find_present_slug(session, user.id, slug):
            return Principal(user_session.session_hash, user.id, present_slug=present_slug)
    await _record_cross_tenant_attempt(user.id, slug)
    return signed_in_user


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
            admission=_admit_operator(operator, operator_session.session_hash),
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
        await db.set_user(session, user_session.subject_id)
        return await _list_user_tenants(session, user_session.subject_id)


async def list_actor_tenants(ctx: Ctx) -> list[UserTenant]:
    """As `list_user_tenants`, for the person of a context, in a transaction of its own."""
    async with db.transaction(user_id=ctx.actor_id) as session:
        return await _list_user_tenants(session, ctx.actor_id)


async def _list_user_tenants(session: AsyncSession, user_id: str) -> list[UserTenant]:
    return [
        UserTenant(tenant.slug, tenant.name, roles.build_role(role), tenant.state.value)
        for membership, tenant, role in await repository.list_memberships_with_roles(session, user_id)
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
    rights = await _get_rights(session, tenant, epoch, state)
    admission = TenantAdmission(tenant.id, tenant.slug, tenant.name, state, actor, role, rights, session_hash)
    return _build_admitted_ctx(session, admission, request_id)


async def _admit(
    session: AsyncSession,
    user_session: sessions.LiveSession,
    membership_row: tuple[Membership, Tenant, RoleRow, int],
) -> TenantAdmission:
    """The transaction belongs to the tenant afterwards. The membership is active."""
    _, tenant, role, epoch = membership_row
    user: User = user_session.person
    await db.set_tenant(session, tenant.id)
    state = _get_effective_state(tenant, verified=_is_verified(user))
    return TenantAdmission(
        tenant.id,
        tenant.slug,
        tenant.name,
        state,
        Actor("user", user.id, user.name),
        roles.build_role(role),
        await _get_rights(session, tenant, epoch, state),
        user_session.session_hash,
    )


async def _get_rights(session: AsyncSession, tenant: Tenant, epoch: int, state: str) -> Rights:
    rights = await rights_cache.get_rights(session, tenant.id, tenant.rights_version, epoch, state)
    return rights.with_suspension_message(tenant.suspension_message) if tenant.suspension_message else rights


def _build_admitted_ctx(session: AsyncSession, admission: TenantAdmission, request_id: str = "") -> Ctx:
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
    )


def _admit_operator(operator: Operator, session_hash: str) -> OperatorAdmission:
    return OperatorAdmission(Actor("operator", operator.id, operator.name), operator.role, session_hash)


def _build_operator_ctx(session: AsyncSession, admission: OperatorAdmission) -> OperatorCtx:
    """Reads and checks nothing: whoever made the admission has."""
    return OperatorCtx(
        actor=admission.actor,
        role=admission.role,
        permissions=OPERATOR_ROLES[admission.role].permissions,
        request_id=request_ids.current(),
        session=session,
        session_hash=admission.session_hash,
    )


def _is_seen_outdated(membership: Membership) -> bool:
    return membership.seen_at is None or membership.seen_at < db.now() - SEEN_UPDATE_INTERVAL


def _is_verified(user: User) -> bool:
    return user.email_verified_at is not None


def _get_effective_state(tenant: Tenant, *, verified: bool) -> str:
    """For a user with an unverified address, every tenant is treated as unverified."""
    return tenant.state.value if verified else TenantState.PENDING_VERIFICATION.value


def _build_ended_refusal(membership: Membership, tenant: Tenant) -> Refused | None:
    if membership.state is MembershipState.ACTIVE:
        return None
    if membership.ended_by_self:
        left_on = f" on {membership.ended_at:%-d %B %Y}" if membership.ended_at else ""
        return Refused(
            f"You left {tenant.name}{left_on}.",
            f"To return, ask an owner of {tenant.name} for a new invitation.",
            reason="membership_ended",
        )
    past_verb = "removed" if membership.state is MembershipState.REMOVED else "deactivated"
    ended_by = f" by {membership.ended_by}" if membership.ended_by else ""
    day = f" on {membership.ended_at:%-d %B %Y}" if membership.ended_at else ""
    return Refused(
        f"Your access to {tenant.name} was {past_verb}{ended_by}{day}.",
        f"Contact an owner of {tenant.name} to restore it.",
        reason="membership_ended",
    )


async def _record_cross_tenant_attempt(user_id: str, slug: str) -> None:
    """Record the attempt in its own transaction, because the caller raises and rolls back."""
    request_id = request_ids.current()
    log.get_logger(__name__).warning(
        "cross_tenant_attempt", tenant_id="-", actor_id=user_id, request_id=request_id
    )
    async with db.transaction() as session:
        subject = slug if slug.isascii() and slug.isprintable() else "unprintable"
        await audit_log.record_security_event(session, "cross_tenant_attempt", user_id, subject, request_id)
