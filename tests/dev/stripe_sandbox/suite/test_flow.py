"""From sign-up to the end of a customer's life, with every amount."""

from shared.dev.stripe_sandbox import checkout, portal
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import Shop, at


def test_the_life_of_a_customer(shop: Shop, account: Account) -> None:
    clock = shop.clock("2025-01-01")
    customer = shop.customer(clock, card=None)
    meter = shop.meter()
    seats, calls = shop.price(2000), shop.metered(meter, 5)
    session = shop.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "https://acme.test/done?session={CHECKOUT_SESSION_ID}",
            "line_items": [{"price": seats.id, "quantity": 3}, {"price": calls.id}],
            "subscription_data": {"trial_period_days": 14, "metadata": {"tenant": "ten_1"}},
        }
    )
    assert session.url == f"http://stripe.test/c/{session.id}"
    assert not checkout.pay(account, session.id, "4000000000000002").paid
    outcome = checkout.pay(account, session.id, "4000 0000 0000 0341")
    assert outcome.url == f"https://acme.test/done?session={session.id}"

    session = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "line_items"]})
    subscription = session.subscription
    assert (session.status, session.payment_status) == ("complete", "no_payment_required")
    assert (subscription.status, subscription.metadata.tenant) == ("trialing", "ten_1")
    assert subscription.trial_end == at("2025-01-15")

    shop.use_units(meter, customer, 1_000)  # in the trial: free
    item = subscription["items"].data[0]
    subscription = shop.v1.subscriptions.update(subscription.id, {"items": [{"id": item.id, "quantity": 5}]})
    assert shop.again(subscription).latest_invoice.amount_due == 0

    shop.advance(clock, "2025-01-15 00:30")  # its hour is not over: nobody has tried yet
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "draft")
    shop.use_units(meter, customer, 100)
    shop.advance(clock, "2025-01-15 02:00")
    subscription = shop.again(subscription)
    assert subscription.status == "past_due"
    assert shop.lines(subscription.latest_invoice) == [(5, 10_000)]
    assert subscription.latest_invoice.amount_remaining == 10_000

    portal.replace_card(account, customer.id, "4242424242424242")
    assert shop.again(subscription).status == "active"

    shop.use(customer, "pm_card_chargeCustomerFail")
    shop.v1.subscriptions.update(
        subscription.id, {"default_payment_method": shop.use(customer, "pm_card_chargeCustomerFail").id}
    )
    shop.advance(clock, "2025-02-15 02:00")
    subscription = shop.again(subscription)
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.amount_due) == ("past_due", "open", 10_500)
    assert shop.lines(invoice) == [(5, 10_000), (100, 500)]
    assert invoice.parent.subscription_details.metadata.tenant == "ten_1"

    portal.replace_card(account, customer.id, "4242424242424242")
    assert shop.again(subscription).status == "active"
    portal.cancel(account, subscription.id)
    subscription = shop.again(subscription)
    assert (subscription.cancel_at_period_end, subscription.cancel_at) == (True, at("2025-03-15"))
    portal.resume(account, subscription.id)
    assert shop.again(subscription).cancel_at is None
    portal.cancel(account, subscription.id)
    shop.advance(clock, "2025-03-15 02:00")
    subscription = shop.again(subscription)
    assert (subscription.status, subscription.ended_at) == ("canceled", at("2025-03-15"))
    assert shop.happened(subscription) == [
        "customer.subscription.created",
        "customer.subscription.updated",  # five seats
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",  # active
        "customer.subscription.updated",  # past due
        "customer.subscription.updated",  # another card
        "customer.subscription.updated",  # active
        "customer.subscription.updated",  # the failing card
        "customer.subscription.updated",  # a new period
        "customer.subscription.updated",  # past due
        "customer.subscription.updated",
        "customer.subscription.updated",
        "customer.subscription.updated",  # ends
        "customer.subscription.updated",  # does not
        "customer.subscription.updated",  # ends
        "customer.subscription.deleted",
    ]
