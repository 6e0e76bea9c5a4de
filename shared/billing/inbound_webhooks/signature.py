"""Authenticate a webhook and read its envelope. Its object is not parsed, and no SDK object is built.

Two envelopes exist: events with a snapshot of their object, and thin events, which only name a related object
(docs.stripe.com/event-destinations).

A valid signature proves knowledge of the account's secret, but not a sane body: every value that is stored is checked
for length and range here.
"""

import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

MAX_AGE_S = 300
SIGNATURE_PATTERN = re.compile(rb"[0-9a-f]{64}")
MAX_LENGTH = 255
YEAR_10000 = 253_402_300_800
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]


class EventObject(msgspec.Struct, gc=False):
    object: str
    id: Any = None
    customer: Any = None
    charge: Any = None


class PreviousAttributes(msgspec.Struct, gc=False):
    customer: Any = None


class EventData(msgspec.Struct, gc=False):
    object: EventObject
    previous_attributes: PreviousAttributes | None = None


class WebhookEvent(msgspec.Struct, gc=False):
    id: ShortText
    object: Literal["event"]  # a thin event has "v2.core.event"
    type: ShortText
    created: Annotated[int, msgspec.Meta(ge=0, lt=YEAR_10000)]
    livemode: bool
    data: EventData
    api_version: ShortText | None = None

    @property
    def customer_id(self) -> str:
        """Id of the event's customer, "" without one.

        A payment method that was detached names only its former one.
        """
        subject, previous = self.data.object, self.data.previous_attributes
        customer = subject.id if subject.object == "customer" else subject.customer
        return _get_id(customer) or _get_id(previous.customer if previous else None)

    @property
    def created_at(self) -> datetime:
        return datetime.fromtimestamp(self.created, UTC)

    @property
    def object_id(self) -> str:
        """Id of the charge, where only that tells the customer, as in disputes; "" otherwise."""
        return "" if self.customer_id else _get_id(self.data.object.charge)


def _get_id(value: Any) -> str:
    """The id of a field that holds an id, or an expanded object."""
    value = value.get("id") if isinstance(value, dict) else value
    return value if isinstance(value, str) and len(value) <= MAX_LENGTH else ""


class RelatedObject(msgspec.Struct, gc=False):
    id: ShortText
    type: ShortText


class ThinEvent(msgspec.Struct, gc=False):
    """An event without a snapshot. Its type begins with "v1." or "v2."."""

    id: ShortText
    object: Literal["v2.core.event"]
    type: ShortText
    created: Annotated[datetime, msgspec.Meta(tz=True)]
    livemode: bool
    related_object: RelatedObject | None = None
    api_version: ClassVar[None] = None  # thin events have none

    @property
    def customer_id(self) -> str:
        related = self.related_object
        return related.id if related is not None and related.type == "customer" else ""

    @property
    def object_id(self) -> str:
        """Id of the related object, whose customer has to be found out; "" where it is a customer, or none."""
        return self.related_object.id if self.related_object is not None and not self.customer_id else ""

    @property
    def created_at(self) -> datetime:
        return self.created


class InvalidWebhook(Exception):
    """Answer 400; the message is for the log, never for the sender."""


class WrongSignature(InvalidWebhook):
    """The header is in order and of now, but none of its signatures was made with our secrets."""


_decode_event = msgspec.json.Decoder(WebhookEvent).decode
_decode_thin_event = msgspec.json.Decoder(ThinEvent).decode


def verify_event(
    body: bytes, header: str | None, secrets: Sequence[str], now: float
) -> WebhookEvent | ThinEvent:
    """Raises InvalidWebhook. `header`: Stripe-Signature; `secrets`: a signature of any of them is accepted."""
    _verify_signature(body, header or "", secrets, now)
    try:
        event = _parse_event(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidWebhook("neither a snapshot event nor a thin one") from error
    if "\0" in f"{event.id}{event.type}{event.api_version}{event.customer_id}{event.object_id}":
        raise InvalidWebhook("NUL cannot be stored as text")
    return event


def _parse_event(text: str) -> WebhookEvent | ThinEvent:
    """Raises the errors of msgspec, RecursionError."""
    try:
        return _decode_event(text)
    except msgspec.ValidationError:
        return _decode_thin_event(text)


def _verify_signature(body: bytes, header: str, secrets: Sequence[str], now: float) -> None:
    """Raises InvalidWebhook. The time is checked first, so that only a signature of now counts as wrong."""
    stamp, signatures = "", list[bytes]()
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            signatures.append(value.encode())
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 13):
        raise InvalidWebhook("no valid signature")
    if abs(now - int(stamp)) > MAX_AGE_S:  # the SDK accepts future times
        raise InvalidWebhook("timestamp outside the tolerance")
    for secret in secrets:  # two are active during a replacement
        expected = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex().encode()
        if secret and any(hmac.compare_digest(expected, value) for value in signatures):
            return
    if any(SIGNATURE_PATTERN.fullmatch(value) for value in signatures):
        raise WrongSignature("no valid signature")
    raise InvalidWebhook("no valid signature")
