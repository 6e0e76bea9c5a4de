"""Enter a tenant with a JSON web token of one of its own issuers.

The token names its tenant, and only this tenant's issuers are read, in one statement for each request. The token is then
verified with the keys that this issuer publishes. Its permissions are those of a role, and never more than the issuer's.
"""

from typing import Any

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, InvalidClaimError, JoseError
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from shared.access.roles import OWNER, OWNER_ONLY_PERMISSIONS, Role
from shared.core import db
from shared.core.context import Actor
from shared.core.errors import Refused
from shared.tenancy import authentication, roles, signing_keys
from shared.tenancy import entry_repository as repository
from shared.tenancy.admissions import TenantAdmission, get_effective_state
from shared.tenancy.entry_repository import IssuerStanding
from shared.tenancy.key_checks import InvalidKey
from shared.tenancy.key_entry import KeyAdmission
from shared.tenancy.signing_keys import SigningKey
from shared.tenancy.token_texts import ALGORITHMS, ClaimedToken, parse_token

LEEWAY_SECONDS = 60
NEW_TOKEN_STEP = "Ask the issuer for a new token and try again."
CHECK_STEP = "Compare issuer, audience and organisation of the token with the settings of your token issuers."


# The library warns at each use that EdDSA has a newer name (RFC 9864), which few issuers use yet.
JWSRegistry.algorithms["EdDSA"].security_warning = None


class _TokenRegistry(JWSRegistry):
    """The algorithms of one issuer, and headers as large as certificates make them."""

    max_header_length = 4_096


async def authenticate_token(text: str) -> KeyAdmission:
    """What the token may do, as of a key: its key id is that of the issuer with the subject.

    Raises InvalidKey (invalid_token, token_expired, token_not_yet_valid, unknown_signing_key), Refused
    (role_not_mapped), Unavailable while the issuer's keys can't be read.
    """
    token = parse_token(text)
    issuer = await _find_issuer(token) if token is not None else None
    if token is None or issuer is None:
        raise _invalid_token()
    key = await signing_keys.find_key(
        issuer.tenant_id,
        issuer.issuer_id,
        url=issuer.jwks_url,
        key_id=token.key_id,
        algorithm=token.algorithm,
    )
    if key is None:
        raise InvalidKey(
            "The issuer publishes no key for this token.", NEW_TOKEN_STEP, reason="unknown_signing_key"
        )
    claims = _verify(token, issuer, key)
    return await _admit(issuer, token.subject, _choose_role(issuer, claims))


async def _find_issuer(token: ClaimedToken) -> IssuerStanding | None:
    """The one issuer of the claimed tenant that fits; None for none and for several."""
    async with db.statement_connection() as connection:
        standings = await repository.list_issuer_standings(connection, token)
    fitting = [
        standing
        for standing in standings
        if token.claims.get(standing.tenant_claim) == standing.tenant_id
        and token.algorithm in standing.algorithms
    ]
    return fitting[0] if len(fitting) == 1 else None


def _verify(token: ClaimedToken, issuer: IssuerStanding, key: SigningKey) -> dict[str, Any]:
    """The claims of a token that this key has signed for this issuer, audience and moment. Raises InvalidKey."""
    registry = _TokenRegistry(
        algorithms=[name for name in ALGORITHMS if name in issuer.algorithms], strict_check_header=False
    )
    rules = JWTClaimsRegistry(
        leeway=LEEWAY_SECONDS,
        iss={"essential": True, "value": issuer.issuer},
        aud={"essential": True, "value": issuer.audience},
        sub={"essential": True, "value": token.subject},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        claims: dict[str, Any] = jwt.decode(token.text, key, registry=registry).claims
        rules.validate(claims)
    except ExpiredTokenError:
        raise InvalidKey("This token has expired.", NEW_TOKEN_STEP, reason="token_expired") from None
    except InvalidClaimError as problem:
        if problem.claim in ("nbf", "iat"):
            raise InvalidKey(
                "This token isn’t valid yet.", NEW_TOKEN_STEP, reason="token_not_yet_valid"
            ) from None
        raise _invalid_token() from None
    except (JoseError, ValueError, OverflowError):
        raise _invalid_token() from None
    return claims


def _choose_role(issuer: IssuerStanding, claims: dict[str, Any]) -> Role:
    """The first role of the map that the token's claim names, with no permission that the highest role lacks.

    Raises Refused where the claim names none.
    """
    key = issuer.highest_role
    if issuer.role_claim:
        claimed = claims.get(issuer.role_claim)
        values = claimed if isinstance(claimed, list) else [claimed]
        key = next((entry["role"] for entry in issuer.role_map if entry["value"] in values), "")
    row, highest_row = issuer.roles.get(key), issuer.roles.get(issuer.highest_role)
    if row is None or highest_row is None or OWNER in (row.key, highest_row.key):
        raise Refused(
            "No role is mapped for this token.",
            "Ask an admin of the organisation to map a value of its role claim.",
            reason="role_not_mapped",
        )
    role, highest = roles.build_role(row), roles.build_role(highest_row)
    permissions = (role.permissions & highest.permissions) - OWNER_ONLY_PERMISSIONS
    return Role(role.key, role.name, role.sentence, permissions)


async def _admit(issuer: IssuerStanding, subject: str, role: Role) -> KeyAdmission:
    """Whoever issues tokens answers for people's addresses, so they count as verified."""
    actor_id = f"{issuer.issuer_id}:{subject}"
    admission = TenantAdmission(
        issuer.tenant_id,
        issuer.slug,
        issuer.tenant_name,
        get_effective_state(issuer.tenant_state, verified=True),
        Actor("external", actor_id, f"{subject} ({issuer.name})"),
        role,
        await authentication.get_rights(issuer, verified=True),
        session_hash="",
    )
    return KeyAdmission(actor_id, admission)


def _invalid_token() -> InvalidKey:
    """The same answer for an unknown issuer, for another tenant's and for a false signature."""
    return InvalidKey("This token isn’t accepted.", CHECK_STEP, reason="invalid_token")
