"""Sessions of operators who act for a member: the cookie, and whether it is valid now.

The cookie has a name of its own and names its tenant, as an API key does. Its row carries a proof that needs a master key,
so that write access to the table is not enough. Everything that ends one is read at every event: its time, its end, the
operator's session and role, the member and the state of the tenant.
"""

import json
from datetime import UTC, datetime

from shared.access.permissions import OperatorPermission
from shared.access.roles import OPERATOR_ROLES
from shared.core import crypto, db
from shared.core.context import Actor, Impersonation
from shared.core.ids import is_id
from shared.identity.cookies import get_cookie_value
from shared.tenancy import impersonation_repository as repository
from shared.tenancy.impersonation_repository import ImpersonationStanding
from shared.tenancy.models import ImpersonationRow

COOKIE = "__Host-bulkhead-support"
CODE_PURPOSE, SESSION_PURPOSE = (
    "impersonation code",
    "impersonation",
)  # stored proofs depend on these: they never change
SEPARATOR = "."  # between the tenant's id and the secret


def build_text(tenant_id: str, secret: str) -> str:
    """Of a cookie or a code."""
    return f"{tenant_id}{SEPARATOR}{secret}"


def parse_text(text: str) -> tuple[str, str] | None:
    """The claimed tenant and the hash of the secret. None for what is no cookie and no code of ours."""
    tenant_id, separator, secret = text.partition(SEPARATOR)
    if not separator or not secret or len(secret) > 100 or not is_id("ten", tenant_id):
        return None
    return tenant_id, crypto.hash_token(secret)


def get_session_hash(cookie_header: str) -> str:
    """Of the impersonation that the cookies claim, with its tenant; "" where they claim none."""
    claim = parse_text(get_cookie_value(cookie_header, COOKIE))
    return build_text(*claim) if claim else ""


def is_session_hash(text: str) -> bool:
    """Whether it is the hash of an impersonation, and not that of a person's session."""
    return SEPARATOR in text


async def find(session_hash: str) -> ImpersonationStanding | None:
    """The running impersonation; None for one that has ended, and for one that whoever began it may no longer have."""
    tenant_id, separator, token_hash = session_hash.partition(SEPARATOR)
    if not separator:
        return None
    async with db.statement_connection() as connection:
        standing = await repository.find_standing(connection, tenant_id, token_hash)
    if standing is None or not _is_genuine(standing, token_hash):
        return None
    permissions = OPERATOR_ROLES[standing.operator_role].permissions
    is_permitted = OperatorPermission.IMPERSONATE in permissions and (
        not standing.can_write or OperatorPermission.IMPERSONATE_WRITE in permissions
    )
    return standing if is_permitted else None


def build_impersonation(standing: ImpersonationStanding) -> Impersonation:
    return Impersonation(
        id=standing.id,
        person=Actor("user", standing.user_id, standing.user_name),
        operator_session_hash=standing.operator_session_hash,
        can_write=standing.can_write,
        expires_at=standing.expires_at,
    )


def compute_code_proof(row: ImpersonationRow) -> str:
    """For a code that the admin app has made."""
    return crypto.compute_signature(CODE_PURPOSE, _describe_code(row))


def is_code_genuine(row: ImpersonationRow) -> bool:
    return crypto.is_signature_valid(CODE_PURPOSE, _describe_code(row), row.proof)


def compute_session_proof(row: ImpersonationRow) -> str:
    """For a session whose code was accepted. The row has its token and its end."""
    assert row.expires_at is not None
    facts = (row.operator_id, row.operator_session_hash, row.user_id)
    message = _describe_session(
        row.tenant_id,
        row.id,
        facts,
        can_write=row.can_write,
        token_hash=row.token_hash,
        expires_at=row.expires_at,
    )
    return crypto.compute_signature(SESSION_PURPOSE, message)


def _is_genuine(standing: ImpersonationStanding, token_hash: str) -> bool:
    message = _describe_session(
        standing.tenant.tenant_id,
        standing.id,
        (standing.operator_id, standing.operator_session_hash, standing.user_id),
        can_write=standing.can_write,
        token_hash=token_hash,
        expires_at=standing.expires_at,
    )
    return crypto.is_signature_valid(SESSION_PURPOSE, message, standing.proof)


def _describe_code(row: ImpersonationRow) -> bytes:
    facts = (row.operator_id, row.operator_session_hash, row.user_id, row.can_write, row.minutes)
    return json.dumps([row.tenant_id, row.id, *facts, row.code_hash]).encode()


def _describe_session(
    tenant_id: str,
    impersonation_id: str,
    people: tuple[str, str, str],
    *,
    can_write: bool,
    token_hash: str,
    expires_at: datetime,
) -> bytes:
    """`people`: the operator, the operator's session and the member."""
    end = expires_at.astimezone(UTC).isoformat()
    return json.dumps([tenant_id, impersonation_id, *people, can_write, token_hash, end]).encode()
