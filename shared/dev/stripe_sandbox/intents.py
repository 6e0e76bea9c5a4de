"""Payment and setup intents, as far as invoices and Checkout make them."""

from typing import Any

from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, new_id


def to_set_up(account: Account, customer: str | None, description: str | None, metadata: Any) -> Object:
    intent = make(
        account,
        "setup_intent",
        customer=customer,
        description=description,
        created=account.now(customer),
        metadata={},
        payment_method_types=["card"],
        status="requires_payment_method",
        usage="off_session",
    )
    intent["client_secret"] = f"{intent['id']}_secret_{new_id('x')[2:]}"
    merge_metadata(intent, metadata)
    account.put(intent)
    account.emit("setup_intent.created", intent)
    return intent


def succeed(account: Account, intent: Object, customer: Object, method: Object | None) -> None:
    intent |= {"status": "succeeded", "customer": customer["id"]}
    intent["payment_method"] = method["id"] if method else None
    account.put(intent)
    account.emit("setup_intent.succeeded", intent)


@route("GET", "/v1/setup_intents/{id}", "SetupIntentRetrieveParams")
def retrieve_setup(call: Call) -> Object:
    return fetch(call.account, "setup_intent", call.ids["id"], "intent")


@route("GET", "/v1/payment_intents/{id}", "PaymentIntentRetrieveParams")
def retrieve_payment(call: Call) -> Object:
    return fetch(call.account, "payment_intent", call.ids["id"], "intent")


@route("GET", "/v1/payment_intents", "PaymentIntentListParams", f"{PAGING} customer")
def list_payments(call: Call) -> Object:
    return _page(call, "payment_intent")


@route("GET", "/v1/charges/{id}", "ChargeRetrieveParams")
def retrieve_charge(call: Call) -> Object:
    return fetch(call.account, "charge", call.ids["id"], "id")


@route("GET", "/v1/charges", "ChargeListParams", f"{PAGING} customer payment_intent")
def list_charges(call: Call) -> Object:
    return _page(call, "charge")


@route("GET", "/v1/invoice_payments/{id}", "InvoicePaymentRetrieveParams")
def retrieve_invoice_payment(call: Call) -> Object:
    return fetch(call.account, "invoice_payment", call.ids["id"], "id")


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams", f"{PAGING} invoice status")
def list_invoice_payments(call: Call) -> Object:
    return _page(call, "invoice_payment")


def _page(call: Call, kind: str) -> Object:
    names = call.sent.keys() - set(PAGING.split())
    found = [one for one in call.account.all(kind) if all(one[name] == call.get(name) for name in names)]
    return page(call, found, kind.replace("_", " "))
