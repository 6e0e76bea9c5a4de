"""JSON web tokens of customers' own issuers, before anything about them is verified.

The token's organisation is a claim whose value is the id of a tenant. It says whose issuers are read, and proves nothing.
"""

import base64
import binascii
import json
from typing import Any, NamedTuple

from shared.core.ids import is_id

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")  # no others, whatever an issuer or a token says
TYPES = frozenset(
    {"", "jwt", "at+jwt", "application/at+jwt"}
)  # of the header; an ID token of another kind is none
REGISTERED_CLAIMS = frozenset(
    {"aud", "exp", "iat", "iss", "jti", "nbf", "sub"}
)  # never name the organisation
MAX_LENGTH = 8_000  # characters
MAX_CLAIMS = MAX_AUDIENCES = 50
MAX_TEXT_LENGTH = 300  # of issuer and audience
MAX_SUBJECT_LENGTH = 200


class ClaimedToken(NamedTuple):
    text: str
    algorithm: str
    key_id: str  # "" without one
    issuer: str
    audiences: tuple[str, ...]
    subject: str
    tenant_id: str
    claims: dict[str, Any]  # values are whatever JSON holds


def is_token(text: str) -> bool:
    """Whether the text has the shape of a token, not of a key."""
    return text.count(".") == 2


def parse_token(text: str) -> ClaimedToken | None:
    """None for a text that can be no token of an organisation, such as one without a signature's algorithm."""
    parts = text.split(".") if len(text) <= MAX_LENGTH and text.isascii() else []
    if len(parts) != 3 or not all(parts):
        return None
    header, claims = _parse_object(parts[0]), _parse_object(parts[1])
    if header is None or claims is None or not _is_usable_header(header) or len(claims) > MAX_CLAIMS:
        return None
    audiences = claims.get("aud")
    audiences = [audiences] if isinstance(audiences, str) else audiences
    tenant_id = _find_tenant_id(claims)
    issuer, subject = claims.get("iss"), claims.get("sub")
    if (
        not tenant_id
        or not _is_text(issuer, MAX_TEXT_LENGTH)
        or not _is_text(subject, MAX_SUBJECT_LENGTH)
        or not isinstance(audiences, list)
        or not 1 <= len(audiences) <= MAX_AUDIENCES
        or not all(_is_text(audience, MAX_TEXT_LENGTH) for audience in audiences)
    ):
        return None
    return ClaimedToken(
        text,
        header["alg"],
        header.get("kid", ""),
        str(issuer),
        tuple(audiences),
        str(subject),
        tenant_id,
        claims,
    )


def _parse_object(part: str) -> dict[str, Any] | None:
    try:
        value = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError, binascii.Error):
        return None
    return value if isinstance(value, dict) else None


def _is_usable_header(header: dict[str, Any]) -> bool:
    """Whether we know its algorithm and its type, and it demands no extension."""
    kind, key_id = header.get("typ", ""), header.get("kid", "")
    return (
        header.get("alg") in ALGORITHMS
        and isinstance(kind, str)
        and kind.lower() in TYPES
        and (key_id == "" or _is_text(key_id, MAX_TEXT_LENGTH))
        and "crit" not in header
    )


def _find_tenant_id(claims: dict[str, Any]) -> str:
    """The one tenant id among the values; "" for none, and for several that differ."""
    tenant_ids = {
        value
        for name, value in claims.items()
        if name not in REGISTERED_CLAIMS and isinstance(value, str) and is_id("ten", value)
    }
    return tenant_ids.pop() if len(tenant_ids) == 1 else ""


def _is_text(value: object, max_length: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= max_length and value.isprintable()
