"""Checkout and portal sessions, and what people do on their pages."""

from typing import Any

import pytest
import stripe

from shared.dev.stripe_sandbox import checkout, portal, timeline
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, Shop


def opened(shop: Shop, **more: Any) -> Any:
    items = [{"price": shop.price(2000).id, "quantity": 3}]
    sent = {"mode": "subscription", "success_url": "https://acme.test/ok", "line_items": items}
    return shop.v1.checkout.sessions.create({**sent, **more})


def test_paid_at_once_by_somebody_new(shop: Shop, account: Account) -> None:
    session = opened(shop, customer_email="ann@acme.test", client_reference_id="ten_1", metadata={"a": "b"})
    assert (session.status, session.amount_total, checkout.today(account, session.id)) == ("open", 6000, 6000)
    for card in ("4000000000000002", "4000000000000341", "4000000000009995", "1234"):
        outcome = checkout.pay(account, session.id, card)
        assert not outcome.paid
        assert outcome.message
    assert shop.v1.customers.list({"email": "ann@acme.test"}).data == []
    assert checkout.pay(account, session.id, "4242424242424242").paid
    session = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "customer"]})
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert session.subscription.status == "active"
    assert session.subscription.default_payment_method
    assert session.customer.email == "ann@acme.test"
    event = shop.v1.events.list({"type": "checkout.session.completed"}).data[0]
    assert (event.data.object.id, event.data.object.client_reference_id) == (session.id, "ten_1")
    with pytest.raises(Refusal, match="complete"):
        checkout.pay(account, session.id, "4242424242424242")


def test_a_second_tab_makes_a_second_subscription(shop: Shop, account: Account) -> None:
    customer = shop.customer(card=None)
    for session in [opened(shop, customer=customer.id) for _ in range(2)]:
        assert checkout.pay(account, session.id, "4242424242424242").paid
    assert len(shop.v1.subscriptions.list({"customer": customer.id}).data) == 2


def test_sessions_expire(shop: Shop, account: Account) -> None:
    left, closed = opened(shop), opened(shop)
    assert shop.v1.checkout.sessions.expire(closed.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.checkout.sessions.expire(closed.id)
    timeline.advance(account, DAY + 1)
    assert shop.v1.checkout.sessions.retrieve(left.id).status == "expired"
    assert shop.happened(left) == ["checkout.session.expired"]
    with pytest.raises(Refusal, match="expired"):
        checkout.pay(account, left.id, "4242424242424242")


def test_no_card_where_none_is_needed(shop: Shop, account: Account) -> None:
    session = opened(
        shop, payment_method_collection="if_required", subscription_data={"trial_period_days": 7}
    )
    assert checkout.finish_without_card(account, session.id).paid
    assert shop.v1.checkout.sessions.retrieve(session.id).payment_status == "no_payment_required"
    needed = opened(shop, payment_method_collection="if_required")
    assert not checkout.finish_without_card(account, needed.id).paid


def test_a_card_can_be_set_up(shop: Shop, account: Account) -> None:
    customer = shop.customer(card=None)
    session = shop.v1.checkout.sessions.create(
        {"mode": "setup", "currency": "usd", "customer": customer.id, "success_url": "https://acme.test"}
    )
    assert checkout.pay(account, session.id, "5555555555554444").paid
    session = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent.payment_method"]})
    assert session.setup_intent.payment_method.card.brand == "mastercard"
    assert shop.v1.customers.payment_methods.list(customer.id).data[0].customer == customer.id


def test_a_discount(shop: Shop, account: Account) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "once"})
    session = opened(shop, discounts=[{"coupon": coupon.id}])
    assert (session.amount_subtotal, session.amount_total) == (6000, 3000)
    checkout.pay(account, session.id, "4242424242424242")
    session = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice"]})
    assert session.invoice.amount_paid == 3000


@pytest.mark.parametrize(
    "wrong",
    [{"line_items": []}, {"customer": "cus_none"}, {"line_items": [{"price": "price_none", "quantity": 1}]}],
)
def test_what_cannot_be_sold(shop: Shop, wrong: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        opened(shop, **wrong)


def test_metered_prices_have_no_quantity_and_others_do(shop: Shop) -> None:
    metered, flat = shop.metered(shop.meter()), shop.price()
    for item in ({"price": metered.id, "quantity": 1}, {"price": flat.id}):
        with pytest.raises(stripe.InvalidRequestError):
            opened(shop, line_items=[item])


def test_the_portal_cancels_as_configured(shop: Shop, account: Account) -> None:
    customer = shop.customer()
    session = shop.v1.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "https://acme.test"}
    )
    assert session.url == f"http://stripe.test/p/{session.id}"
    subscription = shop.subscribe(customer, shop.price())
    now = {"subscription_cancel": {"enabled": True, "mode": "immediately", "proration_behavior": "none"}}
    shop.v1.billing_portal.configurations.update(session.configuration, {"features": now})
    with pytest.raises(Refusal):
        portal.resume(account, subscription.id)
    portal.cancel(account, subscription.id)
    assert shop.again(subscription).status == "canceled"
    with pytest.raises(Refusal, match="has ended"):
        portal.cancel(account, subscription.id)


def test_a_card_that_is_refused_replaces_nothing(shop: Shop, account: Account) -> None:
    customer = shop.customer()
    before = shop.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    with pytest.raises(Refusal, match="declined"):
        portal.replace_card(account, customer.id, "4000000000000002")
    assert shop.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method == before
