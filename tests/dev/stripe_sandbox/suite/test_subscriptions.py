"""Subscriptions: start, renewal, trial, pause, dunning and end."""

from itertools import pairwise
from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import portal
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, to_timestamp


def test_subscription_is_active_when_the_first_invoice_is_paid(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(merchant.create_clock("2025-01-01"))
    subscription = merchant.subscribe(customer, (merchant.create_price(), 3), metadata={"tenant": "a"})
    assert subscription.status == "active"
    assert "current_period_end" not in subscription
    item = subscription["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (
        to_timestamp("2025-01-01"),
        to_timestamp("2025-02-01"),
    )
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == (
        "paid",
        6000,
        "subscription_create",
    )
    assert invoice.number.endswith("-0001")
    events = merchant.list_event_types(subscription)
    assert events == ["customer.subscription.created", "customer.subscription.updated"]
    invoice_events = [
        event_type for event_type in merchant.list_event_types(invoice) if event_type != "invoice.updated"
    ]
    assert invoice_events == [
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_subscription_without_a_card_is_refused(merchant: SdkMerchant) -> None:
    customer, price = merchant.create_customer(card=None), merchant.create_price()
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        merchant.subscribe(customer, price)
    assert merchant.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []


def test_incomplete_subscription_expires_after_the_payment_window(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock, card="pm_card_chargeCustomerFail")
    subscription = merchant.subscribe(customer, merchant.create_price())
    assert subscription.status == "incomplete"
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    merchant.advance_clock(clock, "2025-01-01 23:30")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete_expired", "void")
    assert merchant.v1.subscriptions.list({"customer": customer.id}).data == []


def test_incomplete_subscription_is_active_when_its_invoice_is_paid(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer(card="pm_card_chargeCustomerFail")
    subscription = merchant.subscribe(customer, merchant.create_price())
    invoice = merchant.reload_subscription(subscription).latest_invoice
    with pytest.raises(stripe.CardError) as excinfo:
        merchant.v1.invoices.pay(invoice.id)
    assert (excinfo.value.code, excinfo.value.http_status) == ("card_declined", 402)
    merchant.set_card(customer, "pm_card_visa")
    assert merchant.v1.invoices.pay(invoice.id).status == "paid"
    assert merchant.reload_subscription(subscription).status == "active"


def test_payment_behavior_decides_whether_a_subscription_starts_incomplete(merchant: SdkMerchant) -> None:
    customer, price = merchant.create_customer(card=None), merchant.create_price()
    incomplete_subscription = merchant.subscribe(customer, price, payment_behavior="default_incomplete")
    secret = merchant.v1.subscriptions.retrieve(
        incomplete_subscription.id, {"expand": ["latest_invoice.confirmation_secret"]}
    )
    assert incomplete_subscription.status == "incomplete"
    assert secret.latest_invoice.confirmation_secret.client_secret
    failing = merchant.create_customer(card="pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        merchant.subscribe(failing, price, payment_behavior="error_if_incomplete")
    assert merchant.v1.subscriptions.list({"customer": failing.id, "status": "all"}).data == []


@pytest.mark.parametrize(
    ("start", "boundaries"),
    [
        ("2025-01-31 10:00", ["2025-02-28 10:00", "2025-03-31 10:00", "2025-04-30 10:00"]),
        ("2024-01-30 00:00", ["2024-02-29 00:00", "2024-03-30 00:00", "2024-04-30 00:00"]),
    ],
)
def test_monthly_periods_follow_the_calendar(
    merchant: SdkMerchant, start: str, boundaries: list[str]
) -> None:
    clock = merchant.create_clock(start)
    subscription = merchant.subscribe(merchant.create_customer(clock), merchant.create_price())
    for boundary, following in pairwise(boundaries):
        assert subscription["items"].data[0].current_period_end == to_timestamp(boundary)
        merchant.advance_clock(clock, to_timestamp(boundary) + 7200)
        subscription = merchant.reload_subscription(subscription)
        item = subscription["items"].data[0]
        assert (item.current_period_start, item.current_period_end) == (
            to_timestamp(boundary),
            to_timestamp(following),
        )
        assert subscription.latest_invoice.status == "paid"


def test_yearly_period_from_a_leap_day_ends_in_february(merchant: SdkMerchant) -> None:
    subscription = merchant.subscribe(
        merchant.create_customer(merchant.create_clock("2024-02-29")), merchant.create_price(interval="year")
    )
    assert subscription["items"].data[0].current_period_end == to_timestamp("2025-02-28")


def test_renewal_invoice_stays_a_draft_for_an_hour(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(merchant.create_customer(clock), merchant.create_price())
    merchant.advance_clock(clock, "2025-02-01 00:10")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("draft", "subscription_cycle")
    assert invoice.automatically_finalizes_at == to_timestamp("2025-02-01 01:00")
    merchant.advance_clock(clock, "2025-02-01 01:10")
    assert merchant.v1.invoices.retrieve(invoice.id).status == "paid"


def test_failed_renewals_make_the_subscription_unpaid_until_paid(
    merchant: SdkMerchant, account: Account
) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock)
    subscription = merchant.subscribe(customer, merchant.create_price())
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    merchant.advance_clock(clock, "2025-02-01 02:00")
    attempt_times = [to_timestamp("2025-02-01 01:00") + days * DAY for days in (0, 3, 8, 15)]
    for number, attempt_time in enumerate(attempt_times):
        merchant.advance_clock(clock, attempt_time + 7200)
        subscription = merchant.reload_subscription(subscription)
        invoice = subscription.latest_invoice
        is_last = number == len(attempt_times) - 1
        assert invoice.attempt_count == number + 1
        assert invoice.next_payment_attempt == (None if is_last else attempt_times[number + 1])
        assert subscription.status == ("unpaid" if is_last else "past_due")
    assert merchant.v1.customers.retrieve(customer.id).delinquent
    merchant.advance_clock(clock, "2025-03-01 02:00")  # the next invoice stays a draft
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("unpaid", "draft")
    portal.replace_card(account, customer.id, "4242424242424242")
    assert (
        merchant.reload_subscription(subscription).status == "unpaid"
    )  # an older invoice was paid, not the latest
    merchant.v1.invoices.pay(subscription.latest_invoice.id)
    assert merchant.reload_subscription(subscription).status == "active"
    assert not merchant.v1.customers.retrieve(customer.id).delinquent


def test_failed_renewals_may_cancel_the_subscription(merchant: SdkMerchant, account: Account) -> None:
    account.settings.update(retry_days=[1], after_retries="canceled")
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock)
    subscription = merchant.subscribe(customer, merchant.create_price())
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    merchant.advance_clock(clock, "2025-02-03")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.cancellation_details.reason) == ("canceled", "payment_failed")
    assert subscription.latest_invoice.status == "open"


@pytest.mark.parametrize(
    ("otherwise", "status"), [("pause", "paused"), ("cancel", "canceled"), (None, "active")]
)
def test_trial_without_a_card_ends_as_configured(
    merchant: SdkMerchant, otherwise: str | None, status: str
) -> None:
    clock = merchant.create_clock("2025-01-01")
    settings = (
        {"trial_settings": {"end_behavior": {"missing_payment_method": otherwise}}} if otherwise else {}
    )
    subscription = merchant.subscribe(
        merchant.create_customer(clock, card=None), merchant.create_price(), trial_period_days=10, **settings
    )
    assert subscription.status == "trialing"
    merchant.advance_clock(clock, "2025-01-08 00:30")
    assert merchant.list_event_types(subscription)[-1] == "customer.subscription.trial_will_end"
    merchant.advance_clock(clock, "2025-01-11 00:30")
    subscription = merchant.reload_subscription(subscription)
    assert subscription.status == status
    if status == "paused":
        assert "customer.subscription.paused" in merchant.list_event_types(subscription)
        assert subscription.status_details.paused.subscription.type == "trial_end_without_payment_method"
    if status == "active":  # until somebody tries
        merchant.advance_clock(clock, "2025-01-11 02:00")
        assert merchant.reload_subscription(subscription).status == "past_due"


def create_paused_subscription(merchant: SdkMerchant) -> tuple[Any, Any, Any]:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock, card=None)
    pause = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = merchant.subscribe(
        customer, merchant.create_price(), trial_period_days=10, trial_settings=pause
    )
    merchant.advance_clock(clock, "2025-02-20")
    assert merchant.reload_subscription(subscription).status == "paused"
    return clock, customer, subscription


def test_paused_subscription_resumes_when_its_new_invoice_is_paid(merchant: SdkMerchant) -> None:
    _, customer, subscription = create_paused_subscription(merchant)
    merchant.set_card(customer, "pm_card_visa")
    assert merchant.v1.subscriptions.resume(subscription.id).status == "paused"  # nobody has tried yet
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.subscriptions.resume(subscription.id)
    merchant.v1.invoices.pay(merchant.reload_subscription(subscription).latest_invoice.id)
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.status_details) == ("active", None)
    assert subscription["items"].data[0].current_period_end == to_timestamp("2025-03-20")
    assert "customer.subscription.resumed" in merchant.list_event_types(subscription)


def test_paused_subscription_resumes_as_past_due_when_the_payment_fails(merchant: SdkMerchant) -> None:
    _, customer, subscription = create_paused_subscription(merchant)
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    merchant.v1.subscriptions.resume(subscription.id)
    with pytest.raises(stripe.CardError):
        merchant.v1.invoices.pay(merchant.reload_subscription(subscription).latest_invoice.id)
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.next_payment_attempt) == ("past_due", None)


def test_paused_subscription_stays_paused_until_a_payment_succeeds_when_asked(merchant: SdkMerchant) -> None:
    clock, customer, subscription = create_paused_subscription(merchant)
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    options = {"payment_behavior": "resume_on_payment_success"}
    assert merchant.v1.subscriptions.resume(subscription.id, options).status == "paused"
    merchant.set_card(customer, "pm_card_visa")
    merchant.advance_clock(clock, to_timestamp("2025-02-23 00:01"))  # three days later it is tried again
    assert merchant.reload_subscription(subscription).status == "active"


def test_paused_subscription_stays_paused_when_nobody_pays(merchant: SdkMerchant) -> None:
    clock, customer, subscription = create_paused_subscription(merchant)
    merchant.set_card(customer, "pm_card_visa")
    merchant.v1.subscriptions.resume(subscription.id)
    merchant.advance_clock(clock, "2025-02-21")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("paused", "void")
    merchant.v1.subscriptions.resume(subscription.id, {"payment_behavior": "resume_on_payment_success"})
    assert merchant.reload_subscription(subscription).status == "active"


def test_trial_ended_early_is_charged_at_once(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(
        merchant.create_customer(clock), merchant.create_price(), trial_end=to_timestamp("2025-02-01")
    )
    merchant.advance_clock(clock, "2025-01-10")
    subscription = merchant.v1.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert (subscription.status, subscription.trial_end) == ("active", to_timestamp("2025-01-10"))
    subscription = merchant.reload_subscription(subscription)
    assert subscription.latest_invoice.amount_paid == 2000
    assert subscription["items"].data[0].current_period_end == to_timestamp("2025-02-10")


def test_trial_end_can_be_postponed(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(
        merchant.create_customer(clock), merchant.create_price(), trial_period_days=10
    )
    subscription = merchant.v1.subscriptions.update(
        subscription.id, {"trial_end": to_timestamp("2025-02-15")}
    )
    assert subscription["items"].data[0].current_period_end == to_timestamp("2025-02-15")
    merchant.advance_clock(clock, "2025-02-14")
    assert merchant.reload_subscription(subscription).status == "trialing"


def test_subscription_is_cancelled_now_or_at_period_end(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, price = merchant.create_customer(clock), merchant.create_price()
    canceled_now, canceled_later, canceled_at_period_end = [
        merchant.subscribe(customer, price) for _ in range(3)
    ]
    assert merchant.v1.subscriptions.cancel(canceled_now.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.v1.subscriptions.cancel(canceled_now.id)
    assert excinfo.value.http_status == 404
    merchant.v1.subscriptions.update(canceled_later.id, {"cancel_at_period_end": True})
    merchant.v1.subscriptions.update(canceled_at_period_end.id, {"cancel_at": "max_period_end"})
    merchant.advance_clock(clock, "2025-01-31 23:59")
    assert [
        merchant.reload_subscription(subscription).status
        for subscription in (canceled_later, canceled_at_period_end)
    ] == ["active", "active"]
    merchant.advance_clock(clock, "2025-02-01 00:01")
    ended = [
        merchant.reload_subscription(subscription)
        for subscription in (canceled_later, canceled_at_period_end)
    ]
    assert [(subscription.status, subscription.ended_at) for subscription in ended] == [
        ("canceled", to_timestamp("2025-02-01"))
    ] * 2
    assert merchant.list_event_types(canceled_later)[-1] == "customer.subscription.deleted"


def test_cancellation_with_proration_credits_the_rest(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    subscription = merchant.subscribe(
        customer, merchant.create_price(2000), merchant.create_metered_price(meter, 10)
    )
    merchant.report_usage(meter, customer, 25)
    merchant.advance_clock(clock, "2025-01-16 12:00")
    merchant.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert merchant.list_lines(invoice) == [(1, -1000), (25, 250)]
    assert (invoice.amount_due, invoice.ending_balance) == (0, -750)


def test_cancellation_drops_pending_prorations(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock)
    subscription = merchant.subscribe(customer, merchant.create_price(2000))
    merchant.advance_clock(clock, "2025-01-16 12:00")
    by_hand = merchant.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    seats = {"id": subscription["items"].data[0].id, "quantity": 3}
    merchant.v1.subscriptions.update(subscription.id, {"items": [seats]})
    assert len(merchant.v1.invoice_items.list({"customer": customer.id, "pending": True}).data) == 3
    merchant.v1.subscriptions.cancel(subscription.id)
    pending_items = merchant.v1.invoice_items.list({"customer": customer.id, "pending": True}).data
    assert [pending_item.id for pending_item in pending_items] == [by_hand.id]


def test_refused_update_leaves_the_subscription_unchanged(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(
        merchant.create_customer(clock), merchant.create_price(), metadata={"a": "1"}
    )
    merchant.advance_clock(clock, "2025-01-10")
    seats = [{"id": subscription["items"].data[0].id, "quantity": 9}]
    for bad_params in (
        {"trial_end": to_timestamp("2024-01-01")},
        {"default_payment_method": "pm_none"},
        {"discounts": [{"coupon": "none"}]},
        {"cancel_at": to_timestamp("2024-12-31"), "cancel_at_period_end": True},
        {"proration_date": to_timestamp("2024-12-31")},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            merchant.v1.subscriptions.update(
                subscription.id, {"items": seats, "metadata": {"a": "2"}, **bad_params}
            )
    assert merchant.v1.invoice_items.list({"customer": subscription.customer}).data == []
    reloaded = merchant.v1.subscriptions.retrieve(subscription.id)
    assert (reloaded["items"].data[0].quantity, reloaded.metadata.a) == (1, "1")


def test_metered_usage_is_billed_when_the_subscription_ends(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    subscription = merchant.subscribe(customer, merchant.create_metered_price(meter, 100))
    assert subscription.latest_invoice is None  # nothing to bill yet
    merchant.report_usage(meter, customer, 7)
    merchant.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    merchant.advance_clock(clock, "2025-02-01 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.amount_paid) == ("canceled", 700)


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")],
)
def test_paused_collection_keeps_the_status(merchant: SdkMerchant, behavior: str, status: str) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription = merchant.subscribe(merchant.create_customer(clock), merchant.create_price())
    pause = {"behavior": behavior, "resumes_at": to_timestamp("2025-02-20")}
    merchant.v1.subscriptions.update(subscription.id, {"pause_collection": pause})
    merchant.advance_clock(clock, "2025-02-01 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("active", status)
    merchant.advance_clock(clock, "2025-03-01 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.pause_collection, subscription.latest_invoice.status) == (None, "paid")


def test_lists_omit_ended_subscriptions_unless_asked(merchant: SdkMerchant) -> None:
    customer, price = merchant.create_customer(), merchant.create_price()
    ended, running = merchant.subscribe(customer, price), merchant.subscribe(customer, price)
    merchant.v1.subscriptions.cancel(ended.id)

    def list_subscription_ids(**params: Any) -> list[str]:
        return [
            subscription.id
            for subscription in merchant.v1.subscriptions.list({"customer": customer.id, **params}).data
        ]

    assert list_subscription_ids() == [running.id]
    assert list_subscription_ids(status="all") == [running.id, ended.id]
    assert list_subscription_ids(status="canceled") == list_subscription_ids(status="ended") == [ended.id]


def test_unknown_country_of_a_customer_is_refused(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    merchant.v1.customers.update(customer.id, {"address": {"country": "DE"}})
    for country in ("XX", "Germany"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            merchant.v1.customers.update(customer.id, {"address": {"country": country}})
        assert caught.value.param == "address[country]"
    assert merchant.v1.customers.retrieve(customer.id).address.country == "DE"


def test_tax_ids_are_added_listed_and_deleted(merchant: SdkMerchant) -> None:
    customer, other = merchant.create_customer(), merchant.create_customer()
    tax_ids = merchant.v1.customers.tax_ids
    older = tax_ids.create(customer.id, {"type": "eu_vat", "value": "DE123456789"})
    newer = tax_ids.create(customer.id, {"type": "us_ein", "value": "12-3456789"})
    assert (older.country, older.verification.status) == ("DE", "pending")
    assert [tax_id.id for tax_id in tax_ids.list(customer.id).data] == [newer.id, older.id]
    for kind, value in (("eu_vat", "123456789"), ("us_ein", "123456789"), ("gb_vat", "DE123456789")):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            tax_ids.create(customer.id, {"type": kind, "value": value})
        assert caught.value.code == "tax_id_invalid"
    with pytest.raises(stripe.InvalidRequestError, match="No such tax"):
        tax_ids.delete(other.id, older.id)
    assert tax_ids.delete(customer.id, older.id).deleted
    assert [tax_id.id for tax_id in tax_ids.list(customer.id).data] == [newer.id]
    kinds = [event.type for event in merchant.v1.events.list({"type": "customer.tax_id.*"}).data]
    assert kinds[:3] == ["customer.tax_id.deleted", "customer.tax_id.created", "customer.tax_id.created"]


def test_deleted_customer_leaves_a_stub_and_ended_subscriptions(merchant: SdkMerchant) -> None:
    customer = merchant.create_customer()
    subscription = merchant.subscribe(customer, merchant.create_price())
    assert merchant.v1.customers.delete(customer.id).deleted
    assert merchant.v1.customers.retrieve(customer.id).deleted
    assert merchant.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        merchant.v1.customers.update(customer.id, {"name": "Nobody"})
    assert customer.id not in [
        listed_customer.id for listed_customer in merchant.v1.customers.list({"email": "ann@acme.test"}).data
    ]


def test_update_event_contains_the_previous_values(merchant: SdkMerchant) -> None:
    subscription = merchant.subscribe(
        merchant.create_customer(), merchant.create_price(), metadata={"a": "1", "b": "2"}
    )
    merchant.v1.subscriptions.update(subscription.id, {"metadata": {"a": "3", "b": ""}})
    event = merchant.v1.events.list({"type": "customer.subscription.updated"}).data[0]
    assert event.data.to_dict()["previous_attributes"] == {"metadata": {"a": "1", "b": "2"}}
    assert event.data.object.metadata.to_dict() == {"a": "3"}
    assert event.api_version == stripe.api_version
