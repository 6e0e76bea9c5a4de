"""How a tenant comes into being: by signing up, or by somebody who has an account.

Signing up only writes down what was sent, with the same work and the same answer whether or not the address has an
account. A job finds out, and founds. Only the mail differs, and the mail goes to whoever owns the address.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log
from shared.core import crypto, db, live_events
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.identity import email_addresses, passwords, users
from shared.identity.models import User
from shared.jobs import queue
from shared.tenancy import entry, naming, provisioning, sign_up_repository, tenant_repository
from shared.tenancy.models import Membership, MembershipState, SignUp, Tenant, TenantState

MAX_SLUG_ATTEMPTS = 5  # for a free slug
SIGN_UP_RETENTION = timedelta(days=1)  # a sign-up that no job could found, before it is forgotten


@dataclass(frozen=True, slots=True)
class VerificationResult:
    email: str
    user_id: str
    slug: str  # of the tenant to go on with, "" when there is none
    reset_token: str = ""  # token of a reset link, when the password is still to be chosen


async def sign_up(email: str, password: str, name: str, organisation: str) -> str:
    """An id for the browser to keep: who holds it chose the password. Says nothing of whether the address is known.

    Raises Invalid, with `fields`, and Refused for one mail too many to this address, whether it is known or not.
    """
    email, name, organisation = _clean_fields(email, name, organisation)
    await users.require_strong_password(password, name, email, organisation)
    await enforce_rate_limit(
        RateLimit.SIGN_UP_ACCOUNT, crypto.hash_token(email)
    )  # each is a mail; a form filled in wrongly is none
    submission = SignUp(
        email=email,
        name=name,
        organisation=organisation,
        password_hash=await passwords.hash_password(password),
    )
    async with db.transaction() as session:
        session.add(submission)
        await queue.put_platform_job(session, "platform.found", sign_up_id=submission.id)
    return submission.id


async def complete_sign_up(session: AsyncSession, sign_up_id: str) -> None:
    """Person and tenant of a sign-up, and the mail; once. Does nothing for one that is gone.

    All that wait for the address go together, so that the last password is the last one sent, whatever job runs first.
    """
    await sign_up_repository.delete_old_sign_ups(session, SIGN_UP_RETENTION)
    sign_up = await sign_up_repository.get_sign_up(session, sign_up_id)
    if sign_up is None:
        return
    existing_user = await users.lock_by_email(session, sign_up.email)
    sign_ups = await sign_up_repository.pop_sign_ups(session, sign_up.email)
    if not sign_ups:  # another job was first
        return
    if existing_user is not None and existing_user.email_verified_at is not None:
        await users.send_account_exists(session, existing_user.id)
        return
    latest = sign_ups[-1]
    if existing_user is None:
        user = await users.create(
            session, latest.email, latest.name, latest.password_hash, sign_up_id=latest.id
        )
    else:
        user = existing_user
        await users.replace_unverified_user(session, user, latest.name, latest.password_hash, latest.id)
    await users.send_verification(session, user.id)
    for organisation in dict.fromkeys(other_sign_up.organisation for other_sign_up in sign_ups):
        if not await _has_tenant_named(session, user, organisation):
            await _create_tenant(session, user, organisation, TenantState.PENDING_VERIFICATION)


def _clean_fields(email: str, name: str, organisation: str) -> tuple[str, str, str]:
    """All of it at once, so that a person corrects a form once."""
    errors: dict[str, str] = {}
    values = []
    for check, value in (
        (email_addresses.parse_address, email),
        (users.clean_name, name),
        (naming.clean_name, organisation),
    ):
        try:
            values.append(check(value))
        except Invalid as problem:
            field = {email_addresses.parse_address: "email", users.clean_name: "name"}.get(
                check, "organisation"
            )
            errors[field] = problem.detail
    if errors:
        raise Invalid(next(iter(errors.values())), "Correct what is marked and try again.", fields=errors)
    return values[0], values[1], values[2]


async def create_tenant(session: AsyncSession, user: User, name: str) -> Tenant:
    """For somebody signed in and verified. A second click within a minute gets the tenant of the first."""
    if user.email_verified_at is None:
        raise Conflict("Your address is not verified yet.", "Open the link in the mail we sent.")
    name = naming.clean_name(name)
    await sign_up_repository.lock_tenant_creation(session, user.id)
    await db.set_user(session, user.id)
    recent_tenant = await sign_up_repository.find_recent_tenant(session, name)
    if recent_tenant is not None:
        return recent_tenant
    return await _create_tenant(session, user, name, TenantState.ACTIVE)


async def verify_email(token: str, sign_up_id: str) -> VerificationResult:
    """The address is proven, and tenants that waited for it open. Raises Invalid for a link that does not work.

    `sign_up_id`: as kept by the browser that brings the link, "" for another one.
    """
    async with db.transaction() as session:
        proof = await users.verify_email(session, token, sign_up_id)
        user = proof.user
        slugs = await open_waiting_tenants(session, user)
        return VerificationResult(user.email, user.id, slugs[0] if slugs else "", proof.reset_token)


async def open_waiting_tenants(session: AsyncSession, user: User) -> list[str]:
    """For who has just been verified, however that came: their tenants that waited for it open.

    The slugs of those, or of all of theirs when none waited. What the transaction worked for before is left.
    """
    await db.set_user(session, user.id)
    memberships = await entry.list_memberships(session, user.id)
    opened_slugs = []
    for _, tenant in [pair for pair in memberships if _can_be_waiting(*pair)]:
        await db.set_tenant(session, tenant.id)
        ctx = await entry.enter_founder(session, tenant, user)
        row = await tenant_repository.lock_tenant(ctx)
        if row.state is not TenantState.PENDING_VERIFICATION:  # an operator may have suspended it meanwhile
            continue
        row.state = TenantState.ACTIVE
        session.add(row)
        audit_log.record(ctx, "tenant.verified", tenant.id, after={"state": "active"}, email=user.email)
        await live_events.refresh_pages(session, tenant.id, "tenant")
        await provisioning.enqueue_waiting_steps(ctx)
        await session.flush()
        opened_slugs.append(tenant.slug)
    return opened_slugs or [tenant.slug for _, tenant in memberships]


def _can_be_waiting(membership: Membership, tenant: Tenant) -> bool:
    """Read without a lock, so also one that is suspended: it may be on its way back to waiting."""
    is_active_owner = membership.role == "owner" and membership.state is MembershipState.ACTIVE
    return is_active_owner and tenant.state in (TenantState.PENDING_VERIFICATION, TenantState.SUSPENDED)


async def _has_tenant_named(session: AsyncSession, user: User, organisation: str) -> bool:
    """Somebody who signs up again before verifying keeps the organisation of that name. Leaves no tenant entered."""
    await db.set_user(session, user.id)
    memberships = await entry.list_memberships(session, user.id)
    await db.clear_scope(session)
    return any(tenant.name == organisation for _, tenant in memberships)


async def _create_tenant(session: AsyncSession, user: User, name: str, state: TenantState) -> Tenant:
    for attempt in range(MAX_SLUG_ATTEMPTS):
        tenant = Tenant(slug=naming.suggest_slug(name, attempt), name=name, state=state)
        await db.set_tenant(session, tenant.id)
        if await tenant_repository.add_tenant(session, tenant):
            break
    else:
        raise Conflict("No free address was found for this name.", "Try a longer name.")
    ctx = await entry.enter_founder(session, tenant, user)
    audit_log.record(
        ctx, "tenant.created", tenant.id, after={"name": name, "slug": tenant.slug, "state": state.value}
    )
    await provisioning.start(ctx)
    audit_log.record(ctx, "membership.created", user.id, after={"role": "owner", "member": user.name})
    await session.flush()
    return tenant
