"""How subscriptions begin, stand and end."""

from itertools import pairwise
from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import portal
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, Shop, at


def test_a_paid_first_period_makes_it_active(shop: Shop) -> None:
    customer = shop.customer(shop.clock("2025-01-01"))
    subscription = shop.subscribe(customer, (shop.price(), 3), metadata={"tenant": "a"})
    assert subscription.status == "active"
    assert "current_period_end" not in subscription
    item = subscription["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (at("2025-01-01"), at("2025-02-01"))
    invoice = shop.again(subscription).latest_invoice
    assert (invoice.status, invoice.amount_paid, invoice.billing_reason) == (
        "paid",
        6000,
        "subscription_create",
    )
    assert invoice.number.endswith("-0001")
    events = shop.happened(subscription)
    assert events == ["customer.subscription.created", "customer.subscription.updated"]
    about_invoice = [one for one in shop.happened(invoice) if one != "invoice.updated"]
    assert about_invoice == [
        "invoice.created",
        "invoice.finalized",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


def test_without_a_card_it_does_not_begin(shop: Shop) -> None:
    customer, price = shop.customer(card=None), shop.price()
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        shop.subscribe(customer, price)
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []


def test_a_first_payment_that_fails_leaves_23_hours(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock, card="pm_card_chargeCustomerFail")
    subscription = shop.subscribe(customer, shop.price())
    assert subscription.status == "incomplete"
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    shop.advance(clock, "2025-01-01 23:30")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("incomplete_expired", "void")
    assert shop.v1.subscriptions.list({"customer": customer.id}).data == []


def test_an_incomplete_one_becomes_active_when_its_invoice_is_paid(shop: Shop) -> None:
    customer = shop.customer(card="pm_card_chargeCustomerFail")
    subscription = shop.subscribe(customer, shop.price())
    invoice = shop.again(subscription).latest_invoice
    with pytest.raises(stripe.CardError) as refused:
        shop.v1.invoices.pay(invoice.id)
    assert (refused.value.code, refused.value.http_status) == ("card_declined", 402)
    shop.use(customer, "pm_card_visa")
    assert shop.v1.invoices.pay(invoice.id).status == "paid"
    assert shop.again(subscription).status == "active"


def test_default_incomplete_waits_and_error_if_incomplete_changes_nothing(shop: Shop) -> None:
    customer, price = shop.customer(card=None), shop.price()
    waiting = shop.subscribe(customer, price, payment_behavior="default_incomplete")
    secret = shop.v1.subscriptions.retrieve(waiting.id, {"expand": ["latest_invoice.confirmation_secret"]})
    assert waiting.status == "incomplete"
    assert secret.latest_invoice.confirmation_secret.client_secret
    failing = shop.customer(card="pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError):
        shop.subscribe(failing, price, payment_behavior="error_if_incomplete")
    assert shop.v1.subscriptions.list({"customer": failing.id, "status": "all"}).data == []


@pytest.mark.parametrize(
    ("start", "boundaries"),
    [
        ("2025-01-31 10:00", ["2025-02-28 10:00", "2025-03-31 10:00", "2025-04-30 10:00"]),
        ("2024-01-30 00:00", ["2024-02-29 00:00", "2024-03-30 00:00", "2024-04-30 00:00"]),
    ],
)
def test_months_are_calendar_months(shop: Shop, start: str, boundaries: list[str]) -> None:
    clock = shop.clock(start)
    subscription = shop.subscribe(shop.customer(clock), shop.price())
    for boundary, following in pairwise(boundaries):
        assert subscription["items"].data[0].current_period_end == at(boundary)
        shop.advance(clock, at(boundary) + 7200)
        subscription = shop.again(subscription)
        item = subscription["items"].data[0]
        assert (item.current_period_start, item.current_period_end) == (at(boundary), at(following))
        assert subscription.latest_invoice.status == "paid"


def test_a_year_from_a_leap_day(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(shop.clock("2024-02-29")), shop.price(interval="year"))
    assert subscription["items"].data[0].current_period_end == at("2025-02-28")


def test_a_renewal_waits_an_hour(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price())
    shop.advance(clock, "2025-02-01 00:10")
    invoice = shop.again(subscription).latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("draft", "subscription_cycle")
    assert invoice.automatically_finalizes_at == at("2025-02-01 01:00")
    shop.advance(clock, "2025-02-01 01:10")
    assert shop.v1.invoices.retrieve(invoice.id).status == "paid"


def test_dunning_until_unpaid_and_back(shop: Shop, account: Account) -> None:
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer, shop.price())
    shop.use(customer, "pm_card_chargeCustomerFail")
    shop.advance(clock, "2025-02-01 02:00")
    tries = [at("2025-02-01 01:00") + days * DAY for days in (0, 3, 8, 15)]
    for number, moment in enumerate(tries):
        shop.advance(clock, moment + 7200)
        subscription = shop.again(subscription)
        invoice = subscription.latest_invoice
        last = number == len(tries) - 1
        assert invoice.attempt_count == number + 1
        assert invoice.next_payment_attempt == (None if last else tries[number + 1])
        assert subscription.status == ("unpaid" if last else "past_due")
    assert shop.v1.customers.retrieve(customer.id).delinquent
    shop.advance(clock, "2025-03-01 02:00")  # the next invoice stays a draft
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("unpaid", "draft")
    portal.replace_card(account, customer.id, "4242424242424242")
    assert shop.again(subscription).status == "unpaid"  # an older invoice was paid, not the latest
    shop.v1.invoices.pay(subscription.latest_invoice.id)
    assert shop.again(subscription).status == "active"
    assert not shop.v1.customers.retrieve(customer.id).delinquent


def test_dunning_may_end_in_a_cancellation(shop: Shop, account: Account) -> None:
    account.settings.update(retry_days=[1], after_retries="canceled")
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer, shop.price())
    shop.use(customer, "pm_card_chargeCustomerFail")
    shop.advance(clock, "2025-02-03")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.cancellation_details.reason) == ("canceled", "payment_failed")
    assert subscription.latest_invoice.status == "open"


@pytest.mark.parametrize(
    ("otherwise", "status"), [("pause", "paused"), ("cancel", "canceled"), (None, "active")]
)
def test_a_trial_without_card(shop: Shop, otherwise: str | None, status: str) -> None:
    clock = shop.clock("2025-01-01")
    settings = (
        {"trial_settings": {"end_behavior": {"missing_payment_method": otherwise}}} if otherwise else {}
    )
    subscription = shop.subscribe(
        shop.customer(clock, card=None), shop.price(), trial_period_days=10, **settings
    )
    assert subscription.status == "trialing"
    shop.advance(clock, "2025-01-08 00:30")
    assert shop.happened(subscription)[-1] == "customer.subscription.trial_will_end"
    shop.advance(clock, "2025-01-11 00:30")
    subscription = shop.again(subscription)
    assert subscription.status == status
    if status == "paused":
        assert "customer.subscription.paused" in shop.happened(subscription)
        assert subscription.status_details.paused.subscription.type == "trial_end_without_payment_method"
    if status == "active":  # until somebody tries
        shop.advance(clock, "2025-01-11 02:00")
        assert shop.again(subscription).status == "past_due"


def paused(shop: Shop) -> tuple[Any, Any, Any]:
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock, card=None)
    pause = {"end_behavior": {"missing_payment_method": "pause"}}
    subscription = shop.subscribe(customer, shop.price(), trial_period_days=10, trial_settings=pause)
    shop.advance(clock, "2025-02-20")
    assert shop.again(subscription).status == "paused"
    return clock, customer, subscription


def test_a_paused_one_resumes_when_its_new_invoice_is_paid(shop: Shop) -> None:
    _, customer, subscription = paused(shop)
    shop.use(customer, "pm_card_visa")
    assert shop.v1.subscriptions.resume(subscription.id).status == "paused"  # nobody has tried yet
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.resume(subscription.id)
    shop.v1.invoices.pay(shop.again(subscription).latest_invoice.id)
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.status_details) == ("active", None)
    assert subscription["items"].data[0].current_period_end == at("2025-03-20")
    assert "customer.subscription.resumed" in shop.happened(subscription)


def test_a_payment_that_fails_resumes_it_past_due(shop: Shop) -> None:
    _, customer, subscription = paused(shop)
    shop.use(customer, "pm_card_chargeCustomerFail")
    shop.v1.subscriptions.resume(subscription.id)
    with pytest.raises(stripe.CardError):
        shop.v1.invoices.pay(shop.again(subscription).latest_invoice.id)
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.next_payment_attempt) == ("past_due", None)


def test_it_stays_paused_until_a_payment_succeeds_if_that_is_asked_for(shop: Shop) -> None:
    clock, customer, subscription = paused(shop)
    shop.use(customer, "pm_card_chargeCustomerFail")
    how = {"payment_behavior": "resume_on_payment_success"}
    assert shop.v1.subscriptions.resume(subscription.id, how).status == "paused"
    shop.use(customer, "pm_card_visa")
    shop.advance(clock, at("2025-02-23 00:01"))  # three days later it is tried again
    assert shop.again(subscription).status == "active"


def test_nobody_tries_and_it_stays_paused(shop: Shop) -> None:
    clock, customer, subscription = paused(shop)
    shop.use(customer, "pm_card_visa")
    shop.v1.subscriptions.resume(subscription.id)
    shop.advance(clock, "2025-02-21")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("paused", "void")
    shop.v1.subscriptions.resume(subscription.id, {"payment_behavior": "resume_on_payment_success"})
    assert shop.again(subscription).status == "active"


def test_a_trial_ended_early_is_charged_at_once(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price(), trial_end=at("2025-02-01"))
    shop.advance(clock, "2025-01-10")
    subscription = shop.v1.subscriptions.update(subscription.id, {"trial_end": "now"})
    assert (subscription.status, subscription.trial_end) == ("active", at("2025-01-10"))
    subscription = shop.again(subscription)
    assert subscription.latest_invoice.amount_paid == 2000
    assert subscription["items"].data[0].current_period_end == at("2025-02-10")


def test_a_trial_is_made_longer(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price(), trial_period_days=10)
    subscription = shop.v1.subscriptions.update(subscription.id, {"trial_end": at("2025-02-15")})
    assert subscription["items"].data[0].current_period_end == at("2025-02-15")
    shop.advance(clock, "2025-02-14")
    assert shop.again(subscription).status == "trialing"


def test_it_ends_now_or_with_its_period(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer, price = shop.customer(clock), shop.price()
    now, later, same = [shop.subscribe(customer, price) for _ in range(3)]
    assert shop.v1.subscriptions.cancel(now.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.subscriptions.cancel(now.id)
    assert gone.value.http_status == 404
    shop.v1.subscriptions.update(later.id, {"cancel_at_period_end": True})
    shop.v1.subscriptions.update(same.id, {"cancel_at": "max_period_end"})
    shop.advance(clock, "2025-01-31 23:59")
    assert [shop.again(one).status for one in (later, same)] == ["active", "active"]
    shop.advance(clock, "2025-02-01 00:01")
    ended = [shop.again(one) for one in (later, same)]
    assert [(one.status, one.ended_at) for one in ended] == [("canceled", at("2025-02-01"))] * 2
    assert shop.happened(later)[-1] == "customer.subscription.deleted"


def test_canceled_with_credit_for_the_rest(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer, meter = shop.customer(clock), shop.meter()
    subscription = shop.subscribe(customer, shop.price(2000), shop.metered(meter, 10))
    shop.use_units(meter, customer, 25)
    shop.advance(clock, "2025-01-16 12:00")
    shop.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    invoice = shop.again(subscription).latest_invoice
    assert shop.lines(invoice) == [(1, -1000), (25, 250)]
    assert (invoice.amount_due, invoice.ending_balance) == (0, -750)


def test_canceled_now_its_waiting_prorations_are_forgotten(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock)
    subscription = shop.subscribe(customer, shop.price(2000))
    shop.advance(clock, "2025-01-16 12:00")
    by_hand = shop.v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    seats = {"id": subscription["items"].data[0].id, "quantity": 3}
    shop.v1.subscriptions.update(subscription.id, {"items": [seats]})
    assert len(shop.v1.invoice_items.list({"customer": customer.id, "pending": True}).data) == 3
    shop.v1.subscriptions.cancel(subscription.id)
    left = shop.v1.invoice_items.list({"customer": customer.id, "pending": True}).data
    assert [one.id for one in left] == [by_hand.id]


def test_a_refused_change_leaves_everything_as_it_was(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price(), metadata={"a": "1"})
    shop.advance(clock, "2025-01-10")
    seats = [{"id": subscription["items"].data[0].id, "quantity": 9}]
    for wrong in (
        {"trial_end": at("2024-01-01")},
        {"default_payment_method": "pm_none"},
        {"discounts": [{"coupon": "none"}]},
        {"cancel_at": at("2024-12-31"), "cancel_at_period_end": True},
        {"proration_date": at("2024-12-31")},
    ):
        with pytest.raises(stripe.InvalidRequestError):
            shop.v1.subscriptions.update(subscription.id, {"items": seats, "metadata": {"a": "2"}, **wrong})
    assert shop.v1.invoice_items.list({"customer": subscription.customer}).data == []
    same = shop.v1.subscriptions.retrieve(subscription.id)
    assert (same["items"].data[0].quantity, same.metadata.a) == (1, "1")


def test_metered_use_is_billed_when_it_ends_at_the_period(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer, meter = shop.customer(clock), shop.meter()
    subscription = shop.subscribe(customer, shop.metered(meter, 100))
    assert subscription.latest_invoice is None  # nothing to bill yet
    shop.use_units(meter, customer, 7)
    shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    shop.advance(clock, "2025-02-01 02:00")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.amount_paid) == ("canceled", 700)


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")],
)
def test_collection_can_pause_without_changing_the_status(shop: Shop, behavior: str, status: str) -> None:
    clock = shop.clock("2025-01-01")
    subscription = shop.subscribe(shop.customer(clock), shop.price())
    pause = {"behavior": behavior, "resumes_at": at("2025-02-20")}
    shop.v1.subscriptions.update(subscription.id, {"pause_collection": pause})
    shop.advance(clock, "2025-02-01 02:00")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("active", status)
    shop.advance(clock, "2025-03-01 02:00")
    subscription = shop.again(subscription)
    assert (subscription.pause_collection, subscription.latest_invoice.status) == (None, "paid")


def test_lists_hide_what_has_ended_unless_asked(shop: Shop) -> None:
    customer, price = shop.customer(), shop.price()
    ended, running = shop.subscribe(customer, price), shop.subscribe(customer, price)
    shop.v1.subscriptions.cancel(ended.id)

    def ids(**sent: Any) -> list[str]:
        return [one.id for one in shop.v1.subscriptions.list({"customer": customer.id, **sent}).data]

    assert ids() == [running.id]
    assert ids(status="all") == [running.id, ended.id]
    assert ids(status="canceled") == ids(status="ended") == [ended.id]


def test_a_deleted_customer_leaves_a_stub_and_ended_subscriptions(shop: Shop) -> None:
    customer = shop.customer()
    subscription = shop.subscribe(customer, shop.price())
    assert shop.v1.customers.delete(customer.id).deleted
    assert shop.v1.customers.retrieve(customer.id).deleted
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        shop.v1.customers.update(customer.id, {"name": "Nobody"})
    assert customer.id not in [one.id for one in shop.v1.customers.list({"email": "ann@acme.test"}).data]


def test_updates_say_what_was_before(shop: Shop) -> None:
    subscription = shop.subscribe(shop.customer(), shop.price(), metadata={"a": "1", "b": "2"})
    shop.v1.subscriptions.update(subscription.id, {"metadata": {"a": "3", "b": ""}})
    event = shop.v1.events.list({"type": "customer.subscription.updated"}).data[0]
    assert event.data.to_dict()["previous_attributes"] == {"metadata": {"a": "1", "b": "2"}}
    assert event.data.object.metadata.to_dict() == {"a": "3"}
    assert event.api_version == stripe.api_version
