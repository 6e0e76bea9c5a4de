"""Customers. A deleted one leaves a stub, and its subscriptions end at once."""

from typing import Any

from babel import Locale

from shared.dev.stripe_sandbox import endings
from shared.dev.stripe_sandbox.objects import (
    fetch_object,
    make_object,
    merge_metadata,
    restore_on_error,
    save_change,
)
from shared.dev.stripe_sandbox.refusals import ApiError, not_found_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

ACCEPTED_PARAMS = (
    "name email description phone address metadata preferred_locales invoice_prefix balance"
    " invoice_settings.default_payment_method"
)
COUNTRY_CODES = frozenset(code for code in map(str, Locale("en").territories) if len(code) == 2) - {"ZZ"}
PLAIN_FIELDS = ("name", "email", "description", "phone", "address")


def get_customer(account: Account, id_: Any, param: str = "customer") -> Object:
    """A customer that exists and was not deleted."""
    customer = account.get("customer", id_ if isinstance(id_, str) else None)
    if customer is None or customer.get("deleted"):
        raise ApiError(f"No such customer: '{id_}'", code="resource_missing", param=param)
    return customer


@route("POST", "/v1/customers", "CustomerCreateParams", f"{ACCEPTED_PARAMS} test_clock")
def create_on_request(call: ApiCall) -> Object:
    return create_customer(call.account, call.params)


def create_customer(account: Account, params: Object) -> Object:
    if clock := params.get("test_clock"):
        fetch_object(account, "test_helpers.test_clock", clock, "test_clock")
    customer = make_object(
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
    _fill_customer(account, customer, params)
    account.put(customer)
    account.emit("customer.created", customer)
    return customer


@route("GET", "/v1/customers/{id}", "CustomerRetrieveParams")
def retrieve_customer(call: ApiCall) -> Object:
    return fetch_object(call.account, "customer", call.ids["id"])


@route("POST", "/v1/customers/{id}", "CustomerUpdateParams", ACCEPTED_PARAMS)
def change_customer(call: ApiCall) -> Object:
    customer = fetch_object(call.account, "customer", call.ids["id"])
    if customer.get("deleted"):
        raise not_found_error("customer", customer["id"])
    previous = copy_visible(customer)
    with restore_on_error(customer):
        _fill_customer(call.account, customer, call.params)
    return save_change(call.account, customer, "customer.updated", previous)


@route("DELETE", "/v1/customers/{id}", "CustomerDeleteParams")
def delete_customer(call: ApiCall) -> Object:
    account = call.account
    customer = fetch_object(account, "customer", call.ids["id"])
    if customer.get("deleted"):
        raise not_found_error("customer", customer["id"])
    remove_customer(account, customer)
    return copy_visible(account.get("customer", customer["id"]))  # type: ignore[no-any-return]


def remove_customer(account: Account, customer: Object) -> None:
    for subscription in account.list_for_customer("subscription", customer["id"]):
        if subscription["status"] not in endings.ENDED_STATUSES:
            endings.end_subscription(account, subscription)
    for method in account.list_for_customer("payment_method", customer["id"]):
        method["customer"] = None
        account.put(method)
    stub = {"id": customer["id"], "object": "customer", "deleted": True, "_clock": customer["test_clock"]}
    account.emit("customer.deleted", customer)
    account.put(stub)


@route("GET", "/v1/customers", "CustomerListParams", f"{PAGING} email created test_clock")
def list_customers(call: ApiCall) -> Object:
    customers = [
        customer
        for customer in call.account.list_objects("customer")
        if not customer.get("deleted")
        and ("email" not in call.params or customer["email"] == call.get("email"))
        and ("created" not in call.params or is_within(customer["created"], call.get("created")))
        and customer["test_clock"] == call.get("test_clock", customer["test_clock"])
    ]
    return paginate(call, customers, "customer")


def _fill_customer(account: Account, customer: Object, params: Object) -> None:
    if (email := params.get("email")) and ("@" not in email or " " in email):
        raise ApiError(f"Invalid email address: {email}", code="email_invalid", param="email")
    if (country := (params.get("address") or {}).get("country")) and country.upper() not in COUNTRY_CODES:
        raise ApiError(f"Country '{country}' is unknown.", param="address[country]")
    method_id = (params.get("invoice_settings") or {}).get("default_payment_method")
    if method_id:
        method = account.get("payment_method", method_id)
        if method is None or method["customer"] != customer["id"]:
            raise ApiError(
                f"No such PaymentMethod: '{method_id}'; it has to be attached to the customer first.",
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )
    if method_id is not None:
        customer["invoice_settings"] = {
            **customer["invoice_settings"],
            "default_payment_method": method_id or None,
        }
    for name in PLAIN_FIELDS:
        if name in params:
            value = params.get(name) or None
            customer[name] = _fill_address(value) if isinstance(value, dict) else value
    for name in ("preferred_locales", "invoice_prefix", "balance"):
        if name in params:
            customer[name] = params.get(name)
    merge_metadata(customer, params.get("metadata"))


def _fill_address(value: Object) -> Object:
    return EMPTY_ADDRESS | {field: text or None for field, text in value.items()}


EMPTY_ADDRESS = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
