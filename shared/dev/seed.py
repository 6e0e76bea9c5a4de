"""The demo cast, made through the services and only where it is missing: whoever was removed stays removed."""

from dataclasses import dataclass
from datetime import timedelta

import pyotp
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.config import Misconfigured, settings
from shared.core.db import now
from shared.core.errors import Conflict
from shared.entitlements import holdings
from shared.identity import mfa, operators, passwords, users
from shared.identity.models import User
from shared.identity.realms import OPERATOR
from shared.tenancy import entry, invitations, provisioning, signups, tenants
from shared.tenancy.models import Tenant

GRACE = timedelta(days=7)
NEED_NO_MAIL = (
    "settings",
    "plan",
    "flags",
    "billing",
    "checklist",
)  # steps done here; the worker does those that send mail


@dataclass(frozen=True, slots=True)
class House:
    name: str
    plan: str
    owner: str
    others: tuple[tuple[str, str], ...] = ()  # email, role
    past_due: bool = False


PEOPLE = {
    "ann@acme.test": "Ann Keller",
    "adam@acme.test": "Adam Ortiz",
    "max@acme.test": "Max Brandt",
    "gil@globex.test": "Gil Marchetti",
    "ida@initech.test": "Ida Novak",
    "carl@nowhere.test": "Carl Winter",  # belongs to nobody
}
HOUSES = (
    House("Acme", "business", "ann@acme.test", (("adam@acme.test", "admin"), ("max@acme.test", "member"))),
    House("Globex", "starter", "gil@globex.test", (("ann@acme.test", "viewer"),)),
    House("Initech", "starter", "ida@initech.test", past_due=True),
)
OPERATORS = {
    "olga@bulkhead.test": ("Olga Berg", "owner"),
    "sam@bulkhead.test": ("Sam Reyes", "support"),
}


async def seed() -> None:
    if settings().production:
        raise Misconfigured("the demo cast is for development")
    people = {email: await _person(email, name) for email, name in PEOPLE.items()}
    for house in HOUSES:
        await _house(house, people)
    for email, (name, role) in OPERATORS.items():
        await _operator(email, name, role)
    await db.dispose()  # this event loop ends here


async def _person(email: str, name: str) -> User:
    async with db.transaction() as session:
        known = await users.get_by_email(session, email)
        return known or await users.create(session, email, name, await _password(), verified=True)


async def _house(house: House, people: dict[str, User]) -> None:
    owner = people[house.owner]
    if not await _belongs(owner, house.name):
        await _found(house, owner)
    for email, role in house.others:
        if not await _belongs(people[email], house.name):
            await _join(house, owner, people[email], role)


async def _belongs(person: User, name: str) -> bool:
    """Or did belong."""
    async with db.transaction(user_id=person.id) as session:
        return await _standing(session, person, name) is not None


async def _standing(session: AsyncSession, person: User, name: str) -> Tenant | None:
    for _, tenant in await entry.list_standings(session, person.id):
        if tenant.name == name:
            return tenant
    return None


async def _found(house: House, owner: User) -> None:
    async with db.transaction() as session:
        tenant = await signups.create_tenant(session, owner, house.name)
        ctx = await entry.enter_founder(session, tenant, owner)
        while await provisioning.run_next(ctx) != NEED_NO_MAIL[-1]:
            pass
        _, catalogue = await holdings.facts(ctx)
        offer = catalogue.by_key(house.plan, now())
        assert offer is not None
        await holdings.assign(ctx, offer, "Demo cast")
        if house.past_due:
            await holdings.set_billing(ctx, "grace", "The last payment failed")
            await holdings.set_billing(
                ctx, "read_only", "Seven days without a payment", starts_at=now() + GRACE
            )
        await tenants.finish_onboarding(ctx)


async def _join(house: House, owner: User, person: User, role: str) -> None:
    """As everybody comes in: invited by the owner, who still has to be one, and accepted."""
    async with db.transaction(user_id=owner.id) as session:
        tenant = await _standing(session, owner, house.name)
        if tenant is None:
            return
        await db.enter(session, tenant.id)
        ctx = await entry.enter_founder(session, tenant, owner)
        try:
            invitation = await invitations.invite(ctx, person.email, role)
        except Conflict:  # invited again by somebody in the meantime: theirs to accept
            return
    await invitations.accept(invitations.link(invitation).partition("token=")[2], person.id)


async def _operator(email: str, name: str, role: str) -> None:
    async with entry.enter_platform("demo") as octx:
        try:
            password = settings().demo_password.get_secret_value()
            made = await operators.create(octx, email, role, name, password=password, reason="Demo cast")
        except Conflict:
            return
        await mfa.install(octx.session, OPERATOR, made.operator.id, pyotp.random_base32())


async def _password() -> str:
    return await passwords.hash(settings().demo_password.get_secret_value())
