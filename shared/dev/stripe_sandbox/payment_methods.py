"""Cards of customers, and bank accounts that they let us debit."""

import hashlib
from datetime import UTC, datetime

from shared.dev.stripe_sandbox import cards
from shared.dev.stripe_sandbox.cards import Card
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


def create_from_card(
    account: Account, card: Card, customer: str | None = None, *, exp_month: int = 12, exp_year: int = 2034
) -> Object:
    """A new payment method of this card, attached if a customer is given."""
    method = make_object(
        account,
        "payment_method",
        type=card.kind,
        allow_redisplay="unspecified",
        metadata={},
        customer=None,
        created=account.now(customer),
        _number=card.number,
    )
    fingerprint = hashlib.sha256(card.number.encode()).hexdigest()[:16]
    if card.kind == "sepa_debit":
        method["sepa_debit"] = {
            "bank_code": card.number[4:9],
            "branch_code": "",
            "country": card.number[:2],
            "fingerprint": fingerprint,
            "generated_from": None,
            "last4": card.number[-4:],
        }
    else:
        method["card"] = {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": exp_month,
            "exp_year": exp_year,
            "fingerprint": fingerprint,
            "funding": "credit",
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        }
    account.put(method)
    return attach_method(account, method, customer) if customer else method


def attach_method(account: Account, method: Object, customer: str) -> Object:
    cards.require_attachable(cards.BY_NUMBER[method["_number"]])
    method["customer"] = customer
    account.put(method)
    account.emit("payment_method.attached", method)
    return method


def get_card(method: Object) -> Card:
    return cards.BY_NUMBER[method["_number"]]


@route("POST", "/v1/payment_methods", "PaymentMethodCreateParams", "type=card card metadata")
def create_on_request(call: ApiCall) -> Object:
    card_params = call.get("card") or {}
    token, number = card_params.get("token"), card_params.get("number")
    expiry = {"exp_month": 12, "exp_year": 2034}
    if token:
        if token not in cards.BY_NAME:
            raise ApiError(f"No such token: '{token}'", code="resource_missing", param="card[token]")
        card = cards.BY_NAME[token]
    elif number:
        card = cards.find_by_number(number)
        for name in ("exp_month", "exp_year"):
            if name not in card_params:
                raise ApiError(
                    f"Missing required param: card[{name}].",
                    code="parameter_missing",
                    param=f"card[{name}]",
                )
        expiry = _read_expiry(call.account, card_params)
    else:
        raise ApiError("Missing required param: card.", code="parameter_missing", param="card")
    method = create_from_card(call.account, card, exp_month=expiry["exp_month"], exp_year=expiry["exp_year"])
    merge_metadata(method, call.get("metadata"))
    return call.account.put(method)


@route(
    "POST",
    "/v1/payment_methods/{id}",
    "PaymentMethodUpdateParams",
    "card.exp_month card.exp_year metadata",
)
def update_method(call: ApiCall) -> Object:
    method = fetch_object(call.account, "payment_method", call.ids["id"])
    if method["customer"] is None:
        raise ApiError("A payment method must be attached to a customer to be updated.")
    previous = copy_visible(method)
    method["card"] = {**method["card"], **_read_expiry(call.account, call.get("card") or {})}
    merge_metadata(method, call.get("metadata"))
    return save_change(call.account, method, "payment_method.updated", previous)


@route("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams", "customer")
def attach_on_request(call: ApiCall) -> Object:
    if call.get("customer") is None:
        raise ApiError("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = get_customer(call.account, call.get("customer"))
    if card := cards.BY_NAME.get(call.ids["id"]):
        cards.require_attachable(card)
        return create_from_card(call.account, card, customer["id"])
    method = fetch_object(call.account, "payment_method", call.ids["id"])
    if method["customer"]:
        if method["customer"] == customer["id"]:
            return method
        raise ApiError(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    return attach_method(call.account, method, customer["id"])


@route("POST", "/v1/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach_method(call: ApiCall) -> Object:
    account = call.account
    method = fetch_object(account, "payment_method", call.ids["id"])
    owner = account.get("customer", method["customer"])
    if owner is None:
        raise ApiError(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    previous = copy_visible(method)
    method["customer"] = None
    account.put(method)
    account.emit("payment_method.detached", method, {"customer": previous["customer"]})
    if owner["invoice_settings"]["default_payment_method"] == method["id"]:
        previous_owner = copy_visible(owner)
        owner["invoice_settings"]["default_payment_method"] = None
        save_change(account, owner, "customer.updated", previous_owner)
    for subscription in account.list_for_customer("subscription", owner["id"]):
        if subscription["default_payment_method"] == method["id"]:
            subscription["default_payment_method"] = None
            account.put(subscription)
    return method


@route("GET", "/v1/payment_methods/{id}", "PaymentMethodRetrieveParams")
def retrieve_method(call: ApiCall) -> Object:
    return fetch_object(call.account, "payment_method", call.ids["id"])


@route("GET", "/v1/payment_methods", "PaymentMethodListParams", f"{PAGING} customer type=card")
def list_methods(call: ApiCall) -> Object:
    return _list_page(call, get_customer(call.account, call.get("customer"))["id"])


@route(
    "GET",
    "/v1/customers/{customer}/payment_methods",
    "CustomerPaymentMethodListParams",
    f"{PAGING} type=card",
)
def list_customer_methods(call: ApiCall) -> Object:
    return _list_page(call, get_customer(call.account, call.ids["customer"])["id"])


@route("GET", "/v1/customers/{customer}/payment_methods/{id}", "CustomerPaymentMethodRetrieveParams")
def retrieve_customer_method(call: ApiCall) -> Object:
    method = fetch_object(call.account, "payment_method", call.ids["id"])
    if method["customer"] != call.ids["customer"]:
        raise not_found_error("payment_method", method["id"])
    return method


def _read_expiry(account: Account, card_params: dict[str, int]) -> dict[str, int]:
    """https://docs.stripe.com/error-codes#invalid-expiry-month"""
    names = ("exp_month", "exp_year")
    expiry: dict[str, int] = {name: card_params[name] for name in names if name in card_params}
    if not 1 <= expiry.get("exp_month", 1) <= 12:
        raise _expiry_error("month")
    year = datetime.fromtimestamp(account.now(), UTC).year
    if not year <= expiry.get("exp_year", year) <= year + 50:
        raise _expiry_error("year")
    return expiry


def _expiry_error(part: str) -> ApiError:
    return ApiError(
        f"Your card's expiration {part} is invalid.",
        status=402,
        kind="card_error",
        code=f"invalid_expiry_{part}",
        param=f"exp_{part}",
    )


def _list_page(call: ApiCall, customer: str) -> Object:
    return paginate(call, call.account.list_for_customer("payment_method", customer), "payment_method")
