"""Cards of customers."""

import hashlib

from shared.dev.stripe_sandbox import cards
from shared.dev.stripe_sandbox.cards import Card
from shared.dev.stripe_sandbox.customers import known
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, visible


def of(account: Account, card: Card, customer: str | None = None) -> Object:
    """A new payment method of this card, attached if a customer is given."""
    method = make(
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
    return attach(account, method, customer) if customer else method


def attach(account: Account, method: Object, customer: str) -> Object:
    cards.must_attach(cards.BY_NUMBER[method["_number"]])
    method["customer"] = customer
    account.put(method)
    account.emit("payment_method.attached", method)
    return method


def card_of(method: Object) -> Card:
    return cards.BY_NUMBER[method["_number"]]


@route("POST", "/v1/payment_methods", "PaymentMethodCreateParams", "type=card card metadata")
def create(call: Call) -> Object:
    sent = call.get("card") or {}
    token, number = sent.get("token"), sent.get("number")
    if token:
        if token not in cards.BY_NAME:
            raise Refusal(f"No such token: '{token}'", code="resource_missing", param="card[token]")
        card = cards.BY_NAME[token]
    elif number:
        card = cards.by_number(number)
    else:
        raise Refusal("Missing required param: card.", code="parameter_missing", param="card")
    method = of(call.account, card)
    merge_metadata(method, call.get("metadata"))
    return call.account.put(method)


@route("POST", "/v1/payment_methods/{id}/attach", "PaymentMethodAttachParams", "customer")
def attach_to(call: Call) -> Object:
    if call.get("customer") is None:
        raise Refusal("Missing required param: customer.", code="parameter_missing", param="customer")
    customer = known(call.account, call.get("customer"))
    if card := cards.BY_NAME.get(call.ids["id"]):
        cards.must_attach(card)
        return of(call.account, card, customer["id"])
    method = fetch(call.account, "payment_method", call.ids["id"])
    if method["customer"]:
        if method["customer"] == customer["id"]:
            return method
        raise Refusal(
            "The payment method you provided has already been attached to a customer.",
            code="payment_method_unexpected_state",
        )
    return attach(call.account, method, customer["id"])


@route("POST", "/v1/payment_methods/{id}/detach", "PaymentMethodDetachParams")
def detach(call: Call) -> Object:
    account = call.account
    method = fetch(account, "payment_method", call.ids["id"])
    owner = account.get("customer", method["customer"])
    if owner is None:
        raise Refusal(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    before = visible(method)
    method["customer"] = None
    account.put(method)
    account.emit("payment_method.detached", method, {"customer": before["customer"]})
    if owner["invoice_settings"]["default_payment_method"] == method["id"]:
        shown = visible(owner)
        owner["invoice_settings"]["default_payment_method"] = None
        update(account, owner, "customer.updated", shown)
    for one in account.of("subscription", owner["id"]):
        if one["default_payment_method"] == method["id"]:
            one["default_payment_method"] = None
            account.put(one)
    return method


@route("GET", "/v1/payment_methods/{id}", "PaymentMethodRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "payment_method", call.ids["id"])


@route("GET", "/v1/payment_methods", "PaymentMethodListParams", f"{PAGING} customer type=card")
def listing(call: Call) -> Object:
    return _page(call, known(call.account, call.get("customer"))["id"])


@route(
    "GET",
    "/v1/customers/{customer}/payment_methods",
    "CustomerPaymentMethodListParams",
    f"{PAGING} type=card",
)
def of_customer(call: Call) -> Object:
    return _page(call, known(call.account, call.ids["customer"])["id"])


@route("GET", "/v1/customers/{customer}/payment_methods/{id}", "CustomerPaymentMethodRetrieveParams")
def one_of_customer(call: Call) -> Object:
    method = fetch(call.account, "payment_method", call.ids["id"])
    if method["customer"] != call.ids["customer"]:
        raise missing("payment_method", method["id"])
    return method


def _page(call: Call, customer: str) -> Object:
    return page(call, call.account.of("payment_method", customer), "payment_method")
