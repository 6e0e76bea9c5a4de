"""Enter a tenant with an API key.

The key's row, its holder's role and the tenant are read in one statement for each request, so that a revocation holds
for every request that begins after its commit. Only compiled rights are cached.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.access.roles import Role
from shared.core import db
from shared.core.context import Actor, Ctx, Rights
from shared.tenancy import authentication, entry, key_checks, roles
from shared.tenancy import entry_repository as repository
from shared.tenancy.admissions import TenantAdmission, get_effective_state
from shared.tenancy.entry_repository import KeyStanding
from shared.tenancy.key_checks import InvalidKey
from shared.tenancy.key_texts import parse_key_text

NEW_KEY_STEP = "Create a new key, or ask an admin of the organisation for one."


@dataclass(frozen=True, slots=True)
class KeyAdmission:
    key_id: str
    tenant: TenantAdmission
    origins: frozenset[str] = frozenset()  # of web pages that may use the key

    @property
    def permissions(self) -> frozenset[str]:
        return self.tenant.role.permissions

    @property
    def rights(self) -> Rights:
        return self.tenant.rights


async def authenticate_key(text: str, *, address: str) -> KeyAdmission:
    """`text`: of the key. `address`: of the client, for the key's networks and its last use.

    Raises InvalidKey (invalid_key, key_revoked, key_expired, key_holder_ended), Refused (address_not_allowed).
    """
    claim = parse_key_text(text)
    standing = None
    if claim is not None:
        async with db.statement_connection() as connection:
            standing = await repository.find_key_standing(connection, claim)
    if standing is None:
        raise key_checks.build_unknown()
    role = _require_working(standing, address)
    await _note_use(standing, address)
    # The statement says no for a service account, which has no address to verify.
    verified = standing.holder_verified or bool(standing.service_account_id)
    rights = await authentication.get_rights(standing, verified=verified)
    admission = TenantAdmission(
        standing.tenant_id,
        standing.slug,
        standing.tenant_name,
        get_effective_state(standing.tenant_state, verified=verified),
        _build_actor(standing),
        Role(role.key, role.name, role.sentence, role.permissions & frozenset(standing.scopes)),
        rights,
        session_hash="",
        key_holder_id=standing.user_id or standing.service_account_id,
        scopes=frozenset(standing.scopes),
        live_tenant_id=standing.live_tenant_id,
    )
    return KeyAdmission(standing.key_id, admission, frozenset(standing.origins))


def _build_actor(standing: KeyStanding) -> Actor:
    """The key, as what it acts for: the audit log names both."""
    if not standing.service_account_id:
        return Actor("api_key", standing.key_id, standing.key_name)
    return Actor("service_account", standing.key_id, f"{standing.holder_name} ({standing.key_name})")


@asynccontextmanager
async def enter_key(admission: KeyAdmission) -> AsyncIterator[Ctx]:
    """Enter with what `authenticate_key` read at the beginning of the same request."""
    async with entry.enter_admitted(admission.tenant) as ctx:
        yield ctx


def _require_working(standing: KeyStanding, address: str) -> Role:
    key_checks.require_unended(standing, NEW_KEY_STEP)
    if standing.role is None:
        raise InvalidKey(
            "Whoever this API key belongs to is no longer a member.", NEW_KEY_STEP, reason="key_holder_ended"
        )
    key_checks.require_address(standing, address)
    return roles.build_role(standing.role)


async def _note_use(standing: KeyStanding, address: str) -> None:
    if key_checks.is_use_due(standing):
        async with db.transaction(tenant_id=standing.tenant_id) as session:
            await repository.note_key_use(session, standing.key_id, address)
