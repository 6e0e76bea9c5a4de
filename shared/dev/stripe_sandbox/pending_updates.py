"""Changes that wait for their payment, `payment_behavior=pending_if_incomplete`: until then everything stays as it was.

https://docs.stripe.com/billing/subscriptions/pending-updates-reference
"""

from copy import deepcopy

from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

BEHAVIOR = "pending_if_incomplete"
LIFETIME_S = 23 * 3600
# Metadata since https://docs.stripe.com/changelog/dahlia/2026-05-27/pending-subscription-update-metadata
SUPPORTED_PARAMS = frozenset(
    "billing_cycle_anchor expand items metadata payment_behavior proration_behavior proration_date trial_end".split()
)
UNBUILT_PARAMS = frozenset({"add_invoice_items", "cancel_at_period_end", "discounts", "trial_from_plan"})
CHANGING_PARAMS = frozenset({"billing_cycle_anchor", "items", "trial_end"})


def require_supported(params: Object) -> None:
    for name in sorted(params.keys() - SUPPORTED_PARAMS):
        if name in UNBUILT_PARAMS:
            raise UnsupportedError(f"{name} in a pending update")
        raise ApiError(
            f"When `payment_behavior` is set to `{BEHAVIOR}`, you can only pass supported params. `{name}` is not"
            " supported. See https://docs.stripe.com/billing/subscriptions/pending-updates-reference#supported-attributes"
            " for more details.",
            param=name,
        )


def hold_change(account: Account, subscription: Object, before: Object, invoice: Object) -> None:
    """Puts the changed subscription back to `before` and keeps the change until `invoice` is paid."""
    changed_fields = {
        key: value
        for key, value in deepcopy(subscription).items()
        if key not in ("latest_invoice", "metadata") and value != before.get(key)
    }
    metadata, latest_invoice = subscription["metadata"], subscription["latest_invoice"]
    period_end = min(item["current_period_end"] for item in before["items"]["data"])
    now = account.now(subscription)
    subscription.clear()
    subscription.update(before)
    subscription["latest_invoice"] = latest_invoice
    new_metadata = {key: value for key, value in metadata.items() if before["metadata"].get(key) != value}
    subscription["_held"] = {
        "fields": changed_fields,
        "metadata": new_metadata,
        "removed_metadata": sorted(before["metadata"].keys() - metadata.keys()),
        "invoice": invoice["id"],
    }
    new_anchor = changed_fields.get("billing_cycle_anchor")
    subscription["pending_update"] = {
        "billing_cycle_anchor": new_anchor,
        "cancel_at_period_end": None,
        "discount": None,
        "discounts": None,
        "expires_at": min(now + LIFETIME_S, period_end),
        "metadata": new_metadata,
        "subscription_items": [copy_visible(item) for item in changed_fields["items"]["data"]]
        if "items" in changed_fields
        else None,
        "trial_end": changed_fields.get("trial_end"),
        "trial_from_plan": None,
    }
    account.put(subscription)


def get_held_invoice_id(subscription: Object) -> str:
    """The invoice that a pending update waits for; "" without one."""
    return str((subscription.get("_held") or {}).get("invoice") or "")


def apply_held_change(account: Account, subscription: Object) -> None:
    """Its invoice was paid."""
    previous, held = copy_visible(subscription), subscription["_held"]
    # What else was written to the metadata meanwhile stays.
    metadata = {**subscription["metadata"], **held["metadata"]}
    for key in held.get("removed_metadata", ()):
        metadata.pop(key, None)
    subscription |= {**held["fields"], "metadata": metadata, "pending_update": None, "_held": None}
    account.put(subscription)
    account.emit("customer.subscription.pending_update_applied", subscription)
    save_change(account, subscription, "customer.subscription.updated", previous)


def drop_held_change(account: Account, subscription: Object) -> None:
    """Its invoice was voided, or the subscription ends."""
    previous = copy_visible(subscription)
    subscription |= {"pending_update": None, "_held": None}
    account.put(subscription)
    account.emit("customer.subscription.pending_update_expired", subscription)
    save_change(account, subscription, "customer.subscription.updated", previous)
