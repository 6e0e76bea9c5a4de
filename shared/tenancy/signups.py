"""Create tenants, by sign-up or for an existing account.

Signing up stores the submission, with the same work and response whether or not the account exists. A job then creates
user and tenant. Only the email differs, and it goes to the owner of the address.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log
from shared.core import crypto, db, live_events
from shared.core.context import Actor
from shared.core.errors import Conflict, Invalid
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.identity import email_addresses, passwords, users
from shared.identity.models import User
from shared.jobs import queue
from shared.tenancy import entry, naming, provisioning, sign_up_repository, tenant_repository, user_tenants
from shared.tenancy.models import Membership, MembershipState, SignUp, Tenant, TenantState

MAX_SLUG_ATTEMPTS = 5
SIGN_UP_RETENTION = timedelta(days=1)  # of a submission that no job could process


@dataclass(frozen=True, slots=True)
class VerificationResult:
    email: str
    user_id: str
    slug: str  # of the tenant to open, "" without one
    reset_token: str = ""  # set when the person must choose a password


async def sign_up(email: str, password: str, name: str, organisation: str) -> str:
    """Store the sign-up and return its id for the browser, as proof that it chose the password.

    Raises Invalid with `fields`, and Refused after too many emails to this address, whether or not an account exists.
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
    """Create user and tenant of a sign-up and enqueue the email. Does nothing when it was processed before.

    Processes all sign-ups of the address together, so that the last submitted password is used.
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
            await found_tenant(session, user, organisation, state=TenantState.PENDING_VERIFICATION)


def _clean_fields(email: str, name: str, organisation: str) -> tuple[str, str, str]:
    """The cleaned values. Raises Invalid with the errors of all fields at once."""
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
        raise Invalid(next(iter(errors.values())), "Correct the marked fields and try again.", fields=errors)
    return values[0], values[1], values[2]


async def create_tenant(session: AsyncSession, user: User, name: str) -> Tenant:
    """Create a tenant for a verified user. A second call with the same name within a minute returns the first tenant.

    Raises Conflict for an unverified user, Invalid for a name that can't be used.
    """
    if user.email_verified_at is None:
        raise Conflict("Your email isn’t verified yet.", "Open the link in the email we sent.")
    name = naming.clean_name(name)
    await sign_up_repository.lock_tenant_creation(session, user.id)
    await db.set_user(session, user.id)
    recent_tenant = await sign_up_repository.find_recent_tenant(session, name)
    if recent_tenant is not None:
        return recent_tenant
    return await found_tenant(session, user, name, state=TenantState.ACTIVE)


async def verify_email(token: str, sign_up_id: str) -> VerificationResult:
    """Verify the address and activate the tenants that waited for it. Raises Invalid for an unusable link.

    `sign_up_id`: the id from this browser's cookie, or "".
    """
    async with db.transaction() as session:
        proof = await users.verify_email(session, token, sign_up_id)
        user = proof.user
        slugs = await open_waiting_tenants(session, user)
        return VerificationResult(user.email, user.id, slugs[0] if slugs else "", proof.reset_token)


async def open_waiting_tenants(session: AsyncSession, user: User) -> list[str]:
    """Activate the tenants that waited for the verification of this user.

    Returns their slugs, or the slugs of all tenants of the user when none waited. Leaves the tenant entered before.
    """
    await db.set_user(session, user.id)
    memberships = await user_tenants.list_memberships(session, user.id)
    opened_slugs = []
    for _, tenant in [pair for pair in memberships if _can_be_waiting(*pair)]:
        await db.set_tenant(session, tenant.id)
        ctx = await entry.enter_founder(session, tenant, user)
        row = await tenant_repository.lock_tenant(ctx)
        if row.state is not TenantState.PENDING_VERIFICATION:  # suspended by an operator meanwhile
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
    """Includes suspended tenants: the row was read without a lock and may be restored meanwhile."""
    is_active_owner = membership.role == "owner" and membership.state is MembershipState.ACTIVE
    return is_active_owner and tenant.state in (TenantState.PENDING_VERIFICATION, TenantState.SUSPENDED)


async def _has_tenant_named(session: AsyncSession, user: User, organisation: str) -> bool:
    """True when a repeated sign-up has already created this organisation. Leaves no tenant entered."""
    await db.set_user(session, user.id)
    memberships = await user_tenants.list_memberships(session, user.id)
    await db.clear_scope(session)
    return any(tenant.name == organisation for _, tenant in memberships)


async def found_tenant(
    session: AsyncSession,
    user: User,
    name: str,
    *,
    state: TenantState,
    slug: str = "",
    founder: Actor | None = None,
    reason: str = "",
) -> Tenant:
    """Create a tenant that `user` owns, and set it up. Leaves it entered.

    `slug`: "" for one made of the name. `founder`: who does it, where that is not the owner, with a reason. Raises
    Conflict for a slug that is taken.
    """
    for attempt in range(1 if slug else MAX_SLUG_ATTEMPTS):
        tenant = Tenant(slug=slug or naming.suggest_slug(name, attempt), name=name, state=state)
        await db.set_tenant(session, tenant.id)
        if await tenant_repository.add_tenant(session, tenant):
            break
    else:
        if slug:
            raise Conflict(f"The address “{slug}” is taken.", "Choose another one.", reason="slug_taken")
        raise Conflict("We couldn’t find a free address for this name.", "Try a longer name.")
    ctx = await entry.enter_founder(session, tenant, user)
    audit_log.record(
        ctx,
        "tenant.created",
        tenant.id,
        after={"name": name, "slug": tenant.slug, "state": state.value},
        actor=founder,
        reason=reason,
    )
    await provisioning.start(ctx)
    owner = {"role": "owner", "member": user.name}
    audit_log.record(ctx, "membership.created", user.id, after=owner, actor=founder, reason=reason)
    await session.flush()
    return tenant
