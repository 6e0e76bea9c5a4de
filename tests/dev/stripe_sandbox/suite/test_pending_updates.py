"""Changes that wait for their payment: https://docs.stripe.com/billing/subscriptions/pending-updates-reference"""

from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import collection, payments
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, to_timestamp


def subscribe(merchant: SdkMerchant, clock: Any) -> tuple[Any, Any]:
    customer = merchant.create_customer(clock)
    return customer, merchant.subscribe(customer, (merchant.create_price(36500, interval="year"), 1))


def update(merchant: SdkMerchant, subscription: Any, **params: Any) -> Any:
    """Three of it, paid now."""
    item = subscription["items"].data[0]
    return merchant.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "quantity": 3}],
            "payment_behavior": "pending_if_incomplete",
            "proration_behavior": "always_invoice",
            "metadata": {"order": "7"},
            **params,
        },
    )


def get_quantity(subscription: Any) -> int:
    return int(subscription["items"].data[0].quantity)


def test_paid_update_applies_at_once(merchant: SdkMerchant) -> None:
    _, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    changed = update(merchant, subscription)
    assert (changed.pending_update, get_quantity(changed)) == (None, 3)
    assert changed.to_dict()["metadata"] == {"order": "7"}


def test_declined_update_waits_and_applies_when_its_invoice_is_paid(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, subscription = subscribe(merchant, clock)
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    waiting = update(merchant, subscription)
    assert (waiting.status, get_quantity(waiting), waiting.to_dict()["metadata"]) == ("active", 1, {})
    assert waiting.pending_update.expires_at == to_timestamp("2025-01-01 23:00")
    assert waiting.pending_update.subscription_items[0].quantity == 3
    assert waiting.pending_update.to_dict()["metadata"] == {"order": "7"}
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert (invoice.status, invoice.amount_due, invoice.next_payment_attempt) == ("open", 73000, None)
    method = merchant.set_card(customer, "pm_card_visa")
    merchant.v1.invoices.pay(invoice.id, {"payment_method": method.id})
    changed = merchant.reload_subscription(subscription)
    assert (changed.pending_update, get_quantity(changed)) == (None, 3)
    assert changed.to_dict()["metadata"] == {"order": "7"}
    events = merchant.list_event_types(subscription)
    assert "customer.subscription.pending_update_applied" in events


def test_update_without_payment_expires_and_voids_its_invoice(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, subscription = subscribe(merchant, clock)
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    update(merchant, subscription)
    merchant.advance_clock(clock, to_timestamp("2025-01-01") + DAY)
    changed = merchant.reload_subscription(subscription)
    assert (changed.pending_update, get_quantity(changed), changed.status) == (None, 1, "active")
    assert changed.latest_invoice.status == "void"
    assert "customer.subscription.pending_update_expired" in merchant.list_event_types(subscription)


def test_other_period_waits_for_its_payment_too(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock)
    subscription = merchant.subscribe(customer, merchant.create_price(1000))
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    item = subscription["items"].data[0]
    yearly = merchant.create_price(36500, interval="year")
    merchant.advance_clock(clock, "2025-01-11")
    waiting = update(merchant, subscription, items=[{"id": item.id, "price": yearly.id}])
    assert waiting.pending_update.billing_cycle_anchor == to_timestamp("2025-01-11")
    assert waiting["items"].data[0].current_period_end == to_timestamp("2025-02-01")
    invoice = merchant.reload_subscription(subscription).latest_invoice
    method = merchant.set_card(customer, "pm_card_visa")
    merchant.advance_clock(clock, "2025-01-11 05:00")
    merchant.v1.invoices.pay(invoice.id, {"payment_method": method.id})
    changed = merchant.reload_subscription(subscription)
    assert changed["items"].data[0].price.id == yearly.id
    assert changed["items"].data[0].current_period_end == to_timestamp("2026-01-11")


def test_next_update_and_a_cancellation_drop_the_waiting_one(merchant: SdkMerchant) -> None:
    customer, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    update(merchant, subscription)
    first = merchant.reload_subscription(subscription).latest_invoice
    item = subscription["items"].data[0]
    waiting = update(merchant, subscription, items=[{"id": item.id, "quantity": 2}])
    assert waiting.pending_update.subscription_items[0].quantity == 2
    assert merchant.v1.invoices.retrieve(first.id).status == "void"
    second = merchant.reload_subscription(subscription).latest_invoice
    merchant.v1.subscriptions.cancel(subscription.id)
    assert merchant.v1.invoices.retrieve(second.id).status == "void"


@pytest.mark.parametrize("params", [{"description": "More"}, {"default_payment_method": "pm_1"}])
def test_other_params_are_refused_in_a_waiting_update(merchant: SdkMerchant, params: Any) -> None:
    _, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    with pytest.raises(stripe.InvalidRequestError, match="you can only pass supported params"):
        update(merchant, subscription, **params)
    assert get_quantity(merchant.reload_subscription(subscription)) == 1


def test_card_that_has_to_be_confirmed_is_charged_when_it_is(merchant: SdkMerchant, account: Account) -> None:
    customer, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    merchant.set_card(customer, "pm_card_authenticationRequired")
    assert update(merchant, subscription).pending_update is not None
    invoice = merchant.reload_subscription(subscription).latest_invoice
    assert "invoice.payment_action_required" in merchant.list_event_types(invoice)
    with pytest.raises(stripe.CardError, match="requires additional user action"):
        merchant.v1.invoices.pay(invoice.id)
    stored = account.objects["invoice"][invoice.id]
    method = payments.get_method_to_confirm(account, stored)
    assert collection.attempt_payment(account, stored, method, is_confirmed=True)
    assert get_quantity(merchant.reload_subscription(subscription)) == 3
    assert payments.get_method_to_confirm(account, stored) is None


def test_metadata_that_is_written_while_an_update_waits_stays(merchant: SdkMerchant) -> None:
    customer, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    merchant.v1.subscriptions.update(subscription.id, {"metadata": {"old": "1"}})
    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    update(merchant, subscription, metadata={"order": "7", "old": ""})
    merchant.v1.subscriptions.update(subscription.id, {"metadata": {"dispute": "du_1"}})
    invoice = merchant.reload_subscription(subscription).latest_invoice
    method = merchant.set_card(customer, "pm_card_visa")
    merchant.v1.invoices.pay(invoice.id, {"payment_method": method.id})
    changed = merchant.reload_subscription(subscription)
    assert (get_quantity(changed), changed.to_dict()["metadata"]) == (3, {"order": "7", "dispute": "du_1"})


def test_seats_of_an_archived_price_can_be_changed_and_not_bought_anew(merchant: SdkMerchant) -> None:
    _, subscription = subscribe(merchant, merchant.create_clock("2025-01-01"))
    item = subscription["items"].data[0]
    merchant.v1.prices.update(item.price.id, {"active": False})
    assert get_quantity(update(merchant, subscription)) == 3
    other = merchant.create_customer()
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        merchant.subscribe(other, (item.price, 1))
