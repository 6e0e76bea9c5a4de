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

from shared.access import evidence
from shared.access.permissions import OperatorPermission, Permission
from shared.access.roles import OPERATOR_ROLES, OWNER, ROLES, Role
from shared.audit import trail
from shared.core import db, log
from shared.core.ctx import Actor, Ctx, OperatorCtx, Rights
from shared.core.errors import Invalid, NotFound, NotSignedIn, Refused
from shared.entitlements import current
from shared.identity import realms, sessions
from shared.identity.models import Operator, User
from shared.tenancy import entry_repository as repository
from shared.tenancy import roles
from shared.tenancy.models import Membership, MembershipState, Tenant, TenantState

NOTHING_HERE = "There is nothing at this address."
NOTHING_HERE_STEP = "Check the address, or choose one of your organisations."
SEEN_EVERY = timedelta(minutes=5)
LOOK_LASTS = timedelta(minutes=30)  # looking again for the same reason is the same look
LONGEST_REASON = 300
# What an operator may do inside a tenant: look. Changing something is an operator action of its own.
VISITOR = {
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
    ended: str = ""  # why a former member may not enter, and
    ended_step: str = ""  # what they can do about it

    @property
    def actor_id(self) -> str:
        return self.user_id


class Peek(Protocol):
    async def __call__(self, cookies: str, slug: str, *, touches: bool) -> Principal | None: ...


@dataclass(frozen=True, slots=True)
class Place:
    slug: str
    name: str
    role: Role
    state: str  # of the tenant


@asynccontextmanager
async def enter_tenant(cookies: str, slug: str) -> AsyncIterator[Ctx]:
    """`cookies`: the Cookie header. Raises NotSignedIn, NotFound, Refused (membership_ended)."""
    async with evidence.written() as decided, db.transaction() as session:
        found = await sessions.find(session, realms.USER, cookies)
        user = await repository.get_user(session, found.subject_id) if found else None
        if found is None or user is None:
            raise NotSignedIn
        await db.look_as(session, user.id)
        standing = await repository.get_standing(session, user.id, slug)
        if standing is not None:
            membership, tenant, role, epoch = standing
            if (ended := _ended(membership, tenant)) is not None:
                raise ended
            await db.enter(session, tenant.id)
            ctx = await _ctx(
                session,
                tenant,
                Actor("user", user.id, user.name),
                roles.of(role),
                epoch=epoch,
                session_hash=found.session_hash,
                verified=_verified(user),
            )
            decided.by(ctx)
            yield ctx
            return
    await _note_attempt(found.subject_id, slug)
    raise NotFound(NOTHING_HERE, NOTHING_HERE_STEP)


@asynccontextmanager
async def enter_job(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    """Raises Refused for a tenant that may not work any more: the job is skipped, with this reason."""
    async with evidence.written() as decided, db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None or tenant.state is TenantState.DELETED:
            raise Refused("This organisation has been deleted.", reason="tenant_deleted")
        if tenant.state is TenantState.SUSPENDED:
            raise Refused("This organisation is suspended.", reason="tenant_suspended")
        # The person who caused the job was asked then; the job itself may do what its tenant may.
        ctx = await _ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)
        decided.by(ctx)
        yield ctx


@asynccontextmanager
async def enter_books(tenant_id: str, task: str, request_id: str = "") -> AsyncIterator[Ctx]:
    """For what the payment provider says of a tenant, which is written down whatever the tenant's own state is.

    Raises NotFound.
    """
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await repository.get_tenant(session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.", "")
        yield await _ctx(session, tenant, Actor("job", task, task), ROLES[OWNER], request_id=request_id)


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
        yield await _ctx(session, tenant, actor, NO_ROLE)


async def enter_founder(session: AsyncSession, tenant: Tenant, user: User) -> Ctx:
    """For the transaction that has just added `tenant`, with its founder as owner."""
    actor = Actor("user", user.id, user.name)
    return await _ctx(session, tenant, actor, ROLES[OWNER], verified=_verified(user))


@asynccontextmanager
async def enter_operator(cookies: str) -> AsyncIterator[OperatorCtx]:
    """Raises NotSignedIn."""
    async with db.transaction("operator") as session:
        found = await sessions.find(session, realms.OPERATOR, cookies)
        operator = await repository.get_operator(session, found.subject_id) if found else None
        if found is None or operator is None or operator.disabled_at is not None:
            raise NotSignedIn
        yield _octx(session, operator, found.session_hash)


async def enter_self(session: AsyncSession, operator_id: str, session_hash: str) -> OperatorCtx:
    """For an operator's own account, in the transaction that changes it. Raises NotSignedIn."""
    operator = await repository.get_operator(session, operator_id)
    if operator is None or operator.disabled_at is not None:
        raise NotSignedIn
    return _octx(session, operator, session_hash)


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
async def visit(octx: OperatorCtx, tenant_id: str, reason: str) -> AsyncIterator[Ctx]:
    """An operator inside one tenant, in the operator's transaction; the tenant's own trail says so.

    Raises Invalid without a reason, NotFound. What is added inside belongs to the tenant.
    """
    reason = _reason(reason)
    await db.enter(octx.session, tenant_id)
    try:
        tenant = await repository.get_tenant(octx.session, tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.", "Search for it in the list of tenants.")
        permissions = frozenset[str]().union(
            *(inside for own, inside in VISITOR.items() if own in octx.permissions)
        )
        own = OPERATOR_ROLES[octx.role]
        ctx = await _ctx(
            octx.session,
            tenant,
            octx.actor,
            Role(f"operator:{own.key}", own.name, own.sentence, permissions),
            request_id=octx.request_id,
            session_hash=octx.session_hash,
        )
        looked = await repository.has_looked(octx.session, tenant_id, octx.actor_id, reason, LOOK_LASTS)
        if not looked:
            trail.record(ctx, "operator.looked", tenant_id, reason=reason)
        yield ctx
    except BaseException:
        # The transaction is lost anyway; what remains must not be flushed into another tenant.
        octx.session.expunge_all()
        raise
    await db.leave(octx.session)


@asynccontextmanager
async def across(octx: OperatorCtx, reason: str) -> AsyncIterator[AsyncSession]:
    """Reading across tenants, for a stated reason, which goes into the operators' trail. Raises Invalid without."""
    reason = _reason(reason)
    await note_across(octx, reason)
    await db.leave(octx.session, reason=reason)
    yield octx.session
    await db.leave(octx.session)


async def note_across(octx: OperatorCtx, reason: str, **details: str) -> None:
    """The line of reading across tenants. Another reading for the same reason and with the same details is the same."""
    if not await repository.has_read_across(octx.session, octx.actor_id, reason, details, LOOK_LASTS):
        trail.record_operator(octx, "tenants.read_across", "*", reason=reason, **details)


async def peek(cookies: str, slug: str, *, touches: bool = True) -> Principal | None:
    """None without a live session. Asked by the HTTP guard and before every event.

    `touches`: a person did something, so that the idle clock begins anew.
    """
    async with db.transaction() as session:
        found = await sessions.find(session, realms.USER, cookies)
        user = await repository.get_user(session, found.subject_id) if found else None
        if found is None or user is None:
            return None
        if touches:
            await sessions.touch(session, realms.USER, found)
        nobody = Principal(found.session_hash, user.id)
        if not slug:
            return nobody
        await db.look_as(session, user.id)
        standing = await repository.get_standing(session, user.id, slug)
        if standing is not None:
            membership, tenant, role, epoch = standing
            ended, rights = _ended(membership, tenant), NO_RIGHTS
            if ended is None:
                await db.enter(session, tenant.id)
                state = _state(tenant, verified=_verified(user))
                rights = await current.rights(session, tenant.id, tenant.rights_version, epoch, state)
                if touches:
                    await repository.touch_membership(session, tenant.id, user.id, SEEN_EVERY)
            return Principal(
                found.session_hash,
                user.id,
                frozenset() if ended else roles.of(role).permissions,
                tenant.id,
                rights,
                ended.detail if ended else "",
                ended.next_step if ended else "",
            )
    await _note_attempt(user.id, slug)
    return nobody


async def peek_operator(cookies: str, *, touches: bool = True) -> Principal | None:
    async with db.transaction("operator") as session:
        found = await sessions.find(session, realms.OPERATOR, cookies)
        operator = await repository.get_operator(session, found.subject_id) if found else None
        if found is None or operator is None or operator.disabled_at is not None:
            return None
        if touches:
            await sessions.touch(session, realms.OPERATOR, found)
        return Principal(found.session_hash, operator.id, OPERATOR_ROLES[operator.role].permissions)


async def list_standings(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """For a transaction that looks as this person (`db.look_as`): where they belong, ended memberships too."""
    return await repository.list_standings(session, user_id)


async def places(cookies: str) -> list[Place]:
    """The tenants of the signed-in person, by name. Raises NotSignedIn."""
    async with db.transaction() as session:
        found = await sessions.find(session, realms.USER, cookies)
        if found is None:
            raise NotSignedIn
        await db.look_as(session, found.subject_id)
        return [
            Place(tenant.slug, tenant.name, roles.of(role), tenant.state.value)
            for membership, tenant, role in await repository.list_places(session, found.subject_id)
            if membership.state is MembershipState.ACTIVE and tenant.state is not TenantState.DELETED
        ]


async def _ctx(
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
    state = _state(tenant, verified=verified)
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
        rights=await current.rights(session, tenant.id, tenant.rights_version, epoch, state),
        request_id=request_id or log.new_request_id(),
        session=session,
        session_hash=session_hash,
    )


def _octx(session: AsyncSession, operator: Operator, session_hash: str) -> OperatorCtx:
    return OperatorCtx(
        actor=Actor("operator", operator.id, operator.name),
        role=operator.role,
        permissions=OPERATOR_ROLES[operator.role].permissions,
        request_id=log.new_request_id(),
        session=session,
        session_hash=session_hash,
    )


def _verified(user: User) -> bool:
    return user.email_verified_at is not None


def _state(tenant: Tenant, *, verified: bool) -> str:
    """A person who has not verified their address works nowhere, as if the tenant itself were unverified."""
    return tenant.state.value if verified else TenantState.PENDING_VERIFICATION.value


def _ended(membership: Membership, tenant: Tenant) -> Refused | None:
    if membership.state is MembershipState.ACTIVE:
        return None
    day = f"{membership.ended_at:%-d %B %Y}" if membership.ended_at else "an unknown day"
    did = "removed you from" if membership.state is MembershipState.REMOVED else "deactivated you in"
    return Refused(
        f"{membership.ended_by or 'Somebody'} {did} {tenant.name} on {day}.",
        f"Ask an owner of {tenant.name} to let you in again.",
        reason="membership_ended",
    )


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason or len(reason) > LONGEST_REASON:
        raise Invalid(
            "This needs a reason." if not reason else f"A reason has at most {LONGEST_REASON} characters.",
            "Say why in one sentence; it is recorded.",
            fields={"reason": "Missing or too long"},
        )
    return reason


async def _note_attempt(user_id: str, slug: str) -> None:
    """In a transaction of its own, because the one that found out is about to be rolled back."""
    request_id = log.new_request_id()
    log.get(__name__).warning("cross_tenant_attempt", tenant_id="-", actor_id=user_id, request_id=request_id)
    async with db.transaction() as session:
        subject = slug if slug.isascii() and slug.isprintable() else "unprintable"
        await trail.note_security_event(session, "cross_tenant_attempt", user_id, subject, request_id)
