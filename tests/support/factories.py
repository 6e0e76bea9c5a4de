"""Make things as the product does: through services, never by writing rows that a service would write."""

from dataclasses import dataclass

from sqlmodel import select

from shared.backoffice import operators
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import assignments, rights_cache
from shared.entitlements.catalog import PlanOffer
from shared.identity import passwords, sessions, users
from shared.identity.models import User
from shared.identity.realms import OPERATOR, USER
from shared.tenancy import entry, invitations, signups
from shared.tenancy.models import SignUp, Tenant

PASSWORD = "violet teapot under the bridge"
_hash = ""


@dataclass(frozen=True, slots=True)
class SignedInUser:
    user: User
    cookie: str


async def get_password_hash() -> str:
    """The hash of PASSWORD, computed once because hashing is slow."""
    global _hash
    _hash = _hash or await passwords.hash_password(PASSWORD)
    return _hash


async def create_account(name: str, *, verified: bool = True) -> SignedInUser:
    """A person with an address of their own in every test, signed in."""
    email = f"{name.lower()}.{new_id('x')[-8:]}@{name.lower()}.test"
    hashed = await get_password_hash()
    async with db.transaction() as session:
        user = await users.create(session, email, name, hashed, verified=verified)
        await session.flush()
    return SignedInUser(user, await sign_in(user))


async def sign_in(user: User) -> str:
    async with db.transaction() as session:
        token = await sessions.start(session, USER, user.id)
    return f"{USER.session_cookie}={token}"


async def create_tenant(founder: SignedInUser, name: str, plan: str = "business") -> Tenant:
    async with db.transaction() as session:
        new_tenant = await signups.create_tenant(session, founder.user, name)
        ctx = await entry.enter_founder(session, new_tenant, founder.user)
        await assignments.assign_plan(ctx, await get_offer(ctx, plan), "As the test needs it")
    return new_tenant


async def assign_plan(owner: SignedInUser, slug: str, key: str) -> None:
    async with entry.enter_tenant(owner.cookie, slug) as ctx:
        await assignments.assign_plan(ctx, await get_offer(ctx, key), "As the test needs it")


async def get_offer(ctx: Ctx, key: str) -> PlanOffer:
    """The current offer of a plan or an add-on."""
    plan_offer = (await rights_cache.get_catalog(ctx.session)).find_offer(key, now())
    assert plan_offer is not None
    return plan_offer


async def run_sign_ups() -> None:
    """Complete the pending sign-ups, as the worker does."""
    async with db.transaction() as session:
        sign_up_ids = (await session.exec(select(SignUp.id).order_by(SignUp.id))).all()
    for sign_up_id in sign_up_ids:
        async with db.transaction() as session:
            await signups.complete_sign_up(session, sign_up_id)


async def join_tenant(owner: SignedInUser, slug: str, person: SignedInUser, role: str) -> str:
    """Invite the person and accept the invitation. Returns the id of the invitation."""
    async with entry.enter_tenant(owner.cookie, slug) as ctx:
        invitation = await invitations.invite(ctx, person.user.email, role)
        link = invitations.build_link(invitation)
    await invitations.accept(link.partition("token=")[2], person.user.id)
    return invitation.id


async def create_operator(name: str, role: str = "owner") -> str:
    """Create an operator with a session that has passed both factors. Returns the session cookie."""
    hashed = await get_password_hash()
    async with entry.enter_platform("tests") as octx:
        email = f"{name.lower()}.{new_id('x')[-8:]}@bulkhead.test"
        creation = await operators.create(octx, email, role, name, password=PASSWORD)
        assert hashed
        assert creation.operator.created_at <= now()
        token = await sessions.start(octx.session, OPERATOR, creation.operator.id, "password+totp")
    return f"{OPERATOR.session_cookie}={token}"
