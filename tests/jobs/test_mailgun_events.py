"""Reading what the mail provider reports: signed, recent, and in our words."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from shared.jobs import mailgun_events
from shared.jobs.mail_events import InvalidMailEvent
from shared.jobs.models import SuppressionCause

KEY, AT = "a-signing-key-of-the-account", 1_790_000_000
TOKEN = "e0b5477167110d68991efc6b9f89f0a11066af27834600e123"


def sign(timestamp: str = str(AT), token: str = TOKEN, *, key: str = KEY) -> dict[str, str]:
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": signature}


def build_body(signature: dict[str, str] | None = None, **data: Any) -> bytes:
    event = {"event": "failed", "severity": "permanent", "reason": "bounce", "recipient": "Ann@Acme.test"}
    return json.dumps({"signature": signature or sign(), "event-data": {**event, **data}}).encode()


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        ({}, SuppressionCause.HARD_BOUNCE),
        ({"reason": "suppress-bounce"}, SuppressionCause.HARD_BOUNCE),
        ({"reason": "generic", "delivery-status": {"bounce-type": "hard"}}, SuppressionCause.HARD_BOUNCE),
        ({"event": "complained"}, SuppressionCause.COMPLAINT),
        ({"reason": "suppress-complaint"}, SuppressionCause.COMPLAINT),
        ({"reason": "old"}, None),
        ({"severity": "temporary"}, None),
        ({"event": "delivered"}, None),
        ({"event": "opened", "recipient": ""}, None),
    ],
)
def test_only_bounces_and_complaints_suppress_an_address(
    data: dict[str, Any], cause: SuppressionCause | None
) -> None:
    event = mailgun_events.read_event(build_body(**data), [KEY], AT)
    assert event.cause is cause
    assert event.address == ("ann@acme.test" if cause else "")


def test_words_of_the_provider_are_kept_on_one_line() -> None:
    status = {"message": "550 5.1.1\r\n<script>no such user</script>" + "x" * 1_000}
    event = mailgun_events.read_event(build_body(**{"delivery-status": status}), [KEY], AT)
    assert len(event.detail) <= 300
    assert event.detail.startswith("bounce 550 5.1.1  <script>")


@pytest.mark.parametrize("key", ["the-key-before-this-one", KEY])
def test_event_signed_with_either_key_is_read(key: str) -> None:
    body = build_body(sign(key=key))
    assert mailgun_events.read_event(body, [KEY, "the-key-before-this-one"], AT).cause


@pytest.mark.parametrize(
    "signature",
    [
        sign(key="another key"),
        sign() | {"timestamp": str(AT + 1)},
        sign() | {"token": TOKEN[::-1]},
        sign() | {"signature": ""},
        sign() | {"signature": "é" * 64},
        sign(timestamp=str(AT - 13 * 3600)),
        sign(timestamp=str(AT + 600)),
        sign(
            timestamp=str(AT)[:9], token=str(AT)[9:] + TOKEN
        ),  # the signature of the original, split elsewhere
        sign(timestamp=str(AT) + TOKEN[:1], token=TOKEN[1:]),
        sign(token=""),
    ],
)
def test_event_that_is_not_signed_now_by_the_provider_is_refused(signature: dict[str, str]) -> None:
    with pytest.raises(InvalidMailEvent):
        mailgun_events.read_event(build_body(signature), [KEY], AT)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b'{"signature": {}}',
        b"[" * 60_000,
        json.dumps({"signature": sign(), "event-data": []}).encode(),
        build_body(recipient="nobody"),
        build_body(recipient="a@b\r\nBcc: c@d"),
        build_body(recipient="a" * 250 + "@acme.test"),
        build_body(recipient=7),
    ],
)
def test_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMailEvent):
        mailgun_events.read_event(body, [KEY], AT)


def test_address_that_is_too_long_in_lower_case_is_refused() -> None:
    with pytest.raises(InvalidMailEvent):
        mailgun_events.read_event(build_body(recipient="\u0130" * 130 + "@acme.test"), [KEY], AT)
