"""A subscription that was paused, because its trial ended without a card, begins a new period.

By default nobody tries to collect its invoice: it is paused until somebody pays, past due if that fails, and paused
for good when nobody tries for 23 hours. With `resume_on_payment_success` it is tried at once and again, and stays
paused until that succeeds.
"""

from shared.dev.stripe_sandbox import bills, collection, subscriptions
from shared.dev.stripe_sandbox.objects import fetch, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import Call, route
from shared.dev.stripe_sandbox.store import Account, Object, visible


@route(
    "POST",
    "/v1/subscriptions/{id}/resume",
    "SubscriptionResumeParams",
    "billing_cycle_anchor.type=now proration_behavior payment_behavior=resume_on_payment_success|resume_on_payment_attempt",
)
def resume(call: Call) -> Object:
    account = call.account
    subscription = fetch(account, "subscription", call.ids["id"])
    if subscription["status"] != "paused" or subscription.get("_resumption"):
        raise Refusal("The subscription is not paused, or is about to resume.", code="resource_invalid_state")
    before = visible(subscription)
    bills.restart(account, subscription, account.now(subscription))
    if not subscriptions.due_at_first(account, subscription):
        subscription |= {"status": "active", "status_details": None}
        account.put(subscription)
        account.emit("customer.subscription.resumed", subscription)
        update(account, subscription, "customer.subscription.updated", before)
        bills.first_of_period(account, subscription, "subscription_update")
        return subscription
    invoice = bills.first_of_period(account, subscription, "subscription_update", tries=False)
    assert invoice is not None  # something is due
    subscription["_resumption"] = invoice["id"]
    tries = call.get("payment_behavior") == "resume_on_payment_success"
    invoice["auto_advance"] = tries
    account.put(invoice)
    update(account, subscription, "customer.subscription.updated", before)
    if tries:
        collection.attempt(account, invoice)
    return subscription


def give_up(account: Account, subscription: Object) -> None:
    """Nobody tried to pay for 23 hours."""
    collection.close(account, account.objects["invoice"][subscription["_resumption"]], "void")
