"""Checkout and portal sessions of the Stripe stand-in."""

from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import checkout, portal, timeline
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant


def create_session(merchant: SdkMerchant, **more: Any) -> Any:
    items = [{"price": merchant.create_price(2000).id, "quantity": 3}]
    params = {"mode": "subscription", "success_url": "https://acme.test/ok", "line_items": items}
    return merchant.v1.checkout.sessions.create({**params, **more})


def test_checkout_by_a_new_customer_is_paid_at_once(merchant: SdkMerchant, account: Account) -> None:
    session = create_session(
        merchant, customer_email="ann@acme.test", client_reference_id="ten_1", metadata={"a": "b"}
    )
    assert (session.status, session.amount_total, checkout.compute_amount_due(account, session.id)) == (
        "open",
        6000,
        6000,
    )
    for card in ("4000000000000002", "4000000000000341", "4000000000009995", "1234"):
        outcome = checkout.pay_with_card(account, session.id, card)
        assert not outcome.paid
        assert outcome.message
    assert merchant.v1.customers.list({"email": "ann@acme.test"}).data == []
    assert checkout.pay_with_card(account, session.id, "4242424242424242").paid
    session = merchant.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "customer"]})
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert session.subscription.status == "active"
    assert session.subscription.default_payment_method
    assert session.customer.email == "ann@acme.test"
    event = merchant.v1.events.list({"type": "checkout.session.completed"}).data[0]
    assert (event.data.object.id, event.data.object.client_reference_id) == (session.id, "ten_1")
    with pytest.raises(ApiError, match="complete"):
        checkout.pay_with_card(account, session.id, "4242424242424242")


def test_checkout_in_a_second_tab_creates_a_second_subscription(
    merchant: SdkMerchant, account: Account
) -> None:
    customer = merchant.create_customer(card=None)
    for session in [create_session(merchant, customer=customer.id) for _ in range(2)]:
        assert checkout.pay_with_card(account, session.id, "4242424242424242").paid
    assert len(merchant.v1.subscriptions.list({"customer": customer.id}).data) == 2


def test_checkout_session_expires(merchant: SdkMerchant, account: Account) -> None:
    abandoned, expired = create_session(merchant), create_session(merchant)
    assert merchant.v1.checkout.sessions.expire(expired.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError):
        merchant.v1.checkout.sessions.expire(expired.id)
    timeline.advance_account(account, DAY + 1)
    assert merchant.v1.checkout.sessions.retrieve(abandoned.id).status == "expired"
    assert merchant.list_event_types(abandoned) == ["checkout.session.expired"]
    with pytest.raises(ApiError, match="expired"):
        checkout.pay_with_card(account, abandoned.id, "4242424242424242")


def test_checkout_without_a_card_is_completed_when_none_is_required(
    merchant: SdkMerchant, account: Account
) -> None:
    session = create_session(
        merchant, payment_method_collection="if_required", subscription_data={"trial_period_days": 7}
    )
    assert checkout.complete_without_card(account, session.id).paid
    assert merchant.v1.checkout.sessions.retrieve(session.id).payment_status == "no_payment_required"
    needed = create_session(merchant, payment_method_collection="if_required")
    assert not checkout.complete_without_card(account, needed.id).paid


def test_setup_session_saves_a_card(merchant: SdkMerchant, account: Account) -> None:
    customer = merchant.create_customer(card=None)
    session = merchant.v1.checkout.sessions.create(
        {"mode": "setup", "currency": "usd", "customer": customer.id, "success_url": "https://acme.test"}
    )
    assert checkout.pay_with_card(account, session.id, "5555555555554444").paid
    session = merchant.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent.payment_method"]})
    assert session.setup_intent.payment_method.card.brand == "mastercard"
    assert merchant.v1.customers.payment_methods.list(customer.id).data[0].customer == customer.id


def test_checkout_applies_a_discount(merchant: SdkMerchant, account: Account) -> None:
    coupon = merchant.v1.coupons.create({"percent_off": 50, "duration": "once"})
    session = create_session(merchant, discounts=[{"coupon": coupon.id}])
    assert (session.amount_subtotal, session.amount_total) == (6000, 3000)
    checkout.pay_with_card(account, session.id, "4242424242424242")
    session = merchant.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice"]})
    assert session.invoice.amount_paid == 3000


@pytest.mark.parametrize(
    "wrong",
    [{"line_items": []}, {"customer": "cus_none"}, {"line_items": [{"price": "price_none", "quantity": 1}]}],
)
def test_checkout_is_refused_for_invalid_items(merchant: SdkMerchant, wrong: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        create_session(merchant, **wrong)


def test_checkout_quantity_is_refused_for_metered_and_required_for_other_prices(
    merchant: SdkMerchant,
) -> None:
    metered, flat = merchant.create_metered_price(merchant.create_meter()), merchant.create_price()
    for item in ({"price": metered.id, "quantity": 1}, {"price": flat.id}):
        with pytest.raises(stripe.InvalidRequestError):
            create_session(merchant, line_items=[item])


def test_portal_is_refused_until_its_settings_are_saved(merchant: SdkMerchant, account: Account) -> None:
    """https://docs.stripe.com/customer-management/integrate-customer-portal"""
    customer, sessions = merchant.create_customer(), merchant.v1.billing_portal.sessions
    with pytest.raises(stripe.InvalidRequestError, match="default configuration has not been created"):
        sessions.create({"customer": customer.id})
    features = {"invoice_history": {"enabled": True}}
    configuration = merchant.v1.billing_portal.configurations.create({"features": features})
    assert not configuration.features.subscription_cancel.enabled
    assert sessions.create({"customer": customer.id, "configuration": configuration.id}).url
    merchant.v1.billing_portal.configurations.update(configuration.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        sessions.create({"customer": customer.id, "configuration": configuration.id})
    assert refusal.value.param == "configuration"
    portal.save_default_settings(account)
    assert sessions.create({"customer": customer.id}).url


def test_portal_cancels_as_configured(merchant: SdkMerchant, account: Account) -> None:
    customer = merchant.create_customer()
    portal.save_default_settings(account)
    session = merchant.v1.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "https://acme.test"}
    )
    assert session.url == f"http://stripe.test/p/{session.id}"
    subscription = merchant.subscribe(customer, merchant.create_price())
    now = {"subscription_cancel": {"enabled": True, "mode": "immediately", "proration_behavior": "none"}}
    merchant.v1.billing_portal.configurations.update(session.configuration, {"features": now})
    with pytest.raises(ApiError):
        portal.resume_subscription(account, subscription.id)
    portal.cancel_subscription(account, subscription.id)
    assert merchant.reload_subscription(subscription).status == "canceled"
    with pytest.raises(ApiError, match="has ended"):
        portal.cancel_subscription(account, subscription.id)


def test_portal_changes_plan_and_quantity_where_its_settings_allow_it(
    merchant: SdkMerchant, account: Account
) -> None:
    portal.save_default_settings(account)
    customer, small, large = (
        merchant.create_customer(),
        merchant.create_price(3000),
        merchant.create_price(9000),
    )
    subscription = merchant.subscribe(customer, (small, 1))
    with pytest.raises(ApiError, match="Changing the plan"):
        portal.change_plan(account, subscription.id, large.id, 1)
    configuration_id = merchant.v1.billing_portal.sessions.create({"customer": customer.id}).configuration
    update = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "products": [
            {"product": price.product, "prices": [price.id], "adjustable_quantity": {"enabled": True}}
            for price in (small, large)
        ],
        "proration_behavior": "create_prorations",
    }
    for allowed in (["price"], ["price", "quantity"]):
        update["default_allowed_updates"] = allowed
        merchant.v1.billing_portal.configurations.update(
            configuration_id, {"features": {"subscription_update": update}}
        )
        if allowed == ["price"]:
            with pytest.raises(ApiError, match="Another quantity"):
                portal.change_plan(account, subscription.id, large.id, 4)
    portal.change_plan(account, subscription.id, large.id, 4)
    item = merchant.reload_subscription(subscription)["items"].data[0]
    assert (item.price.id, item.quantity) == (large.id, 4)
    assert "customer.subscription.updated" in merchant.list_event_types(subscription)


def test_declined_card_replaces_nothing(merchant: SdkMerchant, account: Account) -> None:
    customer = merchant.create_customer()
    method_id = merchant.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    with pytest.raises(ApiError, match="declined"):
        portal.replace_card(account, customer.id, "4000000000000002")
    assert merchant.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method == method_id
