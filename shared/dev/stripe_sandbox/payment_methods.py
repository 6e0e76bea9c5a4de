"""Cards of customers."""

import hashlib

from shared.dev.stripe_sandbox import cards
from shared.dev.stripe_sandbox.cards import Card
from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


def create_from_card(account: Account, card: Card, customer: str | None = None) -> Object:
    """A new payment method of this card, attached if a customer is given."""
    method = make_object(
        account,
        "payment_method",
        type="card",
        allow_redisplay="unspecified",
        metadata={},
        customer=None,
        created=account.now(customer),
        card={
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 2034,
            "fingerprint": hashlib.sha256(card.number.encode()).hexdigest()[:16],
            "funding": "credit",
            "generated_from": None,
            "last4": card.number[-4:],
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        _number=card.number,
    )
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
    if token:
        if token not in cards.BY_NAME:
            raise ApiError(f"No such token: '{token}'", code="resource_missing", param="card[token]")
        card = cards.BY_NAME[token]
    elif number:
        card = cards.find_by_number(number)
    else:
        raise ApiError("Missing required param: card.", code="parameter_missing", param="card")
    method = create_from_card(call.account, card)
    merge_metadata(method, call.get("metadata"))
    return call.account.put(method)


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


def _list_page(call: ApiCall, customer: str) -> Object:
    return paginate(call, call.account.list_for_customer("payment_method", customer), "payment_method")
