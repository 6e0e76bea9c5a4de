"""Enter a tenant with an API key.

The key's row, its holder's role and the tenant are read in one statement for each request, so that a revocation holds
for every request that begins after its commit. Only compiled rights are cached.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network

from shared.access.roles import Role
from shared.core import db
from shared.core.context import Actor, Ctx, Rights
from shared.core.db import now
from shared.core.errors import NotSignedIn, Refused
from shared.tenancy import entry, roles
from shared.tenancy import entry_repository as repository
from shared.tenancy.admissions import TenantAdmission, get_effective_state
from shared.tenancy.entry_repository import KeyStanding
from shared.tenancy.key_texts import parse_key_text

USE_NOTED_EVERY = timedelta(minutes=1)
OTHER_ADDRESS_NOTED_EVERY = timedelta(seconds=10)
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


class InvalidKey(NotSignedIn):
    """The text is no key that works."""

    def __init__(self, detail: str, next_step: str, *, reason: str) -> None:
        super().__init__(detail, next_step)
        self.reason = reason


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
        raise InvalidKey(
            "This API key doesn't exist.", "Check that you copied all of it.", reason="invalid_key"
        )
    role = _require_working(standing, address)
    await _note_use(standing, address)
    # The statement says no for a service account, which has no address to verify.
    verified = standing.holder_verified or bool(standing.service_account_id)
    rights = await entry.get_rights(standing, verified=verified)
    admission = TenantAdmission(
        standing.tenant_id,
        standing.slug,
        standing.tenant_name,
        get_effective_state(standing.tenant_state, verified=verified),
        Actor("api_key", standing.key_id, standing.key_name),
        Role(role.key, role.name, role.sentence, role.permissions & frozenset(standing.scopes)),
        rights,
        session_hash="",
        key_holder_id=standing.user_id or standing.service_account_id,
        scopes=frozenset(standing.scopes),
        live_tenant_id=standing.live_tenant_id,
    )
    return KeyAdmission(standing.key_id, admission, frozenset(standing.origins))


@asynccontextmanager
async def enter_key(admission: KeyAdmission) -> AsyncIterator[Ctx]:
    """Enter with what `authenticate_key` read at the beginning of the same request."""
    async with entry.enter_admitted(admission.tenant) as ctx:
        yield ctx


def _require_working(standing: KeyStanding, address: str) -> Role:
    if standing.revoked_at is not None:
        raise InvalidKey("This API key was revoked.", NEW_KEY_STEP, reason="key_revoked")
    is_replaced = standing.is_previous and (
        standing.previous_ends_at is None or standing.previous_ends_at <= now()
    )
    if is_replaced or (standing.expires_at is not None and standing.expires_at <= now()):
        step = "Use the key that replaced it." if is_replaced else NEW_KEY_STEP
        raise InvalidKey("This API key has expired.", step, reason="key_expired")
    if standing.role is None:
        raise InvalidKey(
            "Whoever this API key belongs to is no longer a member.", NEW_KEY_STEP, reason="key_holder_ended"
        )
    if standing.networks and not _is_in_networks(address, standing.networks):
        raise Refused(
            "This API key doesn't work from your address.",
            "Call from an address on the key's list, or ask an admin to add yours.",
            reason="address_not_allowed",
        )
    return roles.build_role(standing.role)


def _is_in_networks(address: str, networks: Sequence[str]) -> bool:
    """`address`: of one host, or the /64 network of an IPv6 one."""
    try:
        host = ip_network(address, strict=False).network_address
    except ValueError:
        return False
    return any(host in ip_network(network) for network in networks)


async def _note_use(standing: KeyStanding, address: str) -> None:
    """At most once a minute, or every ten seconds from changing addresses: a write for each request would be the request's largest cost."""
    interval = USE_NOTED_EVERY if standing.last_used_address == address else OTHER_ADDRESS_NOTED_EVERY
    if standing.last_used_at is not None and now() - standing.last_used_at < interval:
        return
    async with db.transaction(tenant_id=standing.tenant_id) as session:
        await repository.note_key_use(session, standing.key_id, address)
