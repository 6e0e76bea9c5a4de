"""A subscription that was paused, on request or because its trial ended without a card, begins a new period.

By default its invoice isn't collected: the subscription is paused until it is paid, past due if a payment fails, and
paused permanently after 23 hours without an attempt. With `resume_on_payment_success` it is tried at once and again,
and stays paused until that succeeds.
"""

from shared.dev.stripe_sandbox import billing_cycle, collection, subscriptions
from shared.dev.stripe_sandbox.objects import fetch_object, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


@route(
    "POST",
    "/v1/subscriptions/{id}/resume",
    "SubscriptionResumeParams",
    "billing_cycle_anchor.type=now proration_behavior payment_behavior=resume_on_payment_success|resume_on_payment_attempt",
)
def resume_subscription(call: ApiCall) -> Object:
    account = call.account
    subscription = fetch_object(account, "subscription", call.ids["id"])
    if subscription["status"] != "paused" or subscription.get("_resumption"):
        raise ApiError(
            "The subscription is not paused, or is about to resume.", code="resource_invalid_state"
        )
    previous = copy_visible(subscription)
    billing_cycle.restart_periods(account, subscription, account.now(subscription))
    if not subscriptions.compute_first_charge(account, subscription):
        subscription |= {"status": "active", "status_details": None}
        account.put(subscription)
        account.emit("customer.subscription.resumed", subscription)
        save_change(account, subscription, "customer.subscription.updated", previous)
        billing_cycle.bill_first_period(account, subscription, "subscription_update")
        return subscription
    invoice = billing_cycle.bill_first_period(account, subscription, "subscription_update", charge_now=False)
    assert invoice is not None  # something is due
    if invoice["status"] == "paid":  # by the credit of the pause
        subscription |= {"status": "active", "status_details": None}
        account.put(subscription)
        account.emit("customer.subscription.resumed", subscription)
        save_change(account, subscription, "customer.subscription.updated", previous)
        return subscription
    subscription["_resumption"] = invoice["id"]
    charge_now = call.get("payment_behavior") == "resume_on_payment_success"
    invoice["auto_advance"] = charge_now
    account.put(invoice)
    save_change(account, subscription, "customer.subscription.updated", previous)
    if charge_now:
        collection.attempt_payment(account, invoice)
    return subscription


def void_unpaid_resumption(account: Account, subscription: Object) -> None:
    """Voids the invoice of a resumption without an attempt to pay for 23 hours."""
    collection.close_invoice(account, account.objects["invoice"][subscription["_resumption"]], "void")
