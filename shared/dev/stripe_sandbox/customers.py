"""Customers. A deleted one leaves a stub, and its subscriptions end at once."""

from typing import Any

from shared.dev.stripe_sandbox import endings
from shared.dev.stripe_sandbox.objects import fetch, intact, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal, missing
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible

TAKES = (
    "name email description phone address metadata preferred_locales invoice_prefix balance"
    " invoice_settings.default_payment_method"
)
PLAIN = ("name", "email", "description", "phone", "address")


def known(account: Account, id_: Any, param: str = "customer") -> Object:
    """A customer that exists and was not deleted."""
    found = account.get("customer", id_ if isinstance(id_, str) else None)
    if found is None or found.get("deleted"):
        raise Refusal(f"No such customer: '{id_}'", code="resource_missing", param=param)
    return found


@route("POST", "/v1/customers", "CustomerCreateParams", f"{TAKES} test_clock")
def create(call: Call) -> Object:
    return create_one(call.account, call.sent)


def create_one(account: Account, sent: Object) -> Object:
    if clock := sent.get("test_clock"):
        fetch(account, "test_helpers.test_clock", clock, "test_clock")
    customer = make(
        account,
        "customer",
        test_clock=clock,
        balance=0,
        delinquent=False,
        metadata={},
        preferred_locales=[],
        tax_exempt="none",
        next_invoice_sequence=1,
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
    )
    customer["invoice_prefix"] = customer["id"][-8:].upper()
    _fill(account, customer, sent)
    account.put(customer)
    account.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers/{id}", "CustomerRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "customer", call.ids["id"])


@route("POST", "/v1/customers/{id}", "CustomerUpdateParams", TAKES)
def change(call: Call) -> Object:
    customer = fetch(call.account, "customer", call.ids["id"])
    if customer.get("deleted"):
        raise missing("customer", customer["id"])
    before = visible(customer)
    with intact(customer):
        _fill(call.account, customer, call.sent)
    return update(call.account, customer, "customer.updated", before)


@route("DELETE", "/v1/customers/{id}", "CustomerDeleteParams")
def delete(call: Call) -> Object:
    account = call.account
    customer = fetch(account, "customer", call.ids["id"])
    if customer.get("deleted"):
        raise missing("customer", customer["id"])
    remove(account, customer)
    return visible(account.get("customer", customer["id"]))  # type: ignore[no-any-return]


def remove(account: Account, customer: Object) -> None:
    for one in account.all("subscription"):
        if one["customer"] == customer["id"] and one["status"] not in endings.OVER:
            endings.end(account, one)
    for method in account.all("payment_method"):
        if method["customer"] == customer["id"]:
            method["customer"] = None
            account.put(method)
    gone = {"id": customer["id"], "object": "customer", "deleted": True, "_clock": customer["test_clock"]}
    account.emit("customer.deleted", customer)
    account.put(gone)


@route("GET", "/v1/customers", "CustomerListParams", f"{PAGING} email created test_clock")
def listing(call: Call) -> Object:
    found = [
        one
        for one in call.account.all("customer")
        if not one.get("deleted")
        and ("email" not in call.sent or one["email"] == call.get("email"))
        and ("created" not in call.sent or within(one["created"], call.get("created")))
        and one["test_clock"] == call.get("test_clock", one["test_clock"])
    ]
    return page(call, found, "customer")


def _fill(account: Account, customer: Object, sent: Object) -> None:
    if (email := sent.get("email")) and ("@" not in email or " " in email):
        raise Refusal(f"Invalid email address: {email}", code="email_invalid", param="email")
    chosen = (sent.get("invoice_settings") or {}).get("default_payment_method")
    if chosen:
        method = account.get("payment_method", chosen)
        if method is None or method["customer"] != customer["id"]:
            raise Refusal(
                f"No such PaymentMethod: '{chosen}'; it has to be attached to the customer first.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    if chosen is not None:
        customer["invoice_settings"] = {
            **customer["invoice_settings"],
            "default_payment_method": chosen or None,
        }
    for name in PLAIN:
        if name in sent:
            value = sent.get(name) or None
            customer[name] = ADDRESS | value if isinstance(value, dict) else value
    for name in ("preferred_locales", "invoice_prefix", "balance"):
        if name in sent:
            customer[name] = sent.get(name)
    merge_metadata(customer, sent.get("metadata"))


ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
