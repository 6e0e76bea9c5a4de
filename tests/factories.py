"""Make things as the product does: through services, never by writing rows that a service would write."""

from dataclasses import dataclass

from sqlmodel import select

from shared.core import db
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import current, holdings
from shared.entitlements.catalogue import Offer
from shared.identity import operators, passwords, sessions, users
from shared.identity.models import User
from shared.identity.realms import OPERATOR, USER
from shared.tenancy import entry, invitations, signups
from shared.tenancy.models import SignUp, Tenant

PASSWORD = "violet teapot under the bridge"
_hash = ""


@dataclass(frozen=True, slots=True)
class Account:
    user: User
    cookie: str


async def password_hash() -> str:
    """Hashed once: it costs what it should."""
    global _hash
    _hash = _hash or await passwords.hash(PASSWORD)
    return _hash


async def account(name: str, *, verified: bool = True) -> Account:
    """A person with an address of their own in every test, signed in."""
    email = f"{name.lower()}.{new_id('x')[-8:]}@{name.lower()}.test"
    hashed = await password_hash()
    async with db.transaction() as session:
        user = await users.create(session, email, name, hashed, verified=verified)
        await session.flush()
    return Account(user, await sign_in(user))


async def sign_in(user: User) -> str:
    async with db.transaction() as session:
        token = await sessions.start(session, USER, user.id)
    return f"{USER.cookie}={token}"


async def tenant(founder: Account, name: str, plan: str = "business") -> Tenant:
    async with db.transaction() as session:
        made = await signups.create_tenant(session, founder.user, name)
        ctx = await entry.enter_founder(session, made, founder.user)
        await holdings.assign(ctx, await offer(ctx, plan), "As the test needs it")
    return made


async def give_plan(owner: Account, slug: str, key: str) -> None:
    async with entry.enter_tenant(owner.cookie, slug) as ctx:
        await holdings.assign(ctx, await offer(ctx, key), "As the test needs it")


async def offer(ctx: Ctx, key: str) -> Offer:
    """What somebody who chooses this plan or add-on now gets."""
    found = (await current.catalogue(ctx.session)).by_key(key, now())
    assert found is not None
    return found


async def founded() -> None:
    """What signing up promised, as the worker does it."""
    async with db.transaction() as session:
        waiting = (await session.exec(select(SignUp.id).order_by(SignUp.id))).all()
    for sign_up_id in waiting:
        async with db.transaction() as session:
            await signups.found(session, sign_up_id)


async def join(owner: Account, slug: str, person: Account, role: str) -> str:
    """By invitation, as people join. Returns the membership's id."""
    async with entry.enter_tenant(owner.cookie, slug) as ctx:
        invitation = await invitations.invite(ctx, person.user.email, role)
        link = invitations.link(invitation)
    await invitations.accept(link.partition("token=")[2], person.user.id)
    return invitation.id


async def operator(name: str, role: str = "owner") -> str:
    """Cookie of an operator who has signed in with both factors."""
    hashed = await password_hash()
    async with entry.enter_platform("tests") as octx:
        email = f"{name.lower()}.{new_id('x')[-8:]}@bulkhead.test"
        made = await operators.create(octx, email, role, name, password=PASSWORD)
        assert hashed
        assert made.operator.created_at <= now()
        token = await sessions.start(octx.session, OPERATOR, made.operator.id, "password+totp")
    return f"{OPERATOR.cookie}={token}"
