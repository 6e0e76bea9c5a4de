"""Verification of webhook signatures, without a database."""

import json
from collections.abc import Callable

import pytest
import stripe

from shared.billing.inbound_webhooks.signature import (
    InvalidWebhook,
    ThinEvent,
    WebhookEvent,
    WrongSignature,
    verify_event,
)
from tests.support.billing.webhooks import build_body, build_body_about, build_signature, compute_digest

NOW = 1_800_000_000.0
OURS, OTHER, OLD = "whsec_ours", "whsec_other", "whsec_old"
SUBSCRIPTION = {"object": "subscription", "id": "sub_1"}


def verify_body(
    body: bytes, header: str | None, secrets: tuple[str, ...] = (OURS,)
) -> WebhookEvent | ThinEvent | None:
    try:
        return verify_event(body, header, secrets, NOW)
    except InvalidWebhook:
        return None


def verify_signed_body(
    body: bytes, secrets: tuple[str, ...] = (OURS,), **how: float
) -> WebhookEvent | ThinEvent | None:
    """Signed with our secret, now unless `ago` is given."""
    return verify_body(body, build_signature(body, OURS, at=NOW, **how), secrets)


def test_signed_webhook_is_parsed() -> None:
    event = verify_signed_body(build_body(id="evt_1"))
    assert event is not None
    assert (event.id, event.type, event.livemode) == ("evt_1", "customer.subscription.updated", False)
    assert (event.customer_id, event.api_version) == ("cus_1", "2026-10-28.endive")


@pytest.mark.parametrize("ago", [0, 299, 300, -299, -300])
def test_signature_within_the_tolerance_is_accepted(ago: float) -> None:
    assert verify_signed_body(build_body(), ago=ago)


@pytest.mark.parametrize("ago", [301, 24 * 3600, -301, -24 * 3600, -10 * 365 * 24 * 3600])
def test_signature_too_old_or_in_the_future_is_refused(ago: float) -> None:
    assert verify_signed_body(build_body(), ago=ago) is None


BODY = build_body()
STAMP = str(int(NOW))
GOOD = compute_digest(BODY, OURS, STAMP)
HEADERS = {
    "none": None,
    "empty": "",
    "garbage": "not a header at all",
    "only v0": f"t={STAMP},v0={GOOD}",
    "no time": f"v1={GOOD}",
    "no signature": f"t={STAMP}",
    "an empty signature": f"t={STAMP},v1=",
    "of another account": build_signature(BODY, OTHER, at=NOW),
    "with an empty secret": build_signature(BODY, "", at=NOW),
    "another time than was signed": f"t={int(NOW) - 60},v1={GOOD}",
    "another time last": f"t={STAMP},t={int(NOW) - 60},v1={GOOD}",
    "digits of another script": f"t=١٨٠٠٠٠٠٠٠٠,v1={compute_digest(BODY, OURS, '١٨٠٠٠٠٠٠٠٠')}",
    "a time too long": f"t={'0' * 20}{STAMP},v1={compute_digest(BODY, OURS, '0' * 20 + STAMP)}",
    "a time with a sign": f"t=+{STAMP},v1={compute_digest(BODY, OURS, '+' + STAMP)}",
    "not even ASCII": f"t={STAMP},v1=\xff\xfe",
    "in capitals": f"t={STAMP},v1={GOOD.upper()}",
    "cut off": f"t={STAMP},v1={GOOD[:-1]}",
    "a space in between": f"t={STAMP}, v1={GOOD}",
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_malformed_signature_is_refused(header: str | None) -> None:
    assert verify_body(BODY, header) is None


def test_one_valid_signature_among_several_is_accepted() -> None:
    assert verify_body(BODY, f"t={STAMP},v1={'0' * 64},v1={GOOD},v0=x")
    assert verify_body(BODY, f"t=1,t={STAMP},v1={GOOD}"), "the last time counts, and is what was signed"


def test_both_secrets_are_accepted_during_a_replacement() -> None:
    both = (OURS, OLD)
    assert verify_signed_body(BODY, both)
    assert verify_body(BODY, build_signature(BODY, OLD, at=NOW), both)
    assert verify_body(BODY, build_signature(BODY, OLD, OURS, at=NOW), both)
    assert verify_body(BODY, build_signature(BODY, OLD, at=NOW)) is None


def test_missing_or_empty_secret_accepts_nothing() -> None:
    assert verify_body(BODY, build_signature(BODY, "", at=NOW), ()) is None
    assert verify_body(BODY, build_signature(BODY, "", at=NOW), ("",)) is None
    assert verify_signed_body(BODY, ("", OURS))


def test_reformatted_body_is_refused() -> None:
    header = build_signature(BODY, OURS, at=NOW)
    assert verify_body(json.dumps(json.loads(BODY), indent=1).encode(), header) is None
    assert verify_body(BODY + b"\n", header) is None
    assert verify_body(BODY.replace(b"cus_1", b"cus_2"), header) is None


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "{}": b"{}",
    "no JSON": b"id=evt_1",
    "a list": b"[" + build_body() + b"]",
    "null": b"null",
    "a text": b'"evt_1"',
    "not UTF-8": b"\xff" + build_body(),
    "not UTF-8 in what is skipped": build_body(pending_webhooks="X").replace(b'"X"', b'"\xff"'),
    "two of them": build_body() + build_body(),
    "deep": build_body(id=0).replace(b'"id": 0', b'"id": ' + b"[" * 100_000 + b"]" * 100_000),
    "deep in what is skipped": build_body(request="X").replace(b'"X"', b"[" * 100_000 + b"]" * 100_000),
    "a thin event": build_body(object="v2.core.event"),
    "no id": b"{" + build_body().partition(b", ")[2],
    "an empty id": build_body(id=""),
    "an id too long": build_body(id="e" * 256),
    "an id that is a number": build_body(id=7),
    "NUL in the id": build_body(id="evt_\0"),
    "NUL in the type": build_body(type="customer.\0"),
    "NUL in the version": build_body(api_version="2026\0"),
    "NUL in the customer": build_body_about({**SUBSCRIPTION, "customer": "cus_\0"}),
    "NUL in an expanded customer": build_body_about({**SUBSCRIPTION, "customer": {"id": "cus_\0"}}),
    "half a surrogate pair": build_body(id="X").replace(b'"X"', b'"\\ud800"'),
    "a type too long": build_body(type="t" * 256),
    "a version too long": build_body(api_version="v" * 256),
    "created as text": build_body(created="1800000000"),
    "created with a fraction": build_body(created=1.5),
    "created before 1970": build_body(created=-1),
    "created beyond every calendar": build_body(created=10**15),
    "a number for livemode": build_body(livemode=0),
    "no data": build_body(data=None),
    "no object": build_body(data={}),
    "a list for an object": build_body(data={"object": []}),
    "an object of no kind": build_body(data={"object": {"id": "x"}}),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    assert verify_signed_body(body) is None


def build_thin_body(related: object = None, **changed: object) -> bytes:
    event = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.customer.subscription.updated",
        "created": "2026-11-30T10:00:00.000Z",
        "livemode": False,
        "context": None,
        "related_object": related
        or {"id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1"},
    }
    return json.dumps(event | changed).encode()


@pytest.mark.parametrize(
    ("related", "customer", "object_id"),
    [
        (None, "", "sub_1"),
        ({"id": "cus_1", "type": "customer", "url": "/v1/customers/cus_1"}, "cus_1", ""),
    ],
)
def test_thin_event_names_its_object(related: object, customer: str, object_id: str) -> None:
    event = verify_signed_body(build_thin_body(related))
    assert event is not None
    assert (event.customer_id, event.object_id, event.api_version) == (customer, object_id, None)
    assert event.created_at.isoformat() == "2026-11-30T10:00:00+00:00"


@pytest.mark.parametrize(
    "changed",
    [
        {"created": 1_800_000_000},
        {"created": "2026-11-30T10:00:00"},
        {"related_object": {"id": "sub_\0", "type": "subscription"}},
        {"related_object": {"id": "s" * 256, "type": "subscription"}},
        {"related_object": "sub_1"},
        {"object": "event"},
        {"livemode": "false"},
    ],
    ids=str,
)
def test_malformed_thin_event_is_refused(changed: dict[str, object]) -> None:
    assert verify_signed_body(build_thin_body(**changed)) is None


@pytest.mark.parametrize(
    ("header", "is_wrong"),
    [
        (build_signature(BODY, OTHER, at=NOW), True),
        (build_signature(BODY, OURS, at=NOW - 1_000), False),
        (build_signature(BODY, OTHER, at=NOW - 1_000), False),
        (build_signature(BODY, OTHER, at=NOW + 1_000), False),
        ("t=1,v1=x", False),
        ("", False),
    ],
    ids=(
        "another secret",
        "too old",
        "another secret and too old",
        "another secret and too early",
        "malformed",
        "none",
    ),
)
def test_only_signatures_by_another_secret_count_as_wrong(header: str, is_wrong: bool) -> None:
    with pytest.raises(InvalidWebhook) as caught:
        verify_event(BODY, header, (OURS,), NOW)
    assert isinstance(caught.value, WrongSignature) == is_wrong


CUSTOMERS: dict[str, tuple[bytes, str]] = {
    "by name": (build_body_about({**SUBSCRIPTION, "customer": "cus_7"}), "cus_7"),
    "null": (build_body_about({**SUBSCRIPTION, "customer": None}), ""),
    "none": (build_body_about(SUBSCRIPTION), ""),
    "expanded": (
        build_body_about({**SUBSCRIPTION, "customer": {"id": "cus_7", "object": "customer"}}),
        "cus_7",
    ),
    "expanded without an id": (build_body_about({**SUBSCRIPTION, "customer": {"id": None}}), ""),
    "itself": (build_body_about({"object": "customer", "id": "cus_7", "customer": "cus_8"}), "cus_7"),
    "longer than a key of the database": (build_body_about({**SUBSCRIPTION, "customer": "c" * 3_000}), ""),
    "a number": (build_body_about({**SUBSCRIPTION, "customer": 7}), ""),
}


@pytest.mark.parametrize(("body", "customer"), CUSTOMERS.values(), ids=CUSTOMERS)
def test_customer_is_read_from_the_event(body: bytes, customer: str) -> None:
    event = verify_signed_body(body)
    assert event is not None
    assert event.customer_id == customer


def test_event_with_unknown_or_duplicate_fields_is_accepted() -> None:
    twice = b'{"id": "evt_first", ' + build_body(id="evt_last")[1:]
    assert (event := verify_signed_body(twice)) is not None
    assert event.id == "evt_last"
    assert verify_signed_body(build_body(more={"unknown": [1, 2]}))
    assert (event := verify_signed_body(build_body(api_version=None))) is not None
    assert event.api_version is None


def test_sdk_accepts_what_our_check_refuses() -> None:
    """The reason for not using its `construct_event`."""
    construct: Callable[..., object] = stripe.Webhook.construct_event
    to_come, empty = build_signature(BODY, OURS, ago=-(10**9)), build_signature(b"{}", OURS)
    assert construct(BODY, to_come, OURS)
    assert construct(b"{}", empty, OURS)
    assert verify_body(BODY, to_come) is None
    assert verify_body(b"{}", build_signature(b"{}", OURS, at=NOW)) is None


@pytest.mark.parametrize(
    ("subject", "previous", "customer", "object_id"),
    [
        ({"object": "dispute", "charge": "ch_1"}, None, "", "ch_1"),
        ({"object": "dispute", "charge": {"id": "ch_1", "customer": "cus_1"}}, {}, "", "ch_1"),
        ({"object": "refund", "charge": "ch_1", "customer": "cus_1"}, None, "cus_1", ""),
        ({"object": "payment_method", "customer": None}, {"customer": "cus_1"}, "cus_1", ""),
        ({"object": "payment_method", "customer": None}, {"customer": 7}, "", ""),
        ({"object": "dispute", "charge": "c" * 256}, None, "", ""),
    ],
    ids=["dispute", "expanded", "refund", "detached", "no_text", "too_long"],
)
def test_customer_of_an_event_without_one_is_told_by_its_charge_or_its_past(
    subject: dict[str, object], previous: object, customer: str, object_id: str
) -> None:
    data = {"object": {"id": "x_1", **subject}} | (
        {} if previous is None else {"previous_attributes": previous}
    )
    event = verify_signed_body(build_body(data=data))
    assert (event.customer_id, event.object_id) == (customer, object_id)
