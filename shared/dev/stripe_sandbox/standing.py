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
        latest = subscription["latest_invoice"] == invoice["id"]
        resumes = subscription.get("_resumption") == invoice["id"] and invoice["status"] != "void"
        if (status == "incomplete" and paid and invoice["billing_reason"] == "subscription_create") or (
            status in ("past_due", "unpaid") and latest
        ):
            subscription["status"] = "active"
        elif status == "paused" and resumes:
            subscription |= {"status": "active", "status_details": None, "_resumption": None}
            account.emit("customer.subscription.resumed", subscription)
        update(account, subscription, "customer.subscription.updated", before)
    _delinquent(account, invoice["customer"])


def failed(account: Account, invoice: Object) -> None:
    subscription = subscription_of(account, invoice)
    if subscription is not None and subscription["status"] == "active":
        before = visible(subscription)
        subscription["status"] = "past_due"
        update(account, subscription, "customer.subscription.updated", before)
    _delinquent(account, invoice["customer"])


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
