"""Stripe Tax: the account's settings, and the tax of lines by the country of the customer.

Stripe knows thousands of rules; the sandbox has one rate for each country in `RATES` and is registered in all of them.
A business of another EU country with a VAT number pays none (reverse charge). Tax is rounded for each line, half of one
away from zero. Where it is, https://docs.stripe.com/tax/customer-locations and https://docs.stripe.com/tax/zero-tax say
what Stripe does.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox.amounts import round_amount
from shared.dev.stripe_sandbox.customers import COUNTRY_CODES, EMPTY_ADDRESS
from shared.dev.stripe_sandbox.objects import save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import ApiCall, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

RATES = {  # percent, by country; in all others nothing is collected
    "AT": Decimal(20),
    "CH": Decimal("8.1"),
    "DE": Decimal(19),
    "ES": Decimal(21),
    "FR": Decimal(20),
    "GB": Decimal(20),
    "IE": Decimal(23),
    "IT": Decimal(22),
    "JP": Decimal(10),
    "NL": Decimal(21),
    "US": Decimal("8.875"),
}
EU_COUNTRIES = frozenset("AT DE ES FR IE IT NL".split())
POSTAL_CODE_COUNTRIES = frozenset({"CA", "US"})  # where the country alone doesn't tell the tax
EXCLUSIVE_CURRENCIES = frozenset({"cad", "usd"})  # for `inferred_by_currency`
DASHBOARD_URL = "https://dashboard.stripe.com/test/settings/tax"
SETTINGS = "_tax_settings"
NO_TAX: Object = {
    "disabled_reason": None,
    "enabled": False,
    "liability": None,
    "provider": None,
    "status": None,
}


@dataclass(frozen=True, slots=True)
class Payer:
    """Who is taxed: where, and whether as a business with a VAT number of the EU."""

    country: str
    has_eu_vat: bool


@route("GET", "/v1/tax/settings", "tax.SettingsRetrieveParams")
def retrieve_settings(call: ApiCall) -> Object:
    return show_settings(call.account)


@route(
    "POST",
    "/v1/tax/settings",
    "tax.SettingsUpdateParams",
    "defaults.tax_behavior defaults.tax_code head_office.address",
)
def change_settings(call: ApiCall) -> Object:
    address = (call.get("head_office") or {}).get("address") or {}
    set_up(
        call.account,
        country=address.get("country", ""),
        behavior=(call.get("defaults") or {}).get("tax_behavior", ""),
    )
    return show_settings(call.account)


def set_up(account: Account, *, country: str = "", behavior: str = "") -> None:
    """Stores the country that the seller is in, and the tax behavior of prices without one. Empty values stay."""
    if country and country not in COUNTRY_CODES:
        raise ApiError(f"Country '{country}' is unknown.", param="head_office[address][country]")
    current = _get_settings(account)
    account.put(
        {
            "object": SETTINGS,
            "id": "settings",
            "country": country or current["country"],
            "behavior": behavior or current["behavior"],
        }
    )


def require_active(account: Account) -> None:
    """Raises what Stripe answers to a request for automatic tax without an origin address."""
    if not _get_settings(account)["country"]:
        raise ApiError(
            "You must have a valid origin address to enable automatic tax calculation in test mode. Visit"
            f" {DASHBOARD_URL} to update it.",
            param="automatic_tax[enabled]",
        )


def require_location(customer: Object) -> None:
    """Raises what Stripe answers for a subscription of a customer whose tax can't be known."""
    if not is_located(customer["address"]):
        raise ApiError(
            "The customer's location isn't recognized. Set a valid customer address in order to automatically calculate"
            " tax.",
            code="customer_tax_location_invalid",
        )


def require_behavior(account: Account, price: Object, param: str) -> None:
    if _get_price_behavior(account, price["id"], price["currency"]) is None:
        raise ApiError(
            f"`tax_behavior` on price {price['id']} is unspecified. Set it to `inclusive` or `exclusive`, or set a"
            f" default in the tax settings ({DASHBOARD_URL}).",
            param=param,
        )


def require_item_behavior(account: Account, behavior: str | None, currency: str) -> None:
    """https://docs.stripe.com/api/invoices/object#invoice_object-automatic_tax-enabled: not without a tax behavior."""
    if behavior in (None, "unspecified") and _get_price_behavior(account, None, currency) is None:
        raise ApiError(
            "The invoice item can't be added to an invoice with automatic tax: set its `tax_behavior`.",
            param="tax_behavior",
        )


def is_located(address: Object | None) -> bool:
    """Whether the address says where the customer is taxed."""
    country = (address or {}).get("country")
    return bool(country) and (
        country not in POSTAL_CODE_COUNTRIES or bool((address or {}).get("postal_code"))
    )


def build_automatic_tax(*, enabled: bool) -> Object:
    """The field of a subscription."""
    return {
        "disabled_reason": None,
        "enabled": enabled,
        "liability": {"type": "self", "account": None} if enabled else None,
    }


def build_invoice_field(*, enabled: bool, status: str | None = None) -> Object:
    """The field of an invoice or checkout session."""
    return {**NO_TAX, **build_automatic_tax(enabled=enabled), "provider": "stripe" if enabled else None} | {
        "status": status
    }


def apply_taxes(account: Account, invoice: Object) -> None:
    """Sets the taxes of the lines, after their discounts, and their sums. Nothing without automatic tax."""
    for line in invoice["lines"]["data"]:
        line["taxes"] = []
    invoice["total_taxes"] = []
    if not invoice["automatic_tax"]["enabled"]:
        return
    customer = account.objects["customer"][invoice["customer"]]
    located = is_located(customer["address"])
    invoice["automatic_tax"] = build_invoice_field(
        enabled=True, status="complete" if located else "requires_location_inputs"
    )
    if not located:
        return
    payer = find_payer(account, customer)
    for line in invoice["lines"]["data"]:
        base = line["amount"] - sum(discount["amount"] for discount in line["discount_amounts"])
        line["taxes"] = [
            compute_tax(account, payer, get_line_behavior(account, line), base, line["currency"])
        ]
    invoice["total_taxes"] = sum_taxes(line["taxes"][0] for line in invoice["lines"]["data"])


def find_payer(account: Account, customer: Object) -> Payer:
    tax_ids = account.list_for_customer("tax_id", customer["id"])
    return Payer(customer["address"]["country"], any(tax_id["type"] == "eu_vat" for tax_id in tax_ids))


def compute_tax(account: Account, payer: Payer, behavior: str, base: int, currency: str) -> Object:
    """The tax on `base`, which contains it where `behavior` is inclusive."""
    rate, reason = _find_rate(account, payer)
    if behavior == "inclusive":
        amount = round_amount(Decimal(base) * rate / (100 + rate), currency)
    else:
        amount = round_amount(Decimal(base) * rate / 100, currency)
    return {
        "amount": amount,
        "tax_behavior": behavior,
        "tax_rate_details": {"tax_rate": f"txr_{payer.country.lower()}_{behavior}"},
        "taxability_reason": reason,
        "taxable_amount": base - amount if behavior == "inclusive" else base,
        "type": "tax_rate_details",
    }


def sum_taxes(taxes: Any) -> list[Object]:
    """One entry for each rate and behavior."""
    totals: dict[tuple[str, str], Object] = {}
    for tax in taxes:
        key = (tax["tax_rate_details"]["tax_rate"], tax["taxability_reason"])
        total = totals.setdefault(key, {**tax, "amount": 0, "taxable_amount": 0})
        total["amount"] += tax["amount"]
        total["taxable_amount"] += tax["taxable_amount"]
    return list(totals.values())


def sum_amounts(taxes: list[Object], behavior: str) -> int:
    """Of the taxes that are on top of the prices ("exclusive"), or in them ("inclusive")."""
    return sum(int(tax["amount"]) for tax in taxes if tax["tax_behavior"] == behavior)


def get_line_behavior(account: Account, line: Object) -> str:
    if behavior := line.get("_tax_behavior"):
        return str(behavior)
    details = (line["pricing"] or {}).get("price_details") or {}
    return get_behavior(account, details.get("price"), line["currency"])


def get_behavior(account: Account, price_id: str | None, currency: str) -> str:
    return _get_price_behavior(account, price_id, currency) or "exclusive"


def disable_unlocated(account: Account, invoice: Object, subscription: Object | None) -> None:
    """An invoice becomes final without tax where the location isn't known, and its subscription is no longer taxed.

    https://docs.stripe.com/tax/customer-locations, "Invoice finalization errors".
    """
    if invoice["automatic_tax"]["status"] != "requires_location_inputs":
        return
    invoice["automatic_tax"] = {
        **build_invoice_field(enabled=False),
        "disabled_reason": "finalization_requires_location_inputs",
    }
    if subscription is not None:
        previous = copy_visible(subscription)
        subscription["automatic_tax"] = {
            **build_automatic_tax(enabled=False),
            "disabled_reason": "requires_location_inputs",
        }
        save_change(account, subscription, "customer.subscription.updated", previous)


def _find_rate(account: Account, payer: Payer) -> tuple[Decimal, str]:
    """The rate in percent, and Stripe's word for why."""
    if payer.country not in RATES:
        return Decimal(0), "not_collecting"
    seller_country = _get_settings(account)["country"]
    is_abroad_in_eu = payer.country in EU_COUNTRIES and seller_country in EU_COUNTRIES - {payer.country}
    if is_abroad_in_eu and payer.has_eu_vat:
        return Decimal(0), "reverse_charge"
    return RATES[payer.country], "standard_rated"


def _get_price_behavior(account: Account, price_id: str | None, currency: str) -> str | None:
    """None for a price without one where the settings have no default."""
    price = account.get("price", price_id)
    if price is not None and price["tax_behavior"] in ("inclusive", "exclusive"):
        return str(price["tax_behavior"])
    default = _get_settings(account)["behavior"]
    if default == "inferred_by_currency":
        return "exclusive" if currency in EXCLUSIVE_CURRENCIES else "inclusive"
    return default or None


def _get_settings(account: Account) -> Object:
    return account.get(SETTINGS, "settings") or {"country": "", "behavior": ""}


def show_settings(account: Account) -> Object:
    current = _get_settings(account)
    is_active = bool(current["country"])
    return {
        "object": "tax.settings",
        "defaults": {
            "provider": "stripe",
            "tax_behavior": current["behavior"] or None,
            "tax_code": "txcd_10000000" if is_active else None,
        },
        "head_office": {"address": {**EMPTY_ADDRESS, "country": current["country"]}} if is_active else None,
        "livemode": False,
        "status": "active" if is_active else "pending",
        "status_details": {
            "active": {} if is_active else None,
            "pending": None if is_active else {"missing_fields": ["head_office"]},
        },
    }
