"""API routes of prices. Only the name, the metadata and `active` of a price can change."""

from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox import products
from shared.dev.stripe_sandbox.amounts import format_decimal
from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata, save_change
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, is_within, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

RECURRING_PARAMS = "recurring.interval recurring.interval_count recurring.usage_type recurring.meter"
ACCEPTED_PARAMS = (
    "currency unit_amount unit_amount_decimal billing_scheme tiers tiers_mode active nickname lookup_key"
    f" transfer_lookup_key metadata product product_data.name product_data.id product_data.metadata"
    f" tax_behavior transform_quantity {RECURRING_PARAMS}"
)


@route("POST", "/v1/prices", "PriceCreateParams", ACCEPTED_PARAMS)
def create_on_request(call: ApiCall) -> Object:
    return add_price(call.account, call.params)


def add_price(account: Account, params: Object) -> Object:
    price = make_object(
        account, "price", active=params.get("active", True), currency=params["currency"].lower()
    )
    price["billing_scheme"] = params.get("billing_scheme", "per_unit")
    price["tax_behavior"] = params.get("tax_behavior", "unspecified")
    price["nickname"] = params.get("nickname")
    price["transform_quantity"] = params.get("transform_quantity")
    _fill_amount(price, params)
    _fill_recurring(account, price, params.get("recurring"))
    merge_metadata(price, params.get("metadata"))
    if ("product" in params) == ("product_data" in params):
        raise ApiError("You must specify either `product` or `product_data`.", param="product")
    if "product" in params:
        price["product"] = fetch_object(account, "product", params["product"], "product")["id"]
    else:
        price["product"] = products.add_product(account, params["product_data"])["id"]
    _set_lookup_key(account, price, params.get("lookup_key"), params.get("transfer_lookup_key"))
    account.put(price)
    account.emit("price.created", price)
    return price


@route("GET", "/v1/prices/{id}", "PriceRetrieveParams")
def retrieve_price(call: ApiCall) -> Object:
    return fetch_object(call.account, "price", call.ids["id"])


@route(
    "POST",
    "/v1/prices/{id}",
    "PriceUpdateParams",
    "active nickname lookup_key transfer_lookup_key metadata tax_behavior",
)
def change_price(call: ApiCall) -> Object:
    account = call.account
    price = fetch_object(account, "price", call.ids["id"])
    previous = copy_visible(price)
    for name in ("active", "nickname", "tax_behavior"):
        if name in call.params:
            price[name] = None if call.get(name) == "" else call.get(name)
    if "lookup_key" in call.params:
        _set_lookup_key(account, price, call.get("lookup_key"), call.get("transfer_lookup_key"))
    merge_metadata(price, call.get("metadata"))
    save_change(account, price, "price.updated", previous)
    for subscription in account.list_objects("subscription"):  # they show the price as it is
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                item["price"] = {**copy_visible(price), "_tiers": price.get("_tiers")}
                item["plan"] = build_plan(price)
                account.put(subscription)
    return price


@route(
    "GET",
    "/v1/prices",
    "PriceListParams",
    f"{PAGING} active product currency type lookup_keys created recurring.interval recurring.usage_type recurring.meter",
)
def list_prices(call: ApiCall) -> Object:
    recurring_filter = call.get("recurring", {})
    prices = [
        price
        for price in call.account.list_objects("price")
        if all(
            price[name] == call.get(name, price[name]) for name in ("active", "product", "currency", "type")
        )
        and ("lookup_keys" not in call.params or price["lookup_key"] in call.get("lookup_keys"))
        and ("created" not in call.params or is_within(price["created"], call.get("created")))
        and all((price["recurring"] or {}).get(name) == value for name, value in recurring_filter.items())
    ]
    return paginate(call, prices, "price")


def build_plan(price: Object) -> Object:
    """The older name of a recurring price, still shown inside of items."""
    recurring = price["recurring"]
    return {
        "id": price["id"],
        "object": "plan",
        "active": price["active"],
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "billing_scheme": price["billing_scheme"],
        "created": price["created"],
        "currency": price["currency"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "livemode": False,
        "metadata": price["metadata"],
        "meter": recurring["meter"],
        "nickname": price["nickname"],
        "product": price["product"],
        "tiers_mode": price["tiers_mode"],
        "transform_usage": None,
        "trial_period_days": None,
        "usage_type": recurring["usage_type"],
    }


def _fill_amount(price: Object, params: Object) -> None:
    if price["billing_scheme"] == "tiered":
        if not params.get("tiers") or "tiers_mode" not in params:
            raise ApiError(
                "Tiered prices need `tiers` and `tiers_mode`.", code="parameter_missing", param="tiers"
            )
        if "unit_amount" in params or "unit_amount_decimal" in params or params.get("transform_quantity"):
            raise ApiError("Tiered prices have no amount of their own.", param="unit_amount")
        price["tiers_mode"] = params["tiers_mode"]
        price["_tiers"] = _build_tiers(params["tiers"])
        return
    if "tiers" in params or "tiers_mode" in params:
        raise ApiError("`tiers` need `billing_scheme=tiered`.", param="tiers")
    if ("unit_amount" in params) == ("unit_amount_decimal" in params):
        raise ApiError(
            "Provide one of `unit_amount` and `unit_amount_decimal`.",
            code="parameter_missing",
            param="unit_amount",
        )
    price["unit_amount"], price["unit_amount_decimal"] = _read_amount(
        params, "unit_amount", param="unit_amount", minimum=0
    )


def _build_tiers(params: list[Object]) -> list[Object]:
    tiers, previous_bound = [], 0
    for index, tier_params in enumerate(params):
        upper_bound = tier_params["up_to"]
        is_last = index == len(params) - 1
        if (upper_bound == "inf") != is_last or (not is_last and int(upper_bound) <= previous_bound):
            raise ApiError("Tiers have to rise, and the last one has `up_to=inf`.", param="tiers")
        tier: Object = {"up_to": None if is_last else int(upper_bound)}
        for name in ("unit_amount", "flat_amount"):
            tier[name], tier[f"{name}_decimal"] = _read_amount(tier_params, name, param="tiers", minimum=0)
        if tier["unit_amount_decimal"] is None and tier["flat_amount_decimal"] is None:
            raise ApiError("A tier needs an amount per unit or a flat one.", param="tiers")
        tiers.append(tier)
        previous_bound = 0 if is_last else int(upper_bound)
    return tiers


def _read_amount(params: Object, name: str, *, param: str, minimum: int) -> tuple[int | None, str | None]:
    """An amount in both spellings: whole minor units if it is, and decimal."""
    value: Any = params.get(name, params.get(f"{name}_decimal"))
    if value is None:
        return None, None
    amount = Decimal(value)
    if amount < minimum:
        raise ApiError("Invalid non-negative integer", code="parameter_invalid_integer", param=param)
    return int(amount) if amount == int(amount) else None, format_decimal(amount)


def _fill_recurring(account: Account, price: Object, params: Object | None) -> None:
    if params is None:
        price["type"] = "one_time"
        if price["billing_scheme"] == "tiered":
            raise ApiError("Tiered prices have to recur.", param="billing_scheme")
        return
    usage, meter = params.get("usage_type", "licensed"), params.get("meter")
    if (usage == "metered") != (meter is not None):
        raise ApiError("A metered price needs a meter, and only a metered one.", param="recurring[meter]")
    if (
        meter is not None
        and fetch_object(account, "billing.meter", meter, "recurring[meter]")["status"] != "active"
    ):
        raise ApiError("The meter is not active.", param="recurring[meter]")
    price["type"] = "recurring"
    price["recurring"] = {
        "interval": params["interval"],
        "interval_count": params.get("interval_count", 1),
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage,
    }


def _set_lookup_key(account: Account, price: Object, key: str | None, transfer: bool | None) -> None:
    if key:
        for other in account.list_objects("price"):
            if other["lookup_key"] == key and other["id"] != price["id"]:
                if not transfer:
                    raise ApiError(
                        f"A price (`{other['id']}`) already uses that lookup key.",
                        code="resource_already_exists",
                        param="lookup_key",
                    )
                previous = copy_visible(other)
                other["lookup_key"] = None
                save_change(account, other, "price.updated", previous)
    price["lookup_key"] = key or None
