"""Making and changing objects, the same for every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from shared.dev.stripe_sandbox.contract import build_skeleton
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible, new_id

ID_PREFIXES = {
    "billing.meter": "mtr",
    "billing_portal.configuration": "bpc",
    "billing_portal.session": "bps",
    "charge": "ch",
    "checkout.session": "cs_test",
    "coupon": "coupon",
    "credit_note": "cn",
    "credit_note_line_item": "cnli",
    "customer": "cus",
    "customer_balance_transaction": "cbtxn",
    "discount": "di",
    "dispute": "du",
    "invoice": "in",
    "invoice_payment": "inpay",
    "invoiceitem": "ii",
    "item": "li",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "radar.early_fraud_warning": "issfr",
    "refund": "re",
    "setup_intent": "seti",
    "subscription": "sub",
    "subscription_item": "si",
    "subscription_schedule": "sub_sched",
    "tax_id": "txi",
    "test_helpers.test_clock": "clock",
    "webhook_endpoint": "we",
}
# Only there when somebody asks for them by `expand`.
EXPAND_ONLY_FIELDS = {
    "charge": ("refunds",),
    "checkout.session": ("line_items",),
    "customer": ("subscriptions", "sources", "tax", "tax_ids", "cash_balance"),
    "invoice": ("payments", "confirmation_secret", "total_pretax_credit_amounts"),
    "price": ("tiers", "currency_options"),
}


def make_object(account: Account, kind: str, **fields: Any) -> Object:
    """A valid object with id and time. It is not stored yet: the caller fills it first."""
    blank = build_skeleton(kind)
    for key in EXPAND_ONLY_FIELDS.get(kind, ()):
        blank.pop(key, None)
    blank |= {"id": new_id(ID_PREFIXES[kind]), **fields}
    if "created" in blank and "created" not in fields:
        blank["created"] = account.now(blank)
    return blank


def fetch_object(account: Account, kind: str, id_: Any, param: str = "id") -> Object:
    obj = account.get(kind, id_ if isinstance(id_, str) else None)
    if obj is None:
        raise not_found_error(kind, str(id_), param)
    return obj


def merge_metadata(obj: Object, metadata: Any) -> None:
    """Keys are added or replaced; an empty value removes its key, an empty metadata all."""
    if metadata is None:
        return
    if metadata == "":
        obj["metadata"] = {}
        return
    merged = {**(obj["metadata"] or {}), **metadata}
    obj["metadata"] = {key: value for key, value in merged.items() if value != ""}
    if len(obj["metadata"]) > 50:
        raise ApiError("You can only have up to 50 metadata keys.", param="metadata")


@contextmanager
def restore_on_error(obj: Object) -> Iterator[None]:
    """Restore the object when the block raises ApiError."""
    original = deepcopy(obj)
    try:
        yield
    except ApiError:
        obj.clear()
        obj.update(original)
        raise


def diff_objects(before: Object, after: Object) -> Object:
    """What `previous_attributes` says: only what differs, nested hashes likewise, lists as a whole."""
    differences = {}
    for key in after.keys() | before.keys():
        old, new = before.get(key), after.get(key)
        if old != new:
            nested = isinstance(old, dict) and isinstance(new, dict)
            differences[key] = (
                diff_objects(old, new) if nested and old is not None and new is not None else old
            )
    return differences


def save_change(account: Account, obj: Object, event: str, previous: Object) -> Object:
    """Write what was changed in place since `before` (a `visible` copy), and say so if it shows."""
    account.put(obj)
    if difference := diff_objects(previous, copy_visible(obj)):
        account.emit(event, obj, difference)
    return obj
