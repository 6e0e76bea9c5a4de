"""Time-based changes of a subscription: the end of its trial, of a period and of the subscription."""

from shared.dev.stripe_sandbox import billing_cycle, collection, endings, payments, sent_invoices
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


def emit_trial_warning(account: Account, subscription: Object) -> None:
    """Send `trial_will_end`, three days before the trial ends or at the start of a shorter one."""
    subscription["_warned"] = True
    account.put(subscription)
    account.emit("customer.subscription.trial_will_end", subscription)


def expire_incomplete(account: Account, subscription: Object) -> None:
    """Expires a subscription whose first invoice wasn't paid for 23 hours."""
    endings.expire_subscription(account, subscription)
    invoice = account.get("invoice", subscription["latest_invoice"])
    if invoice is not None and invoice["status"] == "open":
        collection.close_invoice(account, invoice, "void")


def resume_collection(account: Account, subscription: Object) -> None:
    previous = copy_visible(subscription)
    subscription["pause_collection"] = None
    save_change(account, subscription, "customer.subscription.updated", previous)


def end_as_scheduled(account: Account, subscription: Object) -> None:
    """End the subscription at the end of a period, and bill the usage of that period."""
    if subscription["status"] in ("active", "past_due"):
        invoice = billing_cycle.draft_renewal(account, subscription, is_final=True)
        if invoice is not None:
            invoice["_last"] = True
            account.put(invoice)
    endings.end_subscription(account, subscription)


def renew_subscription(account: Account, subscription: Object) -> None:
    if subscription["status"] == "trialing":
        _end_trial(account, subscription)
        return
    previous = copy_visible(subscription)
    billing_cycle.draft_renewal(account, subscription)
    save_change(account, subscription, "customer.subscription.updated", previous)


def _end_trial(account: Account, subscription: Object) -> None:
    method = payments.get_default_method_id(account, subscription)
    missing_method_behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    is_missing = method is None and not sent_invoices.is_sent(subscription)
    if is_missing and missing_method_behavior == "cancel":
        endings.end_subscription(account, subscription)
        return
    previous = copy_visible(subscription)
    if is_missing and missing_method_behavior == "pause":
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
        save_change(account, subscription, "customer.subscription.updated", previous)
        return
    subscription["status"] = "active"
    billing_cycle.draft_renewal(account, subscription, after_trial=True)
    save_change(account, subscription, "customer.subscription.updated", previous)
