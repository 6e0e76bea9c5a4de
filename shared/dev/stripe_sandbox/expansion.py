"""`expand[]=latest_invoice.payments`: ids become objects, and what is only shown on request appears."""

from collections.abc import Callable

from shared.dev.stripe_sandbox.objects import PREFIX
from shared.dev.stripe_sandbox.payments import payment_of
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import embedded
from shared.dev.stripe_sandbox.store import Account, Object, visible

KINDS = {prefix: kind for kind, prefix in PREFIX.items()}
NAMED = {
    "product": "product",
    "coupon": "coupon",
    "test_clock": "test_helpers.test_clock",
}  # ids of people's own


def _subscriptions(account: Account, customer: Object) -> Object:
    found = [
        one
        for one in account.of("subscription", customer["id"])
        if one["status"] not in ("canceled", "incomplete_expired")
    ]
    return embedded(found, f"/v1/customers/{customer['id']}/subscriptions")


def _payments(account: Account, invoice: Object) -> Object:
    payment = account.get("invoice_payment", invoice.get("_payment"))
    found = [payment] if payment else []
    return embedded(found, f"/v1/invoices/{invoice['id']}/payments")


def _refunds(account: Account, charge: Object) -> Object:
    found = [one for one in account.all("refund") if one["charge"] == charge["id"]]
    return embedded(found, f"/v1/charges/{charge['id']}/refunds")


def _secret(account: Account, invoice: Object) -> Object | None:
    if "_payment" not in invoice:
        return None
    _, intent = payment_of(account, invoice)
    return {"client_secret": intent["client_secret"], "type": "payment_intent"}


SHOWN: dict[tuple[str, str], Callable[[Account, Object], Object | list[Object] | None]] = {
    ("charge", "refunds"): _refunds,
    ("checkout.session", "line_items"): lambda _, session: session["_line_items"],
    ("customer", "subscriptions"): _subscriptions,
    ("invoice", "confirmation_secret"): _secret,
    ("invoice", "payments"): _payments,
    ("price", "tiers"): lambda _, price: price.get("_tiers"),
}


def expand(account: Account, body: Object, paths: list[str]) -> Object:
    for path in paths:
        if path.count(".") > 3:
            raise Refusal(
                f"You cannot expand more than 4 levels of a property. Property: {path}", param="expand"
            )
        _open(account, body, path.split("."), path)
    return body


def _open(account: Account, body: Object, parts: list[str], path: str) -> None:
    key, rest = parts[0], parts[1:]
    kind = str(body.get("object"))
    if (kind, key) in SHOWN and body.get(key) is None:
        whole = account.get(kind, body.get("id"))
        if whole is not None:
            body[key] = visible(SHOWN[kind, key](account, whole))
    elif key not in body:
        raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
    elif isinstance(body[key], str):
        body[key] = _object(account, key, body[key], path)
    elif isinstance(body[key], list):
        body[key] = [_object(account, key, one, path) if isinstance(one, str) else one for one in body[key]]
    if rest:
        inner = body[key]
        for each in inner if isinstance(inner, list) else [inner]:
            if isinstance(each, dict):
                _open(account, each, rest, path)


def _object(account: Account, key: str, id_: str, path: str) -> Object:
    kind = NAMED.get(key) or KINDS.get(id_.rpartition("_")[0])
    found = account.get(kind, id_) if kind else None
    if found is None:
        raise Refusal(f"This property cannot be expanded ({path}).", param="expand")
    opened: Object = visible(found)
    return opened
