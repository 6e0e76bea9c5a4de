"""Enter the platform with an operator's key.

Key and operator are read for each request, so that a revocation, another role and a disabled account hold for every
request that begins after their commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.backoffice import operator_key_repository as repository
from shared.core import db
from shared.core.context import Actor, OperatorCtx
from shared.tenancy import entry, key_checks
from shared.tenancy.admissions import OperatorAdmission
from shared.tenancy.key_checks import InvalidKey
from shared.tenancy.key_texts import hash_operator_key_text

NEW_KEY_STEP = "Create a new key in the admin app."


@dataclass(frozen=True, slots=True)
class OperatorKeyAdmission:
    key_id: str
    key_name: str
    operator: OperatorAdmission


async def authenticate_operator_key(text: str, *, address: str) -> OperatorKeyAdmission:
    """`text`: of the key. `address`: of the client, for the key's networks and its last use.

    Raises InvalidKey (invalid_key, key_revoked, key_expired, key_holder_ended), Refused (address_not_allowed).
    """
    secret_hash, standing = hash_operator_key_text(text), None
    if secret_hash:
        async with db.transaction("operator") as session:
            standing = await repository.find_standing(session, secret_hash)
    if standing is None:
        raise key_checks.build_unknown()
    key_checks.require_unended(standing, NEW_KEY_STEP)
    if standing.operator_disabled_at is not None:
        raise InvalidKey(
            "The operator whose API key this is was disabled.", NEW_KEY_STEP, reason="key_holder_ended"
        )
    key_checks.require_address(standing, address)
    if key_checks.is_use_due(standing):
        async with db.transaction("operator") as session:
            await repository.note_use(session, standing.key_id, address, every=key_checks.USE_NOTED_EVERY)
    admission = OperatorAdmission(
        Actor("operator", standing.operator_id, standing.operator_name),
        standing.operator_role,
        session_hash="",
        key_id=standing.key_id,
        scopes=frozenset(standing.scopes),
    )
    return OperatorKeyAdmission(standing.key_id, standing.key_name, admission)


@asynccontextmanager
async def enter_operator_key(admission: OperatorKeyAdmission) -> AsyncIterator[OperatorCtx]:
    """Enter with what `authenticate_operator_key` read at the beginning of the same request."""
    async with entry.enter_admitted_operator(admission.operator) as octx:
        yield octx
