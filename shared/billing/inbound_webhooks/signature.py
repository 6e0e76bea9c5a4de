"""Authenticate a webhook and read its envelope. Its object is not parsed, and no SDK object is built.

A valid signature proves knowledge of the account's secret, but not a sane body: every value that is stored is checked
for length and range here.
"""

import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

MAX_AGE_S = 300
MAX_LENGTH = 255
YEAR_10000 = 253_402_300_800
ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_LENGTH)]


class EventObject(msgspec.Struct, gc=False):
    object: str
    id: Any = None
    customer: Any = None


class EventData(msgspec.Struct, gc=False):
    object: EventObject


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
        """Id of the event's customer, "" without one. The field holds an id, or the customer where it is expanded."""
        subject = self.data.object
        customer = subject.id if subject.object == "customer" else subject.customer
        if isinstance(customer, dict):
            customer = customer.get("id")
        return customer if isinstance(customer, str) and len(customer) <= MAX_LENGTH else ""


class InvalidWebhook(Exception):
    """Answer 400; the message is for the log, never for the sender."""


_decode_event = msgspec.json.Decoder(WebhookEvent).decode


def verify_event(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> WebhookEvent:
    """Raises InvalidWebhook. `header`: Stripe-Signature; `secrets`: a signature of any of them is accepted."""
    stamp = _verify_signature(body, header or "", secrets)
    if abs(now - stamp) > MAX_AGE_S:  # the SDK accepts future times
        raise InvalidWebhook("timestamp outside the tolerance")
    try:
        event = _decode_event(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidWebhook("not a snapshot event") from error
    if "\0" in f"{event.id}{event.type}{event.api_version}{event.customer_id}":
        raise InvalidWebhook("NUL cannot be stored as text")
    return event


def _verify_signature(body: bytes, header: str, secrets: Sequence[str]) -> int:
    stamp, signatures = "", list[bytes]()
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            signatures.append(value.encode())
    if stamp.isascii() and stamp.isdigit() and len(stamp) < 13:
        for secret in secrets:  # two are active during a replacement
            expected = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex().encode()
            if secret and any(hmac.compare_digest(expected, value) for value in signatures):
                return int(stamp)
    raise InvalidWebhook("no valid signature")
