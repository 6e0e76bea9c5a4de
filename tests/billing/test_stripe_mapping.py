"""Stripe's objects become ours, in both versions of its API; fields may be missing, null or unknown."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.billing.provider_values import CanceledAddon, OrderLine
from shared.billing.stripe_adapter import (
    customer_mapping,
    invoice_mapping,
    subscription_items,
    subscription_mapping,
)
from shared.billing.sync import access_schedule

Raw = dict[str, Any]
STARTS, ENDS = 1_700_000_000, 1_702_592_000


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


SUBSCRIPTION: Raw = {
    "id": "sub_1",
    "object": "subscription",
    "status": "past_due",
    "created": STARTS,
    "currency": "usd",
    "cancel_at": None,
    "cancel_at_period_end": True,
    "default_payment_method": None,
    "ended_at": None,
    "items": {
        "object": "list",
        "has_more": False,
        "data": [
            {
                "id": "si_1",
                "quantity": 3,
                "current_period_start": STARTS,
                "current_period_end": ENDS,
                "price": {
                    "id": "price_1",
                    "metadata": {"bulkhead_price": "prc_1"},
                    "recurring": {"usage_type": "licensed"},
                },
            },
            {
                "id": "si_2",
                "current_period_start": STARTS,
                "current_period_end": ENDS,
                "price": {"id": "price_2", "metadata": {}, "recurring": {"usage_type": "metered"}},
            },
        ],
    },
    "metadata": {"kept.prc_9": f"2:{ENDS}", "tenant_id": "ten_acme"},
    "trial_end": STARTS,
    "trial_settings": {"end_behavior": {"missing_payment_method": "pause"}},
}
INVOICE: Raw = {
    "id": "in_1",
    "object": "invoice",
    "number": "A-1",
    "status": "open",
    "currency": "usd",
    "total": 500,
    "amount_remaining": 400,
    "amount_paid": 100,
    "attempted": True,
    "attempt_count": 2,
    "created": STARTS,
    "next_payment_attempt": ENDS,
    "period_start": 1,
    "period_end": 2,
    "hosted_invoice_url": "https://stripe.test/i",
    "invoice_pdf": "https://stripe.test/i/pdf",
    "status_transitions": {"finalized_at": STARTS + 3600},
    "parent": {"subscription_details": {"subscription": "sub_1"}},
    "lines": {
        "object": "list",
        "has_more": False,
        "data": [
            {
                "description": "Remaining time",
                "amount": 500,
                "quantity": 3,
                "period": {"start": STARTS, "end": ENDS},
                "parent": {"invoice_item_details": {"proration": True}},
            },
            {
                "description": "Used before",
                "amount": 0,
                "period": {"start": STARTS - 9, "end": ENDS},
                "parent": {"invoice_item_details": {"proration": False}},
            },
        ],
    },
}
CUSTOMER: Raw = {
    "id": "cus_1",
    "object": "customer",
    "balance": -200,
    "currency": "usd",
    "default_source": None,
    "invoice_settings": {
        "default_payment_method": {"type": "card", "card": {"brand": "visa", "last4": "4242"}}
    },
}


def to_old_api(subscription: Raw, invoice: Raw) -> tuple[Raw, Raw]:
    """The objects as in API versions before 2025-03-31, with periods and parents in other fields."""
    old, bill = copy.deepcopy(subscription), copy.deepcopy(invoice)
    for item in old["items"]["data"]:
        old["current_period_start"] = item.pop("current_period_start")
        old["current_period_end"] = item.pop("current_period_end")
    bill["subscription"] = bill.pop("parent")["subscription_details"]["subscription"]
    for line in bill["lines"]["data"]:
        line["proration"] = line.pop("parent")["invoice_item_details"]["proration"]
    return old, bill


def test_customer_state_is_mapped_completely() -> None:
    state = customer_mapping.to_customer_state(CUSTOMER, [SUBSCRIPTION], [INVOICE])
    assert (state.id, state.deleted, state.balance, state.currency) == ("cus_1", False, -200, "usd")
    assert state.method == "Visa ending in 4242"
    (subscription,) = state.subscriptions
    assert (subscription.id, subscription.status, subscription.created_at) == (
        "sub_1",
        "past_due",
        at(STARTS),
    )
    assert [
        (line.id, line.price_id, line.external_price_id, line.quantity) for line in subscription.lines
    ] == [
        ("si_1", "prc_1", "price_1", 3),
        ("si_2", "", "price_2", 0),
    ]
    assert {(line.starts_at, line.ends_at) for line in subscription.lines} == {(at(STARTS), at(ENDS))}
    assert subscription.kept == (CanceledAddon("prc_9", 2, at(ENDS)),)
    assert (subscription.trial_ends_at, subscription.after_trial, subscription.pays) == (
        at(STARTS),
        "pause",
        True,
    )
    assert subscription.cancel_at == at(ENDS)  # with its period
    assert subscription.failed_since == at(STARTS + 3600)
    (bill,) = state.invoices
    assert (bill.number, bill.status, bill.total, bill.due, bill.paid) == ("A-1", "open", 500, 400, 100)
    assert (bill.attempts, bill.next_attempt_at) == (2, at(ENDS))
    assert (bill.starts_at, bill.ends_at, bill.subscription_id) == (at(STARTS), at(ENDS), "sub_1")
    assert [(line.said, line.amount, line.proration) for line in bill.lines] == [
        ("Remaining time", 500, True),
        ("Used before", 0, False),
    ]


def test_customer_state_is_the_same_in_both_api_versions() -> None:
    old, bill = to_old_api(SUBSCRIPTION, INVOICE)
    assert "current_period_end" in old
    assert "current_period_end" not in old["items"]["data"][0]
    assert "parent" not in bill
    before = customer_mapping.to_customer_state(CUSTOMER, [old], [bill])
    assert before == customer_mapping.to_customer_state(CUSTOMER, [SUBSCRIPTION], [INVOICE])


def test_cancel_at_with_its_own_time_is_mapped() -> None:
    subscription = subscription_mapping.to_subscription({**SUBSCRIPTION, "cancel_at": STARTS + 5})
    assert subscription.cancel_at == at(STARTS + 5)


def test_cancel_at_period_end_is_the_last_end_of_its_items() -> None:
    other = copy.deepcopy(SUBSCRIPTION)
    other["items"]["data"][1]["current_period_end"] = ENDS + 9
    assert subscription_mapping.to_subscription(other).cancel_at == at(ENDS + 9)


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        ("paused", "trial_end_without_payment_method", "trial"),
        ("paused", "first_payment_failure", "payment"),
        ("paused", "final_payment_failure", "payment"),
        ("paused", "pause_requested", "request"),
        ("paused", "system", ""),
        ("paused", None, ""),
        ("active", "pause_requested", ""),
    ],
)
def test_pause_is_explained(status: str, kind: str | None, cause: str) -> None:
    details = {"paused": {"type": "subscription", "subscription": {"type": kind}}} if kind else None
    raw = {**SUBSCRIPTION, "status": status, "status_details": details}
    assert subscription_mapping.to_subscription(raw).pause_cause == cause


def test_paused_collection_is_mapped() -> None:
    paused = {**SUBSCRIPTION, "pause_collection": {"behavior": "void", "resumes_at": None}}
    assert subscription_mapping.to_subscription(paused).paused_collection == "void"
    for raw in (SUBSCRIPTION, {**SUBSCRIPTION, "pause_collection": None}):
        assert subscription_mapping.to_subscription(raw).paused_collection == ""


def test_unknown_words_pass_through() -> None:
    strange = {
        **SUBSCRIPTION,
        "status": "hibernating",
        "trial_settings": {"end_behavior": {"missing_payment_method": "pray"}},
    }
    subscription = subscription_mapping.to_subscription(strange)
    assert (subscription.status, subscription.after_trial) == ("hibernating", "invoice")
    assert invoice_mapping.to_invoice({**INVOICE, "status": "framed"}).status == "framed"


@pytest.mark.parametrize("shown", ["sub_1", {"id": "sub_1", "object": "subscription"}])
def test_subscription_of_an_invoice_is_read_from_id_or_object(shown: object) -> None:
    bill = {**INVOICE, "parent": {"subscription_details": {"subscription": shown}}}
    assert invoice_mapping.to_invoice(bill).subscription_id == "sub_1"


@pytest.mark.parametrize(
    ("invoice", "owed"),
    [
        ({"status": "paid"}, False),
        ({"status": "draft", "attempted": False, "attempt_count": 0}, False),
        ({"status": "open", "attempted": False, "attempt_count": 0}, False),  # nobody has tried yet
        ({"status": "uncollectible"}, False),
        ({"status": "open"}, True),
        ({"status": "open", "parent": {"subscription_details": {"subscription": "sub_2"}}}, False),
        ({"status": "open", "parent": None}, False),
    ],
)
def test_subscription_is_overdue_by_its_open_invoice(invoice: Raw, owed: bool) -> None:
    subscription = subscription_mapping.to_subscription(SUBSCRIPTION, [INVOICE | invoice])
    assert (subscription.failed_since is not None) == owed


def test_invoice_sent_by_mail_has_its_grace_after_the_due_date() -> None:
    """No card is charged, and the period began long before."""
    bill = {
        **INVOICE,
        "collection_method": "send_invoice",
        "due_date": ENDS,
        "attempted": False,
        "attempt_count": 0,
    }
    subscription = subscription_mapping.to_subscription(
        {**SUBSCRIPTION, "collection_method": "send_invoice"}, [bill]
    )
    assert subscription.failed_since == at(ENDS)
    first, then = access_schedule.phases_of(replace(subscription, cancel_at=None), at(ENDS))
    assert (first.status, then.status, then.since) == (
        "grace",
        "read_only",
        at(ENDS) + access_schedule.GRACE_PERIOD,
    )


def test_trial_paid_by_invoice_pays_without_a_card() -> None:
    trial = {**SUBSCRIPTION, "status": "trialing", "default_payment_method": None, "default_source": None}
    assert not subscription_mapping.to_subscription(trial).pays
    assert subscription_mapping.to_subscription({**trial, "collection_method": "send_invoice"}).pays


def test_overdue_since_is_the_earliest_open_invoice() -> None:
    earlier = {**INVOICE, "id": "in_0", "status_transitions": {"finalized_at": None}, "created": STARTS - 5}
    subscription = subscription_mapping.to_subscription(SUBSCRIPTION, [INVOICE, earlier, INVOICE])
    assert subscription.failed_since == at(STARTS - 5)


@pytest.mark.parametrize(
    ("subscription", "customer", "pays"),
    [
        ({}, {"invoice_settings": {"default_payment_method": None}}, False),
        ({"default_payment_method": "pm_1"}, {"invoice_settings": None}, True),
        ({"default_source": "card_1"}, {"invoice_settings": None}, True),
        ({}, {"invoice_settings": None, "default_source": "card_1"}, True),
        ({}, {"invoice_settings": {"default_payment_method": "pm_1"}}, True),
    ],
)
def test_ability_to_pay_is_mapped(subscription: Raw, customer: Raw, pays: bool) -> None:
    state = customer_mapping.to_customer_state(CUSTOMER | customer, [SUBSCRIPTION | subscription], [])
    assert state.subscriptions[0].pays == pays


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ({"type": "card", "card": {"brand": "amex", "last4": "0005"}}, "American Express ending in 0005"),
        ({"type": "card", "card": {"brand": "new_brand", "last4": "1"}}, "New Brand ending in 1"),
        (
            {"type": "us_bank_account", "us_bank_account": {"bank_name": "First", "last4": "6789"}},
            "First ending in 6789",
        ),
        ({"type": "sepa_debit", "sepa_debit": {"last4": "3000"}}, "Sepa debit ending in 3000"),
        ({"type": "link", "link": {}}, "Link"),
        ({"type": "from_the_future"}, "From the future"),
        ({"object": "card", "brand": "Visa", "last4": "4242"}, "Visa ending in 4242"),
        ({}, ""),
    ],
)
def test_payment_method_is_described(method: Raw, text: str) -> None:
    customer = {**CUSTOMER, "invoice_settings": {"default_payment_method": method}}
    assert customer_mapping.to_customer_state(customer, [], []).method == text


def test_payment_method_falls_back_to_the_newest_subscription() -> None:
    visa = {"type": "card", "card": {"brand": "visa", "last4": "1111"}}
    subscriptions = [
        {**SUBSCRIPTION, "id": "sub_0", "created": 1, "default_payment_method": "pm_not_shown"},
        {**SUBSCRIPTION, "id": "sub_2", "created": 2, "default_payment_method": visa},
    ]
    state = customer_mapping.to_customer_state({**CUSTOMER, "invoice_settings": None}, subscriptions, [])
    assert state.method == "Visa ending in 1111"


def test_method_of_a_subscription_comes_before_that_of_its_customer() -> None:
    visa = {
        "id": "pm_1",
        "type": "card",
        "card": {"brand": "visa", "last4": "1", "exp_month": 11, "exp_year": 2027},
    }
    amex = {
        "id": "pm_2",
        "type": "card",
        "card": {"brand": "amex", "last4": "2", "exp_month": 12, "exp_year": 2027},
    }
    customer = {**CUSTOMER, "invoice_settings": {"default_payment_method": amex}}
    subscriptions = [
        {**SUBSCRIPTION, "id": "sub_own", "default_payment_method": visa},
        {**SUBSCRIPTION, "id": "sub_default", "default_payment_method": None},
        {**SUBSCRIPTION, "id": "sub_not_shown", "default_payment_method": "pm_3"},
        {**SUBSCRIPTION, "id": "sub_by_invoice", "collection_method": "send_invoice"},
        {**SUBSCRIPTION, "id": "sub_ended", "status": "canceled"},
    ]
    methods = customer_mapping.to_customer_state(customer, subscriptions, []).methods
    assert {
        subscription_id: (method.id, method.expires_at) for subscription_id, method in methods.items()
    } == {
        "sub_own": ("pm_1", datetime(2027, 12, 1, tzinfo=UTC)),
        "sub_default": ("pm_2", datetime(2028, 1, 1, tzinfo=UTC)),
    }


def test_fingerprint_is_that_of_the_card_that_will_be_charged() -> None:
    own_card, default_card = (
        {"id": f"pm_{name}", "type": "card", "card": {"fingerprint": name}} for name in ("own", "default")
    )
    customer = {**CUSTOMER, "invoice_settings": {"default_payment_method": default_card}}
    subscriptions = [
        {**SUBSCRIPTION, "id": "sub_own", "default_payment_method": own_card},
        {**SUBSCRIPTION, "id": "sub_default", "default_payment_method": None},
        {**SUBSCRIPTION, "id": "sub_ended", "status": "canceled"},
    ]
    fingerprints = customer_mapping.to_customer_state(customer, subscriptions, []).card_fingerprints
    assert fingerprints == {"sub_own": "own", "sub_default": "default"}


@pytest.mark.parametrize(
    "value", ["", ":", "2", "2:", ":5", "-1:5", "two:5", "2:5:6", "²:5", "2: 5", None, 5]
)
def test_foreign_metadata_is_no_cancelled_addon(value: object) -> None:
    assert (
        subscription_mapping.to_subscription({**SUBSCRIPTION, "metadata": {"kept.prc_1": value}}).kept == ()
    )


def test_cancelled_addons_are_written_to_metadata_and_old_ones_removed() -> None:
    before = {"kept.prc_1": "1:5", "kept.prc_2": "2:6", "tenant_id": "ten_acme"}
    written = subscription_mapping.to_canceled_addon_metadata([CanceledAddon("prc_2", 3, at(7))], before)
    assert written == {"kept.prc_1": "", "kept.prc_2": "3:7"}
    assert (
        max(
            len(key)
            for key in subscription_mapping.to_canceled_addon_metadata(
                [CanceledAddon("prc_" + "x" * 26, 1, at(7))], {}
            )
        )
        <= 40
    )


def test_missing_fields_never_raise() -> None:
    """Every field of every object, once null and once absent."""
    for broken in _broken(CUSTOMER):
        customer_mapping.to_customer_state(broken, [SUBSCRIPTION], [INVOICE])
    for broken in _broken(SUBSCRIPTION):
        customer_mapping.to_customer_state(CUSTOMER, [broken], [INVOICE])
        customer_mapping.to_customer_state(
            CUSTOMER, [to_old_api(SUBSCRIPTION, INVOICE)[0], broken], [INVOICE]
        )
    for broken in _broken(INVOICE):
        customer_mapping.to_customer_state(CUSTOMER, [SUBSCRIPTION], [broken])


def _broken(raw: Raw) -> Iterator[Raw]:
    for path in _paths(raw):
        if path == ("id",):
            continue
        for way in ("null", "gone"):
            other = copy.deepcopy(raw)
            inner: Any = other
            for key in path[:-1]:
                inner = inner[key]
            if way == "gone":
                del inner[path[-1]]
            else:
                inner[path[-1]] = None
            yield other


def _paths(raw: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in inner:
        if isinstance(raw, dict):
            yield (*at, key)
        yield from _paths(value, (*at, key))


def build_item(id_: str, price: str, quantity: int | None = 1) -> Raw:
    usage = "metered" if quantity is None else "licensed"
    return {"id": id_, "quantity": quantity, "price": {"id": price, "recurring": {"usage_type": usage}}}


@pytest.mark.parametrize(
    ("items", "lines", "steps"),
    [
        ([build_item("si_1", "a", 2)], [("a", 2)], []),
        ([build_item("si_1", "a", 2)], [("a", 3)], [{"id": "si_1", "quantity": 3}]),
        ([build_item("si_1", "a", 2)], [("b", 3)], [{"id": "si_1", "price": "b", "quantity": 3}]),
        ([build_item("si_1", "a", 2)], [("a", 2), ("b", 1)], [{"price": "b", "quantity": 1}]),
        ([build_item("si_1", "a"), build_item("si_2", "b")], [("a", 1)], [{"id": "si_2", "deleted": True}]),
        ([build_item("si_1", "u", None)], [("u", None)], []),
        (
            [build_item("si_1", "u", None)],
            [("a", 1)],
            [{"price": "a", "quantity": 1}, {"id": "si_1", "deleted": True}],
        ),
        (
            [build_item("si_1", "u", None), build_item("si_2", "a")],
            [("b", 4), ("v", None)],
            [{"id": "si_2", "price": "b", "quantity": 4}, {"id": "si_1", "price": "v"}],
        ),
    ],
)
def test_item_updates_lead_from_items_to_order_lines(
    items: list[Raw], lines: list[tuple[str, int | None]], steps: list[Raw]
) -> None:
    order_lines = [OrderLine(f"prc_{price}", price, quantity) for price, quantity in lines]
    assert subscription_items.build_item_updates(items, order_lines) == steps
