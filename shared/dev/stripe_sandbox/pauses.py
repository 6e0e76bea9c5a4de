"""Pausing a running subscription on request. https://docs.stripe.com/billing/subscriptions/pause

It is paused at once, its period ends then, and no invoice is made until it is resumed. What isn't used is credited and what was
used is charged by pending items, which the invoice of the resumption takes.
"""

from shared.dev.stripe_sandbox import prorations, sent_invoices
from shared.dev.stripe_sandbox.objects import fetch_object, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

PAUSE_PARAMS = (
    "type=subscription bill_for.unused_time_from.type=now bill_for.outstanding_usage_through.type=now"
    " invoicing_behavior=pending_invoice_item"
)


@route("POST", "/v1/subscriptions/{id}/pause", "SubscriptionPauseParams", PAUSE_PARAMS)
def pause_on_request(call: ApiCall) -> Object:
    subscription = fetch_object(call.account, "subscription", call.ids["id"])
    pause_subscription(call.account, subscription)
    return subscription


def pause_subscription(account: Account, subscription: Object) -> None:
    """Raises ApiError for one that can't be paused."""
    if subscription["schedule"]:
        raise ApiError("You cannot pause a subscription that is attached to a schedule.")
    if subscription["status"] != "active":
        raise ApiError(
            f"You cannot pause a subscription in the `{subscription['status']}` status.",
            code="resource_invalid_state",
        )
    if subscription["pending_update"] or subscription["cancel_at"] or subscription["pause_collection"]:
        raise UnsupportedError(
            "pausing a subscription with a pending update, a date of its end or paused collection"
        )
    if sent_invoices.is_sent(subscription):
        raise UnsupportedError("pausing a subscription whose invoices are sent")
    previous, now = copy_visible(subscription), account.now(subscription)
    for item in subscription["items"]["data"]:
        if prorations.is_metered(item):
            prorations.bill_usage_so_far(account, subscription, item, now)
        else:
            prorations.credit_unused_time(account, subscription, item, now)
        item |= {"current_period_end": now, "_basis": None, "_since": now}
    subscription["status"] = "paused"
    subscription["status_details"] = {
        "paused": {
            "subscription": {"type": "pause_requested"},
            "transitioned_at": now,
            "type": "subscription",
        }
    }
    account.put(subscription)
    account.emit("customer.subscription.paused", subscription)
    save_change(account, subscription, "customer.subscription.updated", previous)
