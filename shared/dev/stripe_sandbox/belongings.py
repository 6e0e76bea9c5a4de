"""What belongs to a customer, as the pages show it."""

from shared.dev.stripe_sandbox import endings, payments
from shared.dev.stripe_sandbox.store import Account, Object


def subscriptions(account: Account, customer: Object) -> list[Object]:
    """Newest first."""
    return [one for one in account.all("subscription") if one["customer"] == customer["id"]]


def running(account: Account, customer: Object) -> list[Object]:
    return [one for one in subscriptions(account, customer) if one["status"] not in endings.OVER]


def charged_next(account: Account, customer: Object) -> Object | None:
    """The payment method: a subscription may have one of its own."""
    mine = running(account, customer)
    chosen = (
        payments.default_of(account, mine[0])
        if mine
        else customer["invoice_settings"]["default_payment_method"]
    )
    return account.get("payment_method", chosen)


def invoices(account: Account, customer: Object) -> list[Object]:
    """Those that were ever sent."""
    return [
        one
        for one in account.all("invoice")
        if one["customer"] == customer["id"] and one["status"] != "draft"
    ]
