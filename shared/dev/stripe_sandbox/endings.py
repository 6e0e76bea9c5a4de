"""A subscription ends: now, at the end of its period, or because nobody paid."""

from shared.dev.stripe_sandbox.store import Account, Object, visible

OVER = ("canceled", "incomplete_expired")


def end(account: Account, subscription: Object, *, reason: str = "cancellation_requested") -> None:
    """At once. What is still open on its invoices is not collected any more."""
    now = account.now(subscription)
    subscription |= {"status": "canceled", "ended_at": now, "canceled_at": subscription["canceled_at"] or now}
    subscription |= {"cancel_at": None, "status_details": None, "pause_collection": None}
    _reason(subscription, reason)
    account.put(subscription)
    for invoice in account.of("invoice", subscription["customer"]):
        about = (invoice["parent"] or {}).get("subscription_details")
        mine = about is not None and about["subscription"] == subscription["id"]
        if mine and invoice["status"] in ("draft", "open") and not invoice.get("_last"):
            invoice |= {
                "auto_advance": False,
                "next_payment_attempt": None,
                "automatically_finalizes_at": None,
            }
            account.put(invoice)
    account.emit("customer.subscription.deleted", subscription)


def expire(account: Account, subscription: Object) -> None:
    """23 hours without a first payment."""
    before = visible(subscription)
    now = account.now(subscription)
    subscription |= {"status": "incomplete_expired", "ended_at": now, "canceled_at": now}
    account.put(subscription)
    account.emit("customer.subscription.updated", subscription, {"status": before["status"]})


def _reason(subscription: Object, reason: str) -> None:
    known = subscription["cancellation_details"] or {"comment": None, "feedback": None}
    subscription["cancellation_details"] = {**known, "reason": reason}
