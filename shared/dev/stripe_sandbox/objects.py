"""Making and changing objects, the same for every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from shared.dev.stripe_sandbox.contract import skeleton
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.store import Account, Object, new_id, visible

PREFIX = {
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
    "invoice": "in",
    "invoice_payment": "inpay",
    "invoiceitem": "ii",
    "item": "li",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "refund": "re",
    "setup_intent": "seti",
    "subscription": "sub",
    "subscription_item": "si",
    "test_helpers.test_clock": "clock",
    "webhook_endpoint": "we",
}
# Only there when somebody asks for them by `expand`.
INCLUDED = {
    "charge": ("refunds",),
    "checkout.session": ("line_items",),
    "customer": ("subscriptions", "sources", "tax", "tax_ids", "cash_balance"),
    "invoice": ("payments", "confirmation_secret", "total_pretax_credit_amounts"),
    "price": ("tiers", "currency_options"),
}


def make(account: Account, kind: str, **known: Any) -> Object:
    """A legal object with id and time, not yet put: fill it first."""
    blank = skeleton(kind)
    for key in INCLUDED.get(kind, ()):
        blank.pop(key, None)
    blank |= {"id": new_id(PREFIX[kind]), **known}
    if "created" in blank and "created" not in known:
        blank["created"] = account.now(blank)
    return blank


def fetch(account: Account, kind: str, id_: Any, param: str = "id") -> Object:
    found = account.get(kind, id_ if isinstance(id_, str) else None)
    if found is None:
        raise missing(kind, str(id_), param)
    return found


def merge_metadata(obj: Object, sent: Any) -> None:
    """Keys are added or replaced; an empty value removes its key, an empty metadata all."""
    if sent is None:
        return
    if sent == "":
        obj["metadata"] = {}
        return
    merged = {**(obj["metadata"] or {}), **sent}
    obj["metadata"] = {key: value for key, value in merged.items() if value != ""}
    if len(obj["metadata"]) > 50:
        raise Refusal("You can only have up to 50 metadata keys.", param="metadata")


@contextmanager
def intact(obj: Object) -> Iterator[None]:
    """Refused in the middle, it is as it was."""
    before = deepcopy(obj)
    try:
        yield
    except Refusal:
        obj.clear()
        obj.update(before)
        raise


def changed(before: Object, after: Object) -> Object:
    """What `previous_attributes` says: only what differs, nested hashes likewise, lists as a whole."""
    found = {}
    for key in after.keys() | before.keys():
        old, new = before.get(key), after.get(key)
        if old != new:
            nested = isinstance(old, dict) and isinstance(new, dict)
            found[key] = changed(old, new) if nested and old is not None and new is not None else old
    return found


def update(account: Account, obj: Object, event: str, before: Object) -> Object:
    """Write what was changed in place since `before` (a `visible` copy), and say so if it shows."""
    account.put(obj)
    if difference := changed(before, visible(obj)):
        account.emit(event, obj, difference)
    return obj
