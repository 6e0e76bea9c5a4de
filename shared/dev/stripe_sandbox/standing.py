"""The status of a subscription after an invoice was paid, or was not."""

from shared.dev.stripe_sandbox import pending_updates
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


def get_subscription(account: Account, invoice: Object) -> Object | None:
    subscription_details = (invoice["parent"] or {}).get("subscription_details")
    return account.get("subscription", subscription_details["subscription"]) if subscription_details else None


def apply_closed_invoice(account: Account, invoice: Object) -> None:
    """Paid, void or uncollectible: nothing is open on it any more."""
    subscription = get_subscription(account, invoice)
    is_paid = invoice["status"] == "paid"
    if subscription is not None and pending_updates.get_held_invoice_id(subscription) == invoice["id"]:
        if is_paid:
            pending_updates.apply_held_change(account, subscription)
        else:
            pending_updates.drop_held_change(account, subscription)
    elif subscription is not None:
        status, previous = subscription["status"], copy_visible(subscription)
        if (status == "incomplete" and is_paid and invoice["billing_reason"] == "subscription_create") or (
            status in ("past_due", "unpaid") and subscription["latest_invoice"] == invoice["id"]
        ):
            subscription["status"] = "active"
        elif subscription.get("_resumption") == invoice["id"]:
            subscription["_resumption"] = None
            if invoice["status"] != "void":
                _mark_resumed(account, subscription, "active")
        save_change(account, subscription, "customer.subscription.updated", previous)
    update_delinquency(account, invoice["customer"])


def apply_failed_payment(account: Account, invoice: Object) -> None:
    subscription = get_subscription(account, invoice)
    if subscription is not None and pending_updates.get_held_invoice_id(subscription) != invoice["id"]:
        previous = copy_visible(subscription)
        if subscription["status"] == "active":
            subscription["status"] = "past_due"
        elif subscription.get("_resumption") == invoice["id"] and not invoice["auto_advance"]:
            subscription["_resumption"] = None
            _mark_resumed(account, subscription, "past_due")
        save_change(account, subscription, "customer.subscription.updated", previous)
    update_delinquency(account, invoice["customer"])


def _mark_resumed(account: Account, subscription: Object, status: str) -> None:
    subscription |= {"status": status, "status_details": None}
    account.put(subscription)
    account.emit("customer.subscription.resumed", subscription)


def update_delinquency(account: Account, customer_id: str) -> None:
    customer = account.objects["customer"][customer_id]
    if customer.get("deleted"):
        return
    previous = copy_visible(customer)
    customer["delinquent"] = any(
        invoice["status"] == "open" and (invoice["attempted"] or invoice.get("_overdue_stages"))
        for invoice in account.list_for_customer("invoice", customer_id)
    )
    save_change(account, customer, "customer.updated", previous)
