"""What a mail provider reports about mails that it took: bounces and complaints, in our words.

An adapter for each provider reads its webhook; `mailgun_events` is the one there is.
"""

import hashlib
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.jobs import mail_suppression_repository
from shared.jobs.models import SuppressionCause

MAX_ADDRESS_LENGTH = 254  # RFC 5321 4.5.3.1.3


class InvalidMailEvent(Exception):
    """Not signed by the provider, too old, or of another form. The text says which, and holds nothing of the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailEvent:
    token: str  # the provider's own, different for each event
    address: str
    cause: SuppressionCause | None  # None: of an event after which mails are still sent
    detail: str = ""  # in the provider's words


async def take(session: AsyncSession, event: MailEvent) -> bool:
    """Suppress the address of a bounce or a complaint. False for an event that was taken before, whatever it holds now."""
    return await mail_suppression_repository.take_mail_event(
        session,
        hashlib.sha256(event.token.encode()).hexdigest(),
        address=event.address,
        cause=event.cause or "",
        detail=" ".join(event.detail.split()),
    )
