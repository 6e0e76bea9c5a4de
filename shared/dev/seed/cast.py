"""The demo accounts and organisations. Services create only missing ones; removed members stay removed."""

from dataclasses import dataclass
from datetime import timedelta

import pyotp
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice import operators
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.config import ConfigurationError, settings
from shared.core.db import now
from shared.core.errors import Conflict
from shared.dev.seed import api_keys, billing, usage
from shared.entitlements import assignments
from shared.identity import mfa, passwords, users
from shared.identity.models import User
from shared.identity.realms import OPERATOR
from shared.tenancy import entry, invitations, provisioning, signups, tenants, user_tenants
from shared.tenancy.models import Tenant

GRACE_PERIOD = timedelta(days=7)
STEPS_WITHOUT_MAIL = (
    "settings",
    "plan",
    "flags",
    "billing",
    "checklist",
)  # steps done here; the worker does those that send mail


@dataclass(frozen=True, slots=True)
class DemoTenant:
    name: str
    plan: str
    owner: str
    other_members: tuple[tuple[str, str], ...] = ()  # email, role
    past_due: bool = False


PEOPLE = {
    "ann@acme.test": "Ann Keller",
    "adam@acme.test": "Adam Ortiz",
    "max@acme.test": "Max Brandt",
    "gil@globex.test": "Gil Marchetti",
    "ida@initech.test": "Ida Novak",
    "carl@nowhere.test": "Carl Winter",  # has no organisation
}
DEMO_TENANTS = (
    DemoTenant(
        "Acme", "business", "ann@acme.test", (("adam@acme.test", "admin"), ("max@acme.test", "member"))
    ),
    DemoTenant("Globex", "starter", "gil@globex.test", (("ann@acme.test", "viewer"),)),
    DemoTenant("Initech", "starter", "ida@initech.test", past_due=True),
)
OPERATORS = {
    "olga@bulkhead.test": ("Olga Berg", "owner"),
    "sam@bulkhead.test": ("Sam Reyes", "support"),
}


async def seed() -> None:
    if settings().is_production:
        raise ConfigurationError("the demo cast is for development")
    people = {email: await _ensure_user(email, name) for email, name in PEOPLE.items()}
    tenants = {demo_tenant.name: await _ensure_tenant(demo_tenant, people) for demo_tenant in DEMO_TENANTS}
    await billing.seed(tenants)
    await usage.seed(tenants)
    await _ensure_api_keys(DEMO_TENANTS[0].name, people[DEMO_TENANTS[0].owner])
    for email, (name, role) in OPERATORS.items():
        await _ensure_operator(email, name, role)
    await db.dispose()  # this event loop ends here


async def _ensure_user(email: str, name: str) -> User:
    async with db.transaction() as session:
        user = await users.get_by_email(session, email)
        return user or await users.create(session, email, name, await _hash_demo_password(), verified=True)


async def _ensure_tenant(demo_tenant: DemoTenant, people: dict[str, User]) -> str:
    """Create the tenant and its members if they are missing. Returns the id of the tenant."""
    owner = people[demo_tenant.owner]
    if not await _was_ever_member(owner, demo_tenant.name):
        await _create_tenant(demo_tenant, owner)
    for email, role in demo_tenant.other_members:
        if not await _was_ever_member(people[email], demo_tenant.name):
            await _add_member(demo_tenant, owner, people[email], role)
    async with db.transaction(user_id=owner.id) as session:
        tenant = await _find_tenant(session, owner, demo_tenant.name)
        assert tenant is not None
        return tenant.id


async def _was_ever_member(person: User, name: str) -> bool:
    """True for current and former members."""
    async with db.transaction(user_id=person.id) as session:
        return await _find_tenant(session, person, name) is not None


async def _find_tenant(session: AsyncSession, person: User, name: str) -> Tenant | None:
    for _, tenant in await user_tenants.list_memberships(session, person.id):
        if tenant.name == name:
            return tenant
    return None


async def _create_tenant(demo_tenant: DemoTenant, owner: User) -> None:
    async with db.transaction() as session:
        tenant = await signups.create_tenant(session, owner, demo_tenant.name)
        ctx = await entry.enter_founder(session, tenant, owner)
        while await provisioning.run_next_step(ctx) != STEPS_WITHOUT_MAIL[-1]:
            pass
        _, catalogue = await assignments.get_snapshot(ctx)
        offer = catalogue.find_offer(demo_tenant.plan, now())
        assert offer is not None
        await assignments.assign_plan(ctx, offer, "Demo cast")
        if demo_tenant.past_due:
            await assignments.set_billing_status(ctx, "grace", "The last payment failed")
            await assignments.set_billing_status(
                ctx, "read_only", "Seven days without a payment", starts_at=now() + GRACE_PERIOD
            )
        await tenants.finish_onboarding(ctx)


async def _add_member(demo_tenant: DemoTenant, owner: User, person: User, role: str) -> None:
    """Adds a member as the product does: the current owner invites, the person accepts."""
    async with db.transaction(user_id=owner.id) as session:
        tenant = await _find_tenant(session, owner, demo_tenant.name)
        if tenant is None:
            return
        await db.set_tenant(session, tenant.id)
        ctx = await entry.enter_founder(session, tenant, owner)
        try:
            invitation = await invitations.invite(ctx, person.email, role)
        except Conflict:  # invited again in the meantime: that person accepts it
            return
    await invitations.accept(invitations.build_link(invitation).partition("token=")[2], person.id)


async def _ensure_api_keys(tenant_name: str, owner: User) -> None:
    async with db.transaction(user_id=owner.id) as session:
        tenant = await _find_tenant(session, owner, tenant_name)
        assert tenant is not None
        await db.set_tenant(session, tenant.id)
        secret = await api_keys.create_keys(await entry.enter_founder(session, tenant, owner))
    if secret:
        await api_keys.use_key(secret)


async def _ensure_operator(email: str, name: str, role: str) -> None:
    async with entry.enter_platform("demo") as octx:
        try:
            password = settings().demo_password.get_secret_value()
            creation = await operators.create(
                octx, email, role, name, password=password, reason=state_reason(octx, "Demo cast")
            )
        except Conflict:
            return
        await mfa.install_seed(octx.session, OPERATOR, creation.operator.id, pyotp.random_base32())


async def _hash_demo_password() -> str:
    return await passwords.hash_password(settings().demo_password.get_secret_value())
