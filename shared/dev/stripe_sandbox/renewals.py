"""What time does to a subscription: the trial ends, a period ends, the end comes."""

from shared.dev.stripe_sandbox import bills, collection, endings, payments
from shared.dev.stripe_sandbox.objects import update
from shared.dev.stripe_sandbox.store import Account, Object, visible


def warn(account: Account, subscription: Object) -> None:
    """Three days before the trial ends; at once, if it is shorter."""
    subscription["_warned"] = True
    account.put(subscription)
    account.emit("customer.subscription.trial_will_end", subscription)


def expire(account: Account, subscription: Object) -> None:
    """Nobody paid the first invoice for 23 hours."""
    endings.expire(account, subscription)
    invoice = account.get("invoice", subscription["latest_invoice"])
    if invoice is not None and invoice["status"] == "open":
        collection.close(account, invoice, "void")


def collect_again(account: Account, subscription: Object) -> None:
    before = visible(subscription)
    subscription["pause_collection"] = None
    update(account, subscription, "customer.subscription.updated", before)


def end(account: Account, subscription: Object) -> None:
    """As planned, at the end of a period: what was used in it is still billed."""
    if subscription["status"] in ("active", "past_due"):
        invoice = bills.renewal(account, subscription, ends=True)
        if invoice is not None:
            invoice["_last"] = True
            account.put(invoice)
    endings.end(account, subscription)


def renew(account: Account, subscription: Object) -> None:
    if subscription["status"] == "trialing":
        _end_trial(account, subscription)
        return
    before = visible(subscription)
    bills.renewal(account, subscription)
    update(account, subscription, "customer.subscription.updated", before)


def _end_trial(account: Account, subscription: Object) -> None:
    method = payments.default_of(account, subscription)
    otherwise = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if method is None and otherwise == "cancel":
        endings.end(account, subscription)
        return
    before = visible(subscription)
    if method is None and otherwise == "pause":
        subscription["status"] = "paused"
        subscription["status_details"] = {
            "paused": {
                "subscription": {"type": "trial_end_without_payment_method"},
                "transitioned_at": account.now(subscription),
                "type": "subscription",
            }
        }
        account.put(subscription)
        account.emit("customer.subscription.paused", subscription)
        update(account, subscription, "customer.subscription.updated", before)
        return
    subscription["status"] = "active"
    bills.renewal(account, subscription, free=True)
    update(account, subscription, "customer.subscription.updated", before)
