"""What belongs to a customer, as the pages show it."""

from shared.dev.stripe_sandbox import endings, payments
from shared.dev.stripe_sandbox.store import Account, Object


def list_subscriptions(account: Account, customer: Object) -> list[Object]:
    """Newest first."""
    return account.list_for_customer("subscription", customer["id"])


def list_live_subscriptions(account: Account, customer: Object) -> list[Object]:
    return [
        subscription
        for subscription in list_subscriptions(account, customer)
        if subscription["status"] not in endings.ENDED_STATUSES
    ]


def get_payment_method(account: Account, customer: Object) -> Object | None:
    """The payment method: a subscription may have one of its own."""
    live_subscriptions = list_live_subscriptions(account, customer)
    method_id = (
        payments.get_default_method_id(account, live_subscriptions[0])
        if live_subscriptions
        else customer["invoice_settings"]["default_payment_method"]
    )
    return account.get("payment_method", method_id)


def list_sent_invoices(account: Account, customer: Object) -> list[Object]:
    """Those that were ever sent."""
    return [
        invoice
        for invoice in account.list_objects("invoice")
        if invoice["customer"] == customer["id"] and invoice["status"] != "draft"
    ]
