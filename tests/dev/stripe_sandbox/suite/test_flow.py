"""A customer from sign-up to deletion, with every amount."""

from shared.dev.stripe_sandbox import checkout, portal
from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import SdkMerchant, to_timestamp


def test_customer_from_sign_up_to_deletion_is_billed_correctly(
    merchant: SdkMerchant, account: Account
) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer = merchant.create_customer(clock, card=None)
    meter = merchant.create_meter()
    seats, calls = merchant.create_price(2000), merchant.create_metered_price(meter, 5)
    session = merchant.v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "https://acme.test/done?session={CHECKOUT_SESSION_ID}",
            "line_items": [{"price": seats.id, "quantity": 3}, {"price": calls.id}],
            "subscription_data": {"trial_period_days": 14, "metadata": {"tenant": "ten_1"}},
        }
    )
    assert session.url == f"http://stripe.test/c/{session.id}"
    assert not checkout.pay_with_card(account, session.id, "4000000000000002").paid
    outcome = checkout.pay_with_card(account, session.id, "4000 0000 0000 0341")
    assert outcome.url == f"https://acme.test/done?session={session.id}"

    session = merchant.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription", "line_items"]})
    subscription = session.subscription
    assert (session.status, session.payment_status) == ("complete", "no_payment_required")
    assert (subscription.status, subscription.metadata.tenant) == ("trialing", "ten_1")
    assert subscription.trial_end == to_timestamp("2025-01-15")

    merchant.report_usage(meter, customer, 1_000)  # in the trial: free
    item = subscription["items"].data[0]
    subscription = merchant.v1.subscriptions.update(
        subscription.id, {"items": [{"id": item.id, "quantity": 5}]}
    )
    assert merchant.reload_subscription(subscription).latest_invoice.amount_due == 0

    merchant.advance_clock(clock, "2025-01-15 00:30")  # its hour is not over: nobody has tried yet
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.latest_invoice.status) == ("active", "draft")
    merchant.report_usage(meter, customer, 100)
    merchant.advance_clock(clock, "2025-01-15 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert subscription.status == "past_due"
    assert merchant.list_lines(subscription.latest_invoice) == [(5, 10_000)]
    assert subscription.latest_invoice.amount_remaining == 10_000

    portal.replace_card(account, customer.id, "4242424242424242")
    assert merchant.reload_subscription(subscription).status == "active"

    merchant.set_card(customer, "pm_card_chargeCustomerFail")
    merchant.v1.subscriptions.update(
        subscription.id,
        {"default_payment_method": merchant.set_card(customer, "pm_card_chargeCustomerFail").id},
    )
    merchant.advance_clock(clock, "2025-02-15 02:00")
    subscription = merchant.reload_subscription(subscription)
    invoice = subscription.latest_invoice
    assert (subscription.status, invoice.status, invoice.amount_due) == ("past_due", "open", 10_500)
    assert merchant.list_lines(invoice) == [(5, 10_000), (100, 500)]
    assert invoice.parent.subscription_details.metadata.tenant == "ten_1"

    portal.replace_card(account, customer.id, "4242424242424242")
    assert merchant.reload_subscription(subscription).status == "active"
    portal.cancel_subscription(account, subscription.id)
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.cancel_at_period_end, subscription.cancel_at) == (True, to_timestamp("2025-03-15"))
    portal.resume_subscription(account, subscription.id)
    assert merchant.reload_subscription(subscription).cancel_at is None
    portal.cancel_subscription(account, subscription.id)
    merchant.advance_clock(clock, "2025-03-15 02:00")
    subscription = merchant.reload_subscription(subscription)
    assert (subscription.status, subscription.ended_at) == ("canceled", to_timestamp("2025-03-15"))
    assert merchant.list_event_types(subscription) == [
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
