"""Payment and setup intents, as far as invoices and Checkout make them."""

from typing import Any

from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, new_id


def create_setup_intent(
    account: Account, customer: str | None, description: str | None, metadata: Any
) -> Object:
    intent = make_object(
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


def complete_setup_intent(account: Account, intent: Object, customer: Object, method: Object | None) -> None:
    intent |= {"status": "succeeded", "customer": customer["id"]}
    intent["payment_method"] = method["id"] if method else None
    account.put(intent)
    account.emit("setup_intent.succeeded", intent)


@route("GET", "/v1/setup_intents/{id}", "SetupIntentRetrieveParams")
def retrieve_setup(call: ApiCall) -> Object:
    return fetch_object(call.account, "setup_intent", call.ids["id"], "intent")


@route("GET", "/v1/payment_intents/{id}", "PaymentIntentRetrieveParams")
def retrieve_payment(call: ApiCall) -> Object:
    return fetch_object(call.account, "payment_intent", call.ids["id"], "intent")


@route("GET", "/v1/payment_intents", "PaymentIntentListParams", f"{PAGING} customer")
def list_payments(call: ApiCall) -> Object:
    return _list_page(call, "payment_intent")


@route("GET", "/v1/charges/{id}", "ChargeRetrieveParams")
def retrieve_charge(call: ApiCall) -> Object:
    return fetch_object(call.account, "charge", call.ids["id"], "id")


@route("GET", "/v1/charges", "ChargeListParams", f"{PAGING} customer payment_intent")
def list_charges(call: ApiCall) -> Object:
    return _list_page(call, "charge")


@route("GET", "/v1/invoice_payments/{id}", "InvoicePaymentRetrieveParams")
def retrieve_invoice_payment(call: ApiCall) -> Object:
    return fetch_object(call.account, "invoice_payment", call.ids["id"], "id")


@route("GET", "/v1/invoice_payments", "InvoicePaymentListParams", f"{PAGING} invoice status")
def list_invoice_payments(call: ApiCall) -> Object:
    return _list_page(call, "invoice_payment")


def _list_page(call: ApiCall, kind: str) -> Object:
    names = call.params.keys() - set(PAGING.split())
    objects = [
        obj for obj in call.account.list_objects(kind) if all(obj[name] == call.get(name) for name in names)
    ]
    return paginate(call, objects, kind.replace("_", " "))
