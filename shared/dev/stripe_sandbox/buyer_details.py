"""What Checkout asks for besides a card: the billing address, and the name and tax id of a business.

https://docs.stripe.com/tax/checkout and https://docs.stripe.com/tax/checkout/tax-ids
"""

import re
from dataclasses import dataclass

from shared.dev.stripe_sandbox import tax_ids, taxes
from shared.dev.stripe_sandbox.customers import COUNTRY_CODES, EMPTY_ADDRESS
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyerDetails:
    """As typed on the page. Empty fields were left out."""

    country: str = ""
    postal_code: str = ""
    business_name: str = ""
    tax_id: str = ""


def fill_session(account: Account, session: Object, params: Object, customer: Object | None) -> None:
    """What the page will ask for. Raises ApiError for what Stripe refuses for an existing customer."""
    automatic_tax = (params.get("automatic_tax") or {}).get("enabled", False)
    collects_tax_id = (params.get("tax_id_collection") or {}).get("enabled", False)
    update = {"address": "never", "name": "never", "shipping": "never", **params.get("customer_update", {})}
    if customer is None and "customer_update" in params:
        raise ApiError("`customer_update` can only be used with `customer`.", param="customer_update")
    if customer is not None and collects_tax_id and update["name"] != "auto":
        raise ApiError(
            "Tax ID collection requires updating business name on the customer. To enable tax ID collection for an"
            " existing customer, please set `customer_update[name]` to `auto`.",
            param="customer_update[name]",
        )
    if automatic_tax:
        taxes.require_active(account)
        for index, line in enumerate(session["_line_items"]["data"]):
            taxes.require_behavior(account, line["price"], f"line_items[{index}][price]")
        if customer is not None and update["address"] != "auto" and not taxes.is_located(customer["address"]):
            raise ApiError(
                "Automatic tax calculation in Checkout requires a valid address on the Customer. Add a valid address to"
                " the Customer or set either `customer_update[address]` to 'auto' or `customer_update[shipping]` to"
                " 'auto' to save the address entered in Checkout to the Customer.",
                code="customer_tax_location_invalid",
            )
    session |= {
        "automatic_tax": {
            "enabled": automatic_tax,
            "liability": {"type": "self"} if automatic_tax else None,
            "provider": "stripe" if automatic_tax else None,
            "status": None,
        },
        "billing_address_collection": params.get("billing_address_collection"),
        "tax_id_collection": {"enabled": collects_tax_id, "required": "never"},
        "_customer_update": update,
        "_address": copy_visible((customer or {}).get("address")),
        "_business": {"name": "", "tax_id": ""},
    }
    if automatic_tax:
        session["_sent"]["automatic_tax"] = {"enabled": True}


def needs_address(session: Object) -> bool:
    """Whether the page asks for the address before anything can be paid."""
    if session["mode"] == "setup":
        return False
    is_taxed = session["automatic_tax"]["enabled"]
    if session["billing_address_collection"] == "required" and not (session["_address"] or {}).get("country"):
        return True
    return is_taxed and not taxes.is_located(session["_address"])


def asks_tax_id(account: Account, session: Object) -> bool:
    """Whether the page has fields for a business, which has no tax id yet."""
    return bool(
        session["mode"] != "setup"
        and session["tax_id_collection"]["enabled"]
        and not session["_business"]["tax_id"]
        and not (session["customer"] and account.list_for_customer("tax_id", session["customer"]))
    )


def enter_details(session: Object, details: BuyerDetails) -> None:
    """Keeps what was typed for this session. Raises ApiError."""
    if details.country:
        country = details.country.strip().upper()
        if country not in COUNTRY_CODES:
            raise ApiError("Enter a country such as DE or US.")
        address = {**EMPTY_ADDRESS, "country": country, "postal_code": details.postal_code.strip() or None}
        if not taxes.is_located(address):
            raise ApiError("Enter your postal code.")
        session["_address"] = address
    if details.tax_id:
        if not details.business_name:
            raise ApiError("Enter the name of your business.")
        kind = tax_ids.find_type((session["_address"] or {}).get("country") or "")
        if not kind or not re.fullmatch(tax_ids.PATTERNS[kind], details.tax_id):
            raise ApiError("Your tax ID is invalid.")
        session["_business"] = {"name": details.business_name, "tax_id": details.tax_id}


def find_payer(account: Account, session: Object) -> taxes.Payer | None:
    """None while the address isn't known."""
    if not taxes.is_located(session["_address"]):
        return None
    country = session["_address"]["country"]
    owned = account.list_for_customer("tax_id", session["customer"]) if session["customer"] else []
    has_eu_vat = any(tax_id["type"] == "eu_vat" for tax_id in owned)
    if session["_business"]["tax_id"]:
        has_eu_vat |= tax_ids.find_type(country) == "eu_vat"
    return taxes.Payer(country, has_eu_vat)


def save_to_customer(account: Account, session: Object, customer: Object) -> None:
    """As `customer_update` says; a customer that Checkout has just made gets everything."""
    if session["mode"] == "setup":
        return
    update, previous = session["_customer_update"], copy_visible(customer)
    is_new = session["customer_creation"] is not None
    if session["_address"] and (is_new or update["address"] == "auto"):
        customer["address"] = session["_address"]
    if session["_business"]["name"] and (is_new or update["name"] == "auto"):
        customer["name"] = session["_business"]["name"]
    save_change(account, customer, "customer.updated", previous)
    if tax_id := session["_business"]["tax_id"]:
        kind = tax_ids.find_type(session["_address"]["country"])
        tax_ids.add_tax_id(account, customer, kind, tax_id)
