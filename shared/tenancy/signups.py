"""How a tenant comes into being: by signing up, or by somebody who has an account.

Signing up only writes down what was sent, with the same work and the same answer whether or not the address has an
account. A job finds out, and founds. Only the mail differs, and the mail goes to whoever owns the address.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import trail
from shared.core import crypto, db, notices
from shared.core.errors import Conflict, Invalid
from shared.core.limits import Limit, hit
from shared.identity import emails, passwords, users
from shared.identity.models import User
from shared.jobs import queue
from shared.tenancy import entry, names, provisioning, repository
from shared.tenancy.models import Membership, MembershipState, SignUp, Tenant, TenantState

TRIES = 5  # for a free slug
KEPT = timedelta(days=1)  # a sign-up that no job could found, before it is forgotten


@dataclass(frozen=True, slots=True)
class Verified:
    email: str
    user_id: str
    slug: str  # of the tenant to go on with, "" when there is none
    choose: str = ""  # token of a reset link, when the password is still to be chosen


async def sign_up(email: str, password: str, name: str, organisation: str) -> str:
    """An id for the browser to keep: who holds it chose the password. Says nothing of whether the address is known.

    Raises Invalid, with `fields`, and Refused for one mail too many to this address, whether it is known or not.
    """
    email, name, organisation = _checked(email, name, organisation)
    await users.judge_password(password, name, email, organisation)
    await hit(Limit.SIGN_UP_ACCOUNT, crypto.digest(email))  # each is a mail; a form filled in wrongly is none
    sent = SignUp(
        email=email, name=name, organisation=organisation, password_hash=await passwords.hash(password)
    )
    async with db.transaction() as session:
        session.add(sent)
        await queue.put_platform(session, "platform.found", sign_up_id=sent.id)
    return sent.id


async def found(session: AsyncSession, sign_up_id: str) -> None:
    """Person and tenant of a sign-up, and the mail; once. Does nothing for one that is gone.

    All that wait for the address go together, so that the last password is the last one sent, whatever job runs first.
    """
    await repository.delete_old_sign_ups(session, KEPT)
    sent = await repository.get_sign_up(session, sign_up_id)
    if sent is None:
        return
    known = await users.lock_by_email(session, sent.email)
    waiting = await repository.take_sign_ups(session, sent.email)
    if not waiting:  # another job was first
        return
    if known is not None and known.email_verified_at is not None:
        await users.tell_account_exists(session, known.id)
        return
    last = waiting[-1]
    if known is None:
        user = await users.create(session, last.email, last.name, last.password_hash, sign_up_id=last.id)
    else:
        user = known
        await users.replace_unverified(session, user, last.name, last.password_hash, last.id)
    await users.send_verification(session, user.id)
    for organisation in dict.fromkeys(one.organisation for one in waiting):
        if not await _founded_already(session, user, organisation):
            await _found(session, user, organisation, TenantState.PENDING_VERIFICATION)


def _checked(email: str, name: str, organisation: str) -> tuple[str, str, str]:
    """All of it at once, so that a person corrects a form once."""
    wrong: dict[str, str] = {}
    values = []
    for check, value in ((emails.clean, email), (users.clean_name, name), (names.clean_name, organisation)):
        try:
            values.append(check(value))
        except Invalid as problem:
            field = {emails.clean: "email", users.clean_name: "name"}.get(check, "organisation")
            wrong[field] = problem.detail
    if wrong:
        raise Invalid(next(iter(wrong.values())), "Correct what is marked and try again.", fields=wrong)
    return values[0], values[1], values[2]


async def create_tenant(session: AsyncSession, user: User, name: str) -> Tenant:
    """For somebody signed in and verified. A second click within a minute gets the tenant of the first."""
    if user.email_verified_at is None:
        raise Conflict("Your address is not verified yet.", "Open the link in the mail we sent.")
    name = names.clean_name(name)
    await repository.lock_user(session, user.id)
    await db.look_as(session, user.id)
    again = await repository.find_recent_tenant(session, name)
    if again is not None:
        return again
    return await _found(session, user, name, TenantState.ACTIVE)


async def verify(token: str, sign_up_id: str) -> Verified:
    """The address is proven, and tenants that waited for it open. Raises Invalid for a link that does not work.

    `sign_up_id`: as kept by the browser that brings the link, "" for another one.
    """
    async with db.transaction() as session:
        proof = await users.prove(session, token, sign_up_id)
        user = proof.user
        slugs = await open_waiting(session, user)
        return Verified(user.email, user.id, slugs[0] if slugs else "", proof.choose)


async def open_waiting(session: AsyncSession, user: User) -> list[str]:
    """For who has just been verified, however that came: their tenants that waited for it open.

    The slugs of those, or of all of theirs when none waited. What the transaction worked for before is left.
    """
    await db.look_as(session, user.id)
    standings = await entry.list_standings(session, user.id)
    opened = []
    for _, tenant in [one for one in standings if _may_wait(*one)]:
        await db.enter(session, tenant.id)
        ctx = await entry.enter_founder(session, tenant, user)
        row = await repository.lock_tenant(ctx)
        if row.state is not TenantState.PENDING_VERIFICATION:  # an operator may have suspended it meanwhile
            continue
        row.state = TenantState.ACTIVE
        session.add(row)
        trail.record(ctx, "tenant.verified", tenant.id, after={"state": "active"}, email=user.email)
        await notices.page(session, tenant.id, "tenant")
        await provisioning.go_on(ctx)
        await session.flush()
        opened.append(tenant.slug)
    return opened or [tenant.slug for _, tenant in standings]


def _may_wait(membership: Membership, tenant: Tenant) -> bool:
    """Read without a lock, so also one that is suspended: it may be on its way back to waiting."""
    mine = membership.role == "owner" and membership.state is MembershipState.ACTIVE
    return mine and tenant.state in (TenantState.PENDING_VERIFICATION, TenantState.SUSPENDED)


async def _founded_already(session: AsyncSession, user: User, organisation: str) -> bool:
    """Somebody who signs up again before verifying keeps the organisation of that name. Leaves no tenant entered."""
    await db.look_as(session, user.id)
    standings = await entry.list_standings(session, user.id)
    await db.leave(session)
    return any(tenant.name == organisation for _, tenant in standings)


async def _found(session: AsyncSession, user: User, name: str, state: TenantState) -> Tenant:
    for attempt in range(TRIES):
        tenant = Tenant(slug=names.suggest_slug(name, attempt), name=name, state=state)
        await db.enter(session, tenant.id)
        if await repository.add_tenant(session, tenant):
            break
    else:
        raise Conflict("No free address was found for this name.", "Try a longer name.")
    ctx = await entry.enter_founder(session, tenant, user)
    trail.record(
        ctx, "tenant.created", tenant.id, after={"name": name, "slug": tenant.slug, "state": state.value}
    )
    await provisioning.begin(ctx)
    trail.record(ctx, "membership.created", user.id, after={"role": "owner", "member": user.name})
    await session.flush()
    return tenant
