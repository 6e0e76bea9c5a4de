"""How a subscription stands after an invoice was paid, or was not."""

from shared.dev.stripe_sandbox.objects import update
from shared.dev.stripe_sandbox.store import Account, Object, visible


def subscription_of(account: Account, invoice: Object) -> Object | None:
    about = (invoice["parent"] or {}).get("subscription_details")
    return account.get("subscription", about["subscription"]) if about else None


def settled(account: Account, invoice: Object) -> None:
    """Paid, void or uncollectible: nothing is open on it any more."""
    subscription = subscription_of(account, invoice)
    paid = invoice["status"] == "paid"
    if subscription is not None:
        status, before = subscription["status"], visible(subscription)
        if (status == "incomplete" and paid and invoice["billing_reason"] == "subscription_create") or (
            status in ("past_due", "unpaid") and subscription["latest_invoice"] == invoice["id"]
        ):
            subscription["status"] = "active"
        elif subscription.get("_resumption") == invoice["id"]:
            subscription["_resumption"] = None
            if invoice["status"] != "void":
                _resumed(account, subscription, "active")
        update(account, subscription, "customer.subscription.updated", before)
    _delinquent(account, invoice["customer"])


def failed(account: Account, invoice: Object) -> None:
    subscription = subscription_of(account, invoice)
    if subscription is not None:
        before = visible(subscription)
        if subscription["status"] == "active":
            subscription["status"] = "past_due"
        elif subscription.get("_resumption") == invoice["id"] and not invoice["auto_advance"]:
            subscription["_resumption"] = None
            _resumed(account, subscription, "past_due")
        update(account, subscription, "customer.subscription.updated", before)
    _delinquent(account, invoice["customer"])


def _resumed(account: Account, subscription: Object, status: str) -> None:
    subscription |= {"status": status, "status_details": None}
    account.put(subscription)
    account.emit("customer.subscription.resumed", subscription)


def _delinquent(account: Account, customer_id: str) -> None:
    customer = account.objects["customer"][customer_id]
    if customer.get("deleted"):
        return
    before = visible(customer)
    customer["delinquent"] = any(
        one["customer"] == customer_id and one["status"] == "open" and one["attempted"]
        for one in account.all("invoice")
    )
    update(account, customer, "customer.updated", before)
