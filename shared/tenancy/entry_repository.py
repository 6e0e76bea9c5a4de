"""SQL of `entry`: memberships of users, operators and visits."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, column, func, table, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.models import AuditEvent, OperatorEvent
from shared.core import db
from shared.core.db import RawConnection, now
from shared.identity.models import Operator, User
from shared.tenancy.key_texts import ClaimedKey
from shared.tenancy.models import (
    Membership,
    MembershipState,
    RoleRow,
    ServiceAccount,
    Tenant,
    TenantState,
)
from shared.tenancy.siblings import name_test_tenant
from shared.tenancy.token_texts import ClaimedToken

CATALOG_EPOCH = select(column("number", BigInteger)).select_from(table("entitlement_epoch")).scalar_subquery()
AUTHENTICATE = "select * from authenticate_user(%s, %s)"
AUTHENTICATE_KEY = "select * from authenticate_key(%s, %s)"
AUTHENTICATE_TEST_KEY = "select * from authenticate_test_key(%s, %s)"
FIND_TEST_STANDING = "select * from find_test_standing(%s, %s)"
AUTHENTICATE_TOKEN = "select * from authenticate_token(%s, %s, %s)"
NOTE_KEY_USE = "select note_key_use(%s, %s)"
LIST_TENANTS = "select * from list_tenants_of_user(%s)"
UNKNOWN_SLUG = "-"  # no slug is this one


class StandingRole(NamedTuple):
    key: str
    name: str
    builtin: bool
    sentence: str
    permissions: Sequence[str]
    deleted_at: datetime | None
    version: int


class TenantStanding(NamedTuple):
    """What a person is in a tenant: an active or a former member."""

    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str
    suspension_message: str
    rights_version: int
    membership_state: str
    ended_at: datetime | None
    ended_by: str
    ended_by_self: bool
    seen_at: datetime | None
    role: StandingRole
    epoch: int  # of the catalog
    live_tenant_id: str = ""  # of a test tenant; state, rights and membership are those of this one


class Standing(NamedTuple):
    """Whose session it is, and what this person is in one tenant."""

    session_id: str
    session_seen_at: datetime
    session_proof: str
    session_factors: str
    user_id: str
    user_name: str
    user_verified: bool
    present_slug: (
        str  # of the tenant that has `slug` as its id or as a former slug, for an active member; else ""
    )
    tenant: TenantStanding | None  # None for an unknown or foreign slug


async def find_standing(connection: RawConnection, token_hash: str, slug: str) -> Standing | None:
    """In one statement, with the row security of its transaction. None without a live session, whose proof the caller checks.

    `slug`: "" asks for the session only.
    """
    if not slug.isascii() or "\0" in slug:
        slug = UNKNOWN_SLUG  # no slug contains these, and the database refuses NUL
    row = await (await connection.execute(AUTHENTICATE, (token_hash, slug))).fetchone()
    if row is None:
        return None
    standing = _read_standing(row)
    if standing.tenant is not None or standing.present_slug or not slug:
        return standing
    return await _add_test_tenant(connection, standing, slug)


async def _add_test_tenant(connection: RawConnection, standing: Standing, slug: str) -> Standing:
    """With the test tenant of this slug or id, if the person is or was a member of its live tenant.

    In a statement of its own, so that live tenants cost no more than without test mode.
    """
    row = await (await connection.execute(FIND_TEST_STANDING, (standing.user_id, slug))).fetchone()
    if row is None:
        return standing
    facts, role, epoch, live_tenant_id = row[:11], row[11:18], row[18], row[19]
    tenant = TenantStanding._make((*facts, StandingRole._make(role), epoch, live_tenant_id))
    tenant = tenant._replace(tenant_name=name_test_tenant(tenant.tenant_name))
    if tenant.slug == slug:
        return standing._replace(tenant=tenant)
    is_member = tenant.membership_state == MembershipState.ACTIVE
    return standing._replace(present_slug=tenant.slug) if is_member else standing


def _read_standing(values: Any) -> Standing:
    """`values`: a row of the function; their types are its declared ones."""
    person, tenant, role, epoch = values[:8], values[8:19], values[19:26], values[26]
    if tenant[0] is None:
        return Standing._make((*person, None))
    return Standing._make((*person, TenantStanding._make((*tenant, StandingRole._make(role), epoch, ""))))


class KeyStanding(NamedTuple):
    """An API key, and what its holder is in the tenant."""

    key_id: str
    key_name: str
    scopes: Sequence[str]
    networks: Sequence[str]
    origins: Sequence[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    is_previous: bool  # the text that a rotation replaced
    previous_ends_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str
    user_id: str  # "" for a service account's key
    service_account_id: str
    holder_name: str
    holder_verified: bool
    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str
    suspension_message: str
    rights_version: int
    role: StandingRole | None  # None when the holder has left or ended, or is disabled
    epoch: int  # of the catalog
    live_tenant_id: str = ""  # of a test tenant, whose members these are


async def find_key_standing(connection: RawConnection, claim: ClaimedKey) -> KeyStanding | None:
    """In one statement, with the row security of the claimed tenant. None where the claimed tenant has no such key.

    A test key is sought in test tenants only, any other one in live tenants only.
    """
    statement = AUTHENTICATE_TEST_KEY if claim.is_test else AUTHENTICATE_KEY
    row = await (await connection.execute(statement, (claim.tenant_id, claim.secret_hash))).fetchone()
    if row is None:
        return None
    facts, epoch, live_tenant_id = row[:28], row[28], row[29] if claim.is_test else ""
    role = StandingRole._make(facts[21:28]) if facts[21] is not None else None
    standing = KeyStanding._make((*facts[:21], role, epoch, live_tenant_id))
    return (
        standing._replace(tenant_name=name_test_tenant(standing.tenant_name)) if claim.is_test else standing
    )


class IssuerStanding(NamedTuple):
    """An issuer whose tokens a tenant accepts, and the roles that it can give."""

    issuer_id: str
    name: str
    issuer: str
    audience: str
    jwks_url: str
    algorithms: Sequence[str]
    tenant_claim: str
    highest_role: str  # key
    role_claim: str  # "" where everybody gets the highest role
    role_map: Sequence[Mapping[str, str]]  # "value" of the claim and "role", the first one that fits counts
    tenant_id: str
    slug: str
    tenant_name: str
    tenant_state: str
    suspension_message: str
    rights_version: int
    epoch: int  # of the catalog
    roles: Mapping[str, StandingRole]  # by key


async def list_issuer_standings(connection: RawConnection, token: ClaimedToken) -> list[IssuerStanding]:
    """In one statement, with the row security of the claimed tenant: its enabled issuers of this name and audience."""
    claimed = token.tenant_id, token.issuer, list(token.audiences)
    facts_by_id: dict[str, tuple[Any, ...]] = {}
    roles_by_id: dict[str, dict[str, StandingRole]] = {}
    for row in await (await connection.execute(AUTHENTICATE_TOKEN, claimed)).fetchall():
        role = StandingRole._make(row[17:])
        facts_by_id[row[0]] = row[:17]
        roles_by_id.setdefault(row[0], {})[role.key] = role
    return [
        IssuerStanding._make((*facts, roles_by_id[issuer_id])) for issuer_id, facts in facts_by_id.items()
    ]


async def note_key_use(session: AsyncSession, key_id: str, address: str) -> None:
    """Of a key of the transaction's tenant, unless the last use that is noted is younger than a minute."""
    connection = await session.connection()
    await connection.exec_driver_sql(NOTE_KEY_USE, (key_id, address))


class EnteredTenant(NamedTuple):
    """A tenant with what `entry` needs of it. State and rights of a test tenant are those of its live one."""

    tenant_id: str
    slug: str
    name: str
    state: TenantState
    suspension_message: str
    rights_version: int
    live_tenant_id: str = ""

    @property
    def rights_tenant_id(self) -> str:
        return self.live_tenant_id or self.tenant_id


async def get_tenant(session: AsyncSession, tenant_id: str) -> EnteredTenant | None:
    """In a transaction of this tenant. Objects that were loaded before are detached where it is a test tenant."""
    tenant = await session.get(Tenant, tenant_id)
    if tenant is None or tenant.live_tenant_id is None:
        return to_entered_tenant(tenant) if tenant is not None else None
    async with in_tenant(session, tenant.live_tenant_id, then=tenant_id):
        live_tenant = await session.get_one(Tenant, tenant.live_tenant_id)
    ending = live_tenant if tenant.state is TenantState.ACTIVE else tenant
    return EnteredTenant(
        tenant.id,
        tenant.slug,
        name_test_tenant(live_tenant.name),
        ending.state,
        ending.suspension_message,
        live_tenant.rights_version,
        live_tenant.id,
    )


def to_entered_tenant(tenant: Tenant) -> EnteredTenant:
    """Of a live tenant."""
    return EnteredTenant(
        tenant.id, tenant.slug, tenant.name, tenant.state, tenant.suspension_message, tenant.rights_version
    )


@asynccontextmanager
async def in_tenant(session: AsyncSession, tenant_id: str, *, then: str) -> AsyncIterator[None]:
    """For reading in the live tenant of a test one. `then`: the tenant of the transaction afterwards.

    After an error the transaction stays where it is, because it is rolled back.
    """
    if tenant_id == then:
        yield
        return
    await db.set_tenant(session, tenant_id)
    yield
    await db.set_tenant(session, then)


class RequesterStanding(NamedTuple):
    """What a person or service account is in the tenant now, and the scopes of the key that they used."""

    name: str
    is_verified: bool
    role: RoleRow
    scopes: Sequence[str] | None  # None without a key, and for a key that has ended


async def find_requester(
    session: AsyncSession, tenant_id: str, holder_id: str, key_id: str, *, live_tenant_id: str = ""
) -> RequesterStanding | None:
    """None when the holder has left or ended, or is disabled. `live_tenant_id`: of a test tenant, whose members these are."""
    members_of = live_tenant_id or tenant_id
    async with in_tenant(session, members_of, then=tenant_id):
        holder = await _find_holder(session, members_of, holder_id)
    if holder is None:
        return None
    name, is_verified, role = holder
    scopes = await _find_scopes(session, tenant_id, holder_id, key_id) if key_id else None
    return RequesterStanding(name, is_verified, role, scopes)


async def _find_holder(
    session: AsyncSession, tenant_id: str, holder_id: str
) -> tuple[str, bool, RoleRow] | None:
    """Name, whether the address is verified, role."""
    of_person = (
        select(User, RoleRow)
        .join(Membership, col(Membership.user_id) == User.id)
        .join(
            RoleRow, (col(RoleRow.tenant_id) == Membership.tenant_id) & (col(RoleRow.key) == Membership.role)
        )
        .where(Membership.tenant_id == tenant_id)
        .where(Membership.state == MembershipState.ACTIVE)
        .where(User.id == holder_id)
        .where(col(User.disabled_at).is_(None))
    )
    if (person := (await session.exec(of_person)).first()) is not None:
        user, role = person
        return user.name, user.email_verified_at is not None, role
    of_account = (
        select(ServiceAccount, RoleRow)
        .join(
            RoleRow,
            (col(RoleRow.tenant_id) == ServiceAccount.tenant_id) & (col(RoleRow.key) == ServiceAccount.role),
        )
        .where(ServiceAccount.tenant_id == tenant_id)
        .where(ServiceAccount.id == holder_id)
        .where(col(ServiceAccount.ended_at).is_(None))
    )
    if (account := (await session.exec(of_account)).first()) is None:
        return None
    return account[0].name, True, account[1]


async def _find_scopes(
    session: AsyncSession, tenant_id: str, holder_id: str, key_id: str
) -> Sequence[str] | None:
    """None for a key that was revoked or has expired. The table belongs to a module above this one."""
    key = table(
        "api_key",
        *(column(name) for name in ("tenant_id", "id", "user_id", "service_account_id")),
        *(column(name) for name in ("scopes", "revoked_at", "expires_at")),
    )
    statement = (
        select(key.c.scopes)
        .where(key.c.tenant_id == tenant_id, key.c.id == key_id, key.c.revoked_at.is_(None))
        .where(func.coalesce(key.c.user_id, key.c.service_account_id) == holder_id)
        .where(key.c.expires_at.is_(None) | (key.c.expires_at > func.now()))
    )
    scopes: Sequence[str] | None = (await session.exec(statement)).first()
    return scopes


async def list_memberships(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """All memberships of this user. Needs `db.set_user`."""
    tenant_ids = select(func.unnest(func.list_user_tenants())).scalar_subquery()
    statement = (
        select(Membership, Tenant)
        .join(Tenant, col(Tenant.id) == Membership.tenant_id)
        .where(col(Membership.tenant_id).in_(tenant_ids))
        .where(Membership.user_id == user_id)
        .order_by(Tenant.name, Tenant.id)
    )
    return (await session.exec(statement)).all()


async def list_tenants_with_roles(
    session: AsyncSession, user_id: str
) -> Sequence[tuple[str, str, str, StandingRole]]:
    """(slug, name, state, role) where this user is an active member, by name. The transaction keeps its tenant."""
    connection = await session.connection()
    rows: Sequence[Any] = (await connection.exec_driver_sql(LIST_TENANTS, (user_id,))).all()
    return [(row[0], row[1], row[2], StandingRole(*row[3:])) for row in rows]


async def get_epoch(session: AsyncSession) -> int:
    connection = await session.connection()
    return int((await connection.execute(select(CATALOG_EPOCH))).scalar_one())


async def get_operator(session: AsyncSession, operator_id: str) -> Operator | None:
    return await session.get(Operator, operator_id)


async def touch_membership(session: AsyncSession, tenant_id: str, user_id: str, every: timedelta) -> None:
    seen = col(Membership.seen_at)
    statement = (
        update(Membership)
        .where(col(Membership.tenant_id) == tenant_id)
        .where(col(Membership.user_id) == user_id)
        .where(seen.is_(None) | (seen < now() - every))
        .values(seen_at=now())
    )
    await session.exec(statement)


async def has_recent_visit(
    session: AsyncSession, tenant_id: str, operator_id: str, reason: str, within: timedelta
) -> bool:
    statement = (
        select(AuditEvent.id)
        .where(AuditEvent.tenant_id == tenant_id)
        .where(AuditEvent.actor_id == operator_id)
        .where(AuditEvent.action == "operator.looked")
        .where(AuditEvent.reason == reason)
        .where(col(AuditEvent.at) > now() - within)
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None


async def has_recent_cross_tenant_read(
    session: AsyncSession, operator_id: str, reason: str, details: dict[str, str], within: timedelta
) -> bool:
    statement = (
        select(OperatorEvent.id)
        .where(OperatorEvent.actor_id == operator_id)
        .where(OperatorEvent.action == "tenants.read_across")
        .where(OperatorEvent.reason == reason)
        .where(OperatorEvent.details == details)
        .where(col(OperatorEvent.at) > now() - within)
        .limit(1)
    )
    return (await session.exec(statement)).first() is not None
