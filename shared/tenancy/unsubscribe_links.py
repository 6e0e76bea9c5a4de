"""The signed link by which a person stops one kind of mail without signing in. It reads nothing and opens nothing else.

It works again and again, and never expires: a mail may be opened after years. Each person, organisation and kind has one.
"""

from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto
from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.notification_kinds import NOTIFICATION_KINDS
from shared.tenancy import mail_preference_repository

SIGNING_PURPOSE = "unsubscribe"  # stored in mails: it never changes
PATH_PREFIX = "/unsubscribe/"
PART_COUNT = 3
DIGEST_KIND = "digest"  # stops all kinds that are in the digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeLink:
    tenant_id: str
    user_id: str
    kind: str

    @property
    def title(self) -> str:
        """Of the kind; "" for one that can't be declined any more."""
        declared = NOTIFICATION_KINDS.get(self.kind)
        can_decline = declared is not None and (declared.is_choosable or self.kind == DIGEST_KIND)
        return declared.title if declared is not None and can_decline else ""


class BadUnsubscribeLink(Refused):
    """We did not sign this text, or it was changed."""

    default_reason = "bad_signature"


def build_url(link: UnsubscribeLink) -> str:
    token = crypto.sign(SIGNING_PURPOSE, link.tenant_id, link.user_id, link.kind)
    return f"{settings().tenant_url}{PATH_PREFIX}{token}"


def parse_token(token: str) -> UnsubscribeLink:
    """Raises BadUnsubscribeLink."""
    try:
        tenant_id, user_id, kind = crypto.unsign(SIGNING_PURPOSE, token, PART_COUNT)
    except crypto.BadSignature:
        raise BadUnsubscribeLink(
            "This link isn’t valid.", "Use the link in the email, or sign in and open Notification settings."
        ) from None
    return UnsubscribeLink(tenant_id=tenant_id, user_id=user_id, kind=kind)


async def set_enabled(session: AsyncSession, link: UnsubscribeLink, *, enabled: bool) -> None:
    """Stop these mails, or undo it. Needs a transaction of the link's tenant; the signature is the permission."""
    if not link.title:
        return
    if link.kind == DIGEST_KIND:
        await mail_preference_repository.set_digest_enabled(
            session, link.tenant_id, link.user_id, enabled=enabled
        )
        return
    await mail_preference_repository.set_mail_enabled(
        session, link.tenant_id, link.user_id, kind=link.kind, enabled=enabled
    )
