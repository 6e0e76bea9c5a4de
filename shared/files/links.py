"""Signed links to files: bound to tenant, file, purpose, holder and expiry. A link alone opens nothing.

Whoever opens it has to be its holder, and the decision is asked again. So a copied link is worthless to others, and the
link of a removed member is dead.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from shared.core import crypto
from shared.core.db import now
from shared.core.errors import Refused

SIGNING_PURPOSE = "file"
PART_COUNT = 5
PATH_PREFIX = "/files/"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLink:
    tenant_id: str
    file_id: str
    purpose: str
    holder_id: str  # a person, or an API key
    expires_at: datetime


class BadLink(Refused):
    """We did not sign this text, or it was changed."""

    default_reason = "bad_signature"


class ExpiredLink(Refused):
    default_reason = "link_expired"


def build_path(link: FileLink) -> str:
    """The path of the link in the tenant app."""
    parts = (
        link.tenant_id,
        link.file_id,
        link.purpose,
        link.holder_id,
        str(int(link.expires_at.timestamp())),
    )
    return PATH_PREFIX + crypto.sign(SIGNING_PURPOSE, *parts)


def parse_token(token: str) -> FileLink:
    """Raises BadLink, ExpiredLink."""
    try:
        tenant_id, file_id, purpose, holder_id, expiry = crypto.unsign(SIGNING_PURPOSE, token, PART_COUNT)
    except crypto.BadSignature:
        raise BadLink(
            "This link isn’t valid.", "Open the page again and use the link that it shows."
        ) from None
    link = FileLink(
        tenant_id=tenant_id,
        file_id=file_id,
        purpose=purpose,
        holder_id=holder_id,
        expires_at=datetime.fromtimestamp(int(expiry), UTC),
    )
    if link.expires_at <= now():
        raise ExpiredLink("This link has expired.", "Open the page again to get a new one.")
    return link
