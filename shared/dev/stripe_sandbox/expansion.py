"""`expand[]=latest_invoice.payments`: ids become objects, and what is only shown on request appears."""

from collections.abc import Callable

from shared.dev.stripe_sandbox.objects import ID_PREFIXES
from shared.dev.stripe_sandbox.payments import get_payment
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import build_list
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

KIND_BY_PREFIX = {prefix: kind for kind, prefix in ID_PREFIXES.items()}
KIND_BY_FIELD = {
    "product": "product",
    "coupon": "coupon",
    "test_clock": "test_helpers.test_clock",
}  # ids of people's own


def _list_subscriptions(account: Account, customer: Object) -> Object:
    subscriptions = [
        subscription
        for subscription in account.list_for_customer("subscription", customer["id"])
        if subscription["status"] not in ("canceled", "incomplete_expired")
    ]
    return build_list(subscriptions, f"/v1/customers/{customer['id']}/subscriptions")


def _list_payments(account: Account, invoice: Object) -> Object:
    payment = account.get("invoice_payment", invoice.get("_payment"))
    payments = [payment] if payment else []
    return build_list(payments, f"/v1/invoices/{invoice['id']}/payments")


def _list_refunds(account: Account, charge: Object) -> Object:
    refunds = [refund for refund in account.list_objects("refund") if refund["charge"] == charge["id"]]
    return build_list(refunds, f"/v1/charges/{charge['id']}/refunds")


def _get_confirmation_secret(account: Account, invoice: Object) -> Object | None:
    if "_payment" not in invoice:
        return None
    _, intent = get_payment(account, invoice)
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


EXPANDABLE_FIELDS: dict[tuple[str, str], Callable[[Account, Object], Object | list[Object] | None]] = {
    ("charge", "refunds"): _list_refunds,
    ("checkout.session", "line_items"): lambda _, session: session["_line_items"],
    ("customer", "subscriptions"): _list_subscriptions,
    ("invoice", "confirmation_secret"): _get_confirmation_secret,
    ("invoice", "payments"): _list_payments,
    ("price", "tiers"): lambda _, price: price.get("_tiers"),
}


def expand_paths(account: Account, body: Object, paths: list[str]) -> Object:
    for path in paths:
        if path.count(".") > 3:
            raise ApiError(
                f"You cannot expand more than 4 levels of a property. Property: {path}", param="expand"
            )
        _expand_path(account, body, path.split("."), path)
    return body


def _expand_path(account: Account, body: Object, parts: list[str], path: str) -> None:
    key, remaining_parts = parts[0], parts[1:]
    kind = str(body.get("object"))
    if (kind, key) in EXPANDABLE_FIELDS and body.get(key) is None:
        full_object = account.get(kind, body.get("id"))
        if full_object is not None:
            body[key] = copy_visible(EXPANDABLE_FIELDS[kind, key](account, full_object))
    elif key not in body:
        raise ApiError(f"This property cannot be expanded ({path}).", param="expand")
    elif isinstance(body[key], str):
        body[key] = _load_object(account, key, body[key], path)
    elif isinstance(body[key], list):
        body[key] = [
            _load_object(account, key, value, path) if isinstance(value, str) else value
            for value in body[key]
        ]
    if remaining_parts:
        expanded = body[key]
        for child in expanded if isinstance(expanded, list) else [expanded]:
            if isinstance(child, dict):
                _expand_path(account, child, remaining_parts, path)


def _load_object(account: Account, key: str, id_: str, path: str) -> Object:
    kind = KIND_BY_FIELD.get(key) or KIND_BY_PREFIX.get(id_.rpartition("_")[0])
    full_object = account.get(kind, id_) if kind else None
    if full_object is None:
        raise ApiError(f"This property cannot be expanded ({path}).", param="expand")
    public_object: Object = copy_visible(full_object)
    return public_object
