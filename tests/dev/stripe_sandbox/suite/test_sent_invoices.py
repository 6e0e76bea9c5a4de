"""Subscriptions whose invoices are sent for payment by transfer, `collection_method=send_invoice`."""

from typing import Any

import pytest
import stripe

from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, to_timestamp

SENT = {"collection_method": "send_invoice", "days_until_due": 14}


def subscribe(merchant: SdkMerchant, **changed: Any) -> tuple[Any, Any]:
    """The clock, and a subscription since 2025-01-01 of a customer without a card."""
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock, card=None)
    return clock, merchant.subscribe(customer, (merchant.create_price(), 3), **{**SENT, **changed})


def test_sent_subscription_is_active_and_its_first_invoice_is_final_an_hour_later(
    merchant: SdkMerchant,
) -> None:
    clock, subscription = subscribe(merchant)
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (subscription.status, invoice.status, invoice.due_date) == (
        "active",
        "draft",
        to_timestamp("2025-01-01") + 14 * DAY,
    )
    merchant.advance_clock(clock, "2025-01-01 01:30")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.status, invoice.amount_due, invoice.attempt_count) == ("open", 6000, 0)
    assert "invoice.sent" in merchant.list_event_types(invoice)


@pytest.mark.parametrize("days", [None, 0])
def test_sent_subscription_needs_days_until_due(merchant: SdkMerchant, days: int | None) -> None:
    customer = merchant.create_customer(card=None)
    terms = {"collection_method": "send_invoice", **({} if days is None else {"days_until_due": days})}
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.subscribe(customer, merchant.create_price(), **terms)
    assert excinfo.value.param == "days_until_due"


def test_days_until_due_are_refused_where_it_is_charged(merchant: SdkMerchant) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        merchant.subscribe(merchant.create_customer(), merchant.create_price(), days_until_due=14)


def test_sent_subscription_needs_an_email_address(merchant: SdkMerchant) -> None:
    customer = merchant.v1.customers.create({"name": "Acme"})
    with pytest.raises(stripe.InvalidRequestError, match="email"):
        merchant.subscribe(customer, merchant.create_price(), **SENT)


def test_overdue_invoice_makes_the_subscription_past_due_and_then_unpaid(merchant: SdkMerchant) -> None:
    clock, subscription = subscribe(merchant)
    merchant.advance_clock(clock, "2025-01-16")
    assert merchant.reload_subscription(subscription).status == "past_due"
    merchant.advance_clock(clock, "2025-02-16")
    assert merchant.reload_subscription(subscription).status == "unpaid"


def test_payment_out_of_band_ends_a_debt_and_is_final(merchant: SdkMerchant) -> None:
    clock, subscription = subscribe(merchant)
    merchant.advance_clock(clock, "2025-01-16")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    with pytest.raises(stripe.CardError):  # nothing is charged
        merchant.v1.invoices.pay(invoice.id)
    paid = merchant.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid, paid.amount_paid_off_stripe) == ("paid", 6000, 6000)
    assert merchant.reload_subscription(subscription).status == "active"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        merchant.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})


def test_update_that_waits_for_its_payment_is_refused_where_invoices_are_sent(merchant: SdkMerchant) -> None:
    _, subscription = subscribe(merchant)
    item = subscription["items"].data[0].id
    change = {"items": [{"id": item, "quantity": 4}], "payment_behavior": "pending_if_incomplete"}
    with pytest.raises(stripe.InvalidRequestError, match="charge_automatically"):
        merchant.v1.subscriptions.update(subscription.id, change)


def test_trial_without_a_card_continues_where_invoices_are_sent(merchant: SdkMerchant) -> None:
    settings = {"end_behavior": {"missing_payment_method": "cancel"}}
    clock, subscription = subscribe(merchant, trial_period_days=7, trial_settings=settings)
    merchant.advance_clock(clock, "2025-01-09")
    assert merchant.reload_subscription(subscription).status == "active"
