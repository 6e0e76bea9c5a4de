"""Read a webhook of Mailgun: signature, age, and whether the address may get more mail.

The signature is an HMAC over time and token, not over the event
(https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks). So each token is taken once: a
copied signature is worthless with another event.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

import msgspec

from shared.jobs.mail_events import MAX_ADDRESS_LENGTH, InvalidMailEvent, MailEvent
from shared.jobs.models import SuppressionCause

MAX_AGE_SECONDS = 12 * 3600  # Mailgun tries for 8 hours
MAX_AHEAD_SECONDS = 300
# Ten digits, or a digit could move from the token to the time and make a second event of the same signature.
TIMESTAMP_PATTERN = re.compile(r"[0-9]{10}")
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9]{20,100}")
ADDRESS_PATTERN = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")
BOUNCE_REASONS = ("bounce", "suppress-bounce")  # others are about a time, such as "old"
COMPLAINT_REASONS = ("suppress-complaint",)


class Signature(msgspec.Struct):
    timestamp: str
    token: str
    signature: str


class DeliveryStatus(msgspec.Struct, rename="kebab"):
    message: str = ""
    description: str = ""
    bounce_type: str = ""


class EventData(msgspec.Struct, rename="kebab"):
    event: str
    recipient: str = ""
    severity: str = ""
    reason: str = ""
    delivery_status: DeliveryStatus = msgspec.field(default_factory=DeliveryStatus)


class Payload(msgspec.Struct, rename="kebab"):
    signature: Signature
    event_data: EventData


_decoder = msgspec.json.Decoder(Payload)


def read_event(body: bytes, keys: Sequence[str], at: float) -> MailEvent:
    """`keys`: of the account, newest first. `at`: seconds since 1970. Raises InvalidMailEvent."""
    try:
        payload = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise InvalidMailEvent("not the JSON of an event") from None
    _check_signature(payload.signature, keys, at)
    data = payload.event_data
    cause = _find_cause(data)
    address = data.recipient.lower()  # may be longer than before: some capitals become two characters
    if cause is not None and not _is_address(address):
        raise InvalidMailEvent("without a recipient")
    status = data.delivery_status
    return MailEvent(
        token=f"{payload.signature.timestamp}{payload.signature.token}",
        address=address if cause is not None else "",
        cause=cause,
        detail=_printable(f"{data.reason} {status.message or status.description}"),
    )


def _check_signature(signature: Signature, keys: Sequence[str], at: float) -> None:
    """Raises InvalidMailEvent."""
    if not TIMESTAMP_PATTERN.fullmatch(signature.timestamp) or not TOKEN_PATTERN.fullmatch(signature.token):
        raise InvalidMailEvent("without a signature")
    signed = f"{signature.timestamp}{signature.token}".encode()
    signatures = [hmac.new(key.encode(), signed, hashlib.sha256).hexdigest() for key in keys]
    received = signature.signature if signature.signature.isascii() else ""
    if not any(hmac.compare_digest(received, expected) for expected in signatures):
        raise InvalidMailEvent("with another signature")
    age = at - int(signature.timestamp)
    if not -MAX_AHEAD_SECONDS <= age <= MAX_AGE_SECONDS:
        raise InvalidMailEvent("of another time")


def _find_cause(data: EventData) -> SuppressionCause | None:
    if data.event == "complained":
        return SuppressionCause.COMPLAINT
    if data.event != "failed" or data.severity != "permanent":
        return None
    if data.reason in COMPLAINT_REASONS:
        return SuppressionCause.COMPLAINT
    if data.reason in BOUNCE_REASONS or data.delivery_status.bounce_type == "hard":
        return SuppressionCause.HARD_BOUNCE
    return None


def _is_address(text: str) -> bool:
    return len(text) <= MAX_ADDRESS_LENGTH and ADDRESS_PATTERN.fullmatch(text) is not None


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:1_000])[:300]
