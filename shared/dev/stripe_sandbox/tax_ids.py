"""Tax ids of customers. The types that are built are checked for their form, as Stripe does at once.

Stripe verifies some against a government's records later; those stay pending here.
"""

import re

from shared.dev.stripe_sandbox.customers import get_customer
from shared.dev.stripe_sandbox.objects import fetch_object, make_object
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError, not_found_error
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object
from shared.dev.stripe_sandbox.taxes import EU_COUNTRIES

PATTERNS = {
    "au_abn": r"\d{11}",
    "ch_vat": r"CHE-\d{3}\.\d{3}\.\d{3} (?:MWST|TVA|IVA)",
    "eu_vat": r"[A-Z]{2}[0-9A-Z]{8,12}",
    "gb_vat": r"GB(?:\d{9}|\d{12})",
    "us_ein": r"\d{2}-\d{7}",
}
VERIFIED_TYPES = {"eu_vat", "gb_vat"}


@route("POST", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdCreateParams", "type value")
def create_tax_id(call: ApiCall) -> Object:
    customer = get_customer(call.account, call.ids["customer"])
    return add_tax_id(call.account, customer, call.get("type"), call.get("value"))


def find_type(country: str) -> str:
    """The type of a business's number in this country; "" where none is built."""
    if country in EU_COUNTRIES:
        return "eu_vat"
    return next((kind for kind in PATTERNS if kind.startswith(f"{country.lower()}_")), "")


def add_tax_id(account: Account, customer: Object, kind: str, value: str) -> Object:
    """Raises ApiError for a malformed number."""
    if kind not in PATTERNS:
        raise UnsupportedError(f"the tax id type {kind}")
    if not re.fullmatch(PATTERNS[kind], value):
        raise ApiError(f"Invalid value for {kind}.", code="tax_id_invalid", param="value")
    status = "pending" if kind in VERIFIED_TYPES else "unavailable"
    tax_id = make_object(
        account,
        "tax_id",
        type=kind,
        value=value,
        country=value[:2] if kind == "eu_vat" else kind[:2].upper(),
        customer=customer["id"],
        owner={"type": "customer", "customer": customer["id"]},
        verification={"status": status, "verified_address": None, "verified_name": None},
        created=account.now(customer),
    )
    account.put(tax_id)
    account.emit("customer.tax_id.created", tax_id)
    return tax_id


@route("GET", "/v1/customers/{customer}/tax_ids", "CustomerTaxIdListParams", PAGING)
def list_tax_ids(call: ApiCall) -> Object:
    customer = get_customer(call.account, call.ids["customer"])
    return paginate(call, call.account.list_for_customer("tax_id", customer["id"]), "tax id")


@route("DELETE", "/v1/customers/{customer}/tax_ids/{id}", "CustomerTaxIdDeleteParams")
def delete_tax_id(call: ApiCall) -> Object:
    tax_id = fetch_object(call.account, "tax_id", call.ids["id"])
    if tax_id["customer"] != call.ids["customer"]:
        raise not_found_error("tax_id", tax_id["id"])
    call.account.delete_object("tax_id", tax_id["id"])
    call.account.emit("customer.tax_id.deleted", tax_id)
    return {"id": tax_id["id"], "object": "tax_id", "deleted": True}
