"""A subscription ends: now, at the end of its period, or because it wasn't paid."""

from shared.dev.stripe_sandbox import schedules
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

ENDED_STATUSES = ("canceled", "incomplete_expired")


def end_subscription(
    account: Account, subscription: Object, *, reason: str = "cancellation_requested"
) -> None:
    """Cancel the subscription immediately. Its open invoices are no longer collected."""
    now = account.now(subscription)
    subscription |= {"status": "canceled", "ended_at": now, "canceled_at": subscription["canceled_at"] or now}
    subscription |= {"cancel_at": None, "status_details": None, "pause_collection": None}
    schedules.cancel_schedule(account, subscription)
    _set_reason(subscription, reason)
    account.put(subscription)
    for invoice in account.list_for_customer("invoice", subscription["customer"]):
        subscription_details = (invoice["parent"] or {}).get("subscription_details")
        is_of_subscription = (
            subscription_details is not None and subscription_details["subscription"] == subscription["id"]
        )
        if is_of_subscription and invoice["status"] in ("draft", "open") and not invoice.get("_last"):
            invoice |= {
                "auto_advance": False,
                "next_payment_attempt": None,
                "automatically_finalizes_at": None,
            }
            account.put(invoice)
    account.emit("customer.subscription.deleted", subscription)


def expire_subscription(account: Account, subscription: Object) -> None:
    """Expire a subscription whose first invoice was not paid for 23 hours."""
    previous = copy_visible(subscription)
    now = account.now(subscription)
    subscription |= {"status": "incomplete_expired", "ended_at": now, "canceled_at": now}
    account.put(subscription)
    account.emit("customer.subscription.updated", subscription, {"status": previous["status"]})


def _set_reason(subscription: Object, reason: str) -> None:
    details = subscription["cancellation_details"] or {"comment": None, "feedback": None}
    subscription["cancellation_details"] = {**details, "reason": reason}
