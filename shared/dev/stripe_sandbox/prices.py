"""What it costs. A price never changes, but for its name, its metadata, and whether it may still be chosen."""

from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox import products
from shared.dev.stripe_sandbox.amounts import text
from shared.dev.stripe_sandbox.objects import fetch, make, merge_metadata, update
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route, within
from shared.dev.stripe_sandbox.store import Account, Object, visible

RECURRING = "recurring.interval recurring.interval_count recurring.usage_type recurring.meter"
TAKES = (
    "currency unit_amount unit_amount_decimal billing_scheme tiers tiers_mode active nickname lookup_key"
    f" transfer_lookup_key metadata product product_data.name product_data.id product_data.metadata"
    f" tax_behavior transform_quantity {RECURRING}"
)


@route("POST", "/v1/prices", "PriceCreateParams", TAKES)
def create(call: Call) -> Object:
    return add(call.account, call.sent)


def add(account: Account, sent: Object) -> Object:
    price = make(account, "price", active=sent.get("active", True), currency=sent["currency"].lower())
    price["billing_scheme"] = sent.get("billing_scheme", "per_unit")
    price["tax_behavior"] = sent.get("tax_behavior", "unspecified")
    price["nickname"] = sent.get("nickname")
    price["transform_quantity"] = sent.get("transform_quantity")
    _amount(price, sent)
    _recurring(account, price, sent.get("recurring"))
    merge_metadata(price, sent.get("metadata"))
    if ("product" in sent) == ("product_data" in sent):
        raise Refusal("You must specify either `product` or `product_data`.", param="product")
    if "product" in sent:
        price["product"] = fetch(account, "product", sent["product"], "product")["id"]
    else:
        price["product"] = products.add(account, sent["product_data"])["id"]
    _lookup(account, price, sent.get("lookup_key"), sent.get("transfer_lookup_key"))
    account.put(price)
    account.emit("price.created", price)
    return price


@route("GET", "/v1/prices/{id}", "PriceRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "price", call.ids["id"])


@route(
    "POST",
    "/v1/prices/{id}",
    "PriceUpdateParams",
    "active nickname lookup_key transfer_lookup_key metadata tax_behavior",
)
def change(call: Call) -> Object:
    account = call.account
    price = fetch(account, "price", call.ids["id"])
    before = visible(price)
    for name in ("active", "nickname", "tax_behavior"):
        if name in call.sent:
            price[name] = None if call.get(name) == "" else call.get(name)
    if "lookup_key" in call.sent:
        _lookup(account, price, call.get("lookup_key"), call.get("transfer_lookup_key"))
    merge_metadata(price, call.get("metadata"))
    update(account, price, "price.updated", before)
    for subscription in account.all("subscription"):  # they show the price as it is
        for item in subscription["items"]["data"]:
            if item["price"]["id"] == price["id"]:
                item["price"] = {**visible(price), "_tiers": price.get("_tiers")}
                item["plan"] = plan_of(price)
                account.put(subscription)
    return price


@route(
    "GET",
    "/v1/prices",
    "PriceListParams",
    f"{PAGING} active product currency type lookup_keys created recurring.interval recurring.usage_type recurring.meter",
)
def listing(call: Call) -> Object:
    wanted = call.get("recurring", {})
    found = [
        one
        for one in call.account.all("price")
        if all(one[name] == call.get(name, one[name]) for name in ("active", "product", "currency", "type"))
        and ("lookup_keys" not in call.sent or one["lookup_key"] in call.get("lookup_keys"))
        and ("created" not in call.sent or within(one["created"], call.get("created")))
        and all((one["recurring"] or {}).get(name) == value for name, value in wanted.items())
    ]
    return page(call, found, "price")


def plan_of(price: Object) -> Object:
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


def _amount(price: Object, sent: Object) -> None:
    if price["billing_scheme"] == "tiered":
        if not sent.get("tiers") or "tiers_mode" not in sent:
            raise Refusal(
                "Tiered prices need `tiers` and `tiers_mode`.", code="parameter_missing", param="tiers"
            )
        if "unit_amount" in sent or "unit_amount_decimal" in sent or sent.get("transform_quantity"):
            raise Refusal("Tiered prices have no amount of their own.", param="unit_amount")
        price["tiers_mode"] = sent["tiers_mode"]
        price["_tiers"] = _tiers(sent["tiers"])
        return
    if "tiers" in sent or "tiers_mode" in sent:
        raise Refusal("`tiers` need `billing_scheme=tiered`.", param="tiers")
    if ("unit_amount" in sent) == ("unit_amount_decimal" in sent):
        raise Refusal(
            "Provide one of `unit_amount` and `unit_amount_decimal`.",
            code="parameter_missing",
            param="unit_amount",
        )
    price["unit_amount"], price["unit_amount_decimal"] = _both(
        sent, "unit_amount", param="unit_amount", least=0
    )


def _tiers(sent: list[Object]) -> list[Object]:
    tiers, last = [], 0
    for at, each in enumerate(sent):
        top = each["up_to"]
        final = at == len(sent) - 1
        if (top == "inf") != final or (not final and int(top) <= last):
            raise Refusal("Tiers have to rise, and the last one has `up_to=inf`.", param="tiers")
        tier: Object = {"up_to": None if final else int(top)}
        for name in ("unit_amount", "flat_amount"):
            tier[name], tier[f"{name}_decimal"] = _both(each, name, param="tiers", least=0)
        if tier["unit_amount_decimal"] is None and tier["flat_amount_decimal"] is None:
            raise Refusal("A tier needs an amount per unit or a flat one.", param="tiers")
        tiers.append(tier)
        last = 0 if final else int(top)
    return tiers


def _both(sent: Object, name: str, *, param: str, least: int) -> tuple[int | None, str | None]:
    """An amount in both spellings: whole minor units if it is, and decimal."""
    value: Any = sent.get(name, sent.get(f"{name}_decimal"))
    if value is None:
        return None, None
    exact = Decimal(value)
    if exact < least:
        raise Refusal("Invalid non-negative integer", code="parameter_invalid_integer", param=param)
    return int(exact) if exact == int(exact) else None, text(exact)


def _recurring(account: Account, price: Object, sent: Object | None) -> None:
    if sent is None:
        price["type"] = "one_time"
        if price["billing_scheme"] == "tiered":
            raise Refusal("Tiered prices have to recur.", param="billing_scheme")
        return
    usage, meter = sent.get("usage_type", "licensed"), sent.get("meter")
    if (usage == "metered") != (meter is not None):
        raise Refusal("A metered price needs a meter, and only a metered one.", param="recurring[meter]")
    if meter is not None and fetch(account, "billing.meter", meter, "recurring[meter]")["status"] != "active":
        raise Refusal("The meter is not active.", param="recurring[meter]")
    price["type"] = "recurring"
    price["recurring"] = {
        "interval": sent["interval"],
        "interval_count": sent.get("interval_count", 1),
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage,
    }


def _lookup(account: Account, price: Object, key: str | None, transfer: bool | None) -> None:
    if key:
        for other in account.all("price"):
            if other["lookup_key"] == key and other["id"] != price["id"]:
                if not transfer:
                    raise Refusal(
                        f"A price (`{other['id']}`) already uses that lookup key.",
                        code="resource_already_exists",
                        param="lookup_key",
                    )
                before = visible(other)
                other["lookup_key"] = None
                update(account, other, "price.updated", before)
    price["lookup_key"] = key or None
