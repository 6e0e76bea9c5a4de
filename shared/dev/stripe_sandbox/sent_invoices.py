"""Invoices that are sent for payment by transfer instead of being charged, `collection_method=send_invoice`.

https://docs.stripe.com/billing/collection-method and https://docs.stripe.com/api/subscriptions/object#subscription_object-status:
the subscription is active at once, and past due when an invoice isn't paid by its due date.
"""

from shared.dev.stripe_sandbox import endings
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

SEND_INVOICE = "send_invoice"
DAY = 86_400
OVERDUE_DAYS = 30  # of accounts that were made before there was the setting


def is_sent(owner: Object) -> bool:
    """Of a subscription or an invoice."""
    return bool(owner["collection_method"] == SEND_INVOICE)


def read_collection_method(customer: Object, params: Object) -> Object:
    """The fields of a new subscription."""
    method, days = params.get("collection_method", "charge_automatically"), params.get("days_until_due")
    if method != SEND_INVOICE:
        if days is not None:
            raise ApiError(
                "You can only set `days_until_due` if `collection_method` is `send_invoice`.",
                param="days_until_due",
            )
        return {"collection_method": method}
    if days is None or days < 1:
        raise ApiError(
            "You must pass `days_until_due` when `collection_method` is `send_invoice`.",
            param="days_until_due",
        )
    if not customer["email"]:
        raise ApiError(
            "Missing email. In order to create invoices that are sent to the customer, the customer must have a"
            " valid email.",
            param="customer",
        )
    return {"collection_method": method, "days_until_due": days}


def build_invoice_fields(subscription: Object, created: int) -> Object:
    """The due date is `days_until_due` after the invoice is created."""
    if not is_sent(subscription):
        return {}
    return {
        "collection_method": SEND_INVOICE,
        "due_date": created + subscription["days_until_due"] * DAY,
    }


def get_overdue_time(account: Account, invoice: Object) -> int | None:
    """When something happens to an open invoice next: it falls due, or the additional deadline passes."""
    if invoice["status"] != "open" or not is_sent(invoice) or not invoice["due_date"]:
        return None
    days = account.settings.get("overdue_days", OVERDUE_DAYS)
    stages = (invoice["due_date"], invoice["due_date"] + days * DAY)
    passed = invoice.get("_overdue_stages", 0)
    return int(stages[passed]) if passed < len(stages) else None


def pass_deadline(account: Account, invoice: Object, subscription: Object | None) -> None:
    """The subscription becomes past due, and at last what the setting `after_retries` says."""
    invoice["_overdue_stages"] = invoice.get("_overdue_stages", 0) + 1
    account.put(invoice)
    if subscription is None or subscription["status"] not in ("active", "past_due"):
        return
    status = "past_due" if invoice["_overdue_stages"] == 1 else account.settings["after_retries"]
    if status == "canceled":
        endings.end_subscription(account, subscription, reason="payment_failed")
    elif status != subscription["status"]:
        previous = copy_visible(subscription)
        subscription["status"] = status
        save_change(account, subscription, "customer.subscription.updated", previous)
