"""Authenticate a webhook and read its envelope; what it is about is never read further, and no SDK object is built.

A body is signed by who knows a secret of the account. That is no promise of a sound body: everything that is kept of
it has a length and a range here, so that it can be stored beside what others sent.
"""

import hmac
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

TOLERANCE_S = 300
LONGEST = 255
YEAR_10000 = 253_402_300_800
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]


class Subject(msgspec.Struct, gc=False):
    object: str
    id: Any = None
    customer: Any = None


class Data(msgspec.Struct, gc=False):
    object: Subject


class Envelope(msgspec.Struct, gc=False):
    id: Text
    object: Literal["event"]  # a thin event says "v2.core.event"
    type: Text
    created: Annotated[int, msgspec.Meta(ge=0, lt=YEAR_10000)]
    livemode: bool
    data: Data
    api_version: Text | None = None

    @property
    def customer_id(self) -> str:
        """Whom it is about, "" for nobody: a name, or the customer itself where it is expanded."""
        subject = self.data.object
        found = subject.id if subject.object == "customer" else subject.customer
        if isinstance(found, dict):
            found = found.get("id")
        return found if isinstance(found, str) and len(found) <= LONGEST else ""


class NotGenuine(Exception):
    """Answer 400; the message is for the log, never for the sender."""


_decode = msgspec.json.Decoder(Envelope).decode


def open_envelope(body: bytes, header: str | None, secrets: Sequence[str], now: float) -> Envelope:
    """Raises NotGenuine. `header`: Stripe-Signature; `secrets`: any of them may have signed."""
    stamp = _verified_stamp(body, header or "", secrets)
    if abs(now - stamp) > TOLERANCE_S:  # the SDK accepts any time to come
        raise NotGenuine("timestamp outside the tolerance")
    try:
        event = _decode(body.decode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotGenuine("not a snapshot event") from error
    if "\0" in f"{event.id}{event.type}{event.api_version}{event.customer_id}":
        raise NotGenuine("NUL cannot be stored as text")
    return event


def _verified_stamp(body: bytes, header: str, secrets: Sequence[str]) -> int:
    stamp, claimed = "", list[bytes]()
    for part in header.split(","):
        name, _, value = part.partition("=")
        if name == "t":
            stamp = value
        elif name == "v1":
            claimed.append(value.encode())
    if stamp.isascii() and stamp.isdigit() and len(stamp) < 13:
        for secret in secrets:  # two are active while one is replaced
            expected = hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex().encode()
            if secret and any(hmac.compare_digest(expected, value) for value in claimed):
                return int(stamp)
    raise NotGenuine("no valid signature")
