"""Reads the items of a subscription from request parameters."""

from typing import Any

from shared.dev.stripe_sandbox.objects import fetch_object, make_object, merge_metadata
from shared.dev.stripe_sandbox.prices import build_plan
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

MAX_ITEMS = 20


def build_item(
    account: Account,
    subscription: Object,
    params: Object,
    period: tuple[int, int],
    *,
    allow_archived: bool = False,
) -> Object:
    """A new item, in that period."""
    item = make_object(
        account,
        "subscription_item",
        created=account.now(subscription["customer"]),
        current_period_start=period[0],
        current_period_end=period[1],
        subscription=subscription["id"],
        tax_rates=[],
        metadata={},
        _since=account.now(subscription["customer"]),
        _basis=None,
    )
    price_id, quantity = params.get("price"), params.get("quantity")
    set_price(account, subscription, item, price_id, quantity, allow_archived=allow_archived)
    merge_metadata(item, params.get("metadata"))
    return item


def set_price(
    account: Account,
    subscription: Object,
    item: Object,
    price_id: Any,
    quantity: int | None,
    *,
    allow_archived: bool = False,
) -> None:
    if price_id is None:
        raise ApiError(
            "Missing required param: items[0][price].", code="parameter_missing", param="items[0][price]"
        )
    price = fetch_price(account, price_id, allow_archived=allow_archived)
    if subscription["currency"] not in ("unset", price["currency"]):
        raise ApiError("All items of a subscription have the same currency.", param="items[0][price]")
    subscription["currency"] = price["currency"]
    metered = price["recurring"]["usage_type"] == "metered"
    if metered and quantity is not None:
        raise ApiError("You cannot set the quantity for metered plans.", param="items[0][quantity]")
    if quantity is not None and quantity < 0:
        raise ApiError(
            "Invalid non-negative integer", code="parameter_invalid_integer", param="items[0][quantity]"
        )
    item["price"] = copy_visible(price) | {"_tiers": price.get("_tiers")}
    item["plan"] = build_plan(price)
    item.pop("quantity", None)
    if not metered:  # a metered item has no quantity
        item["quantity"] = 1 if quantity is None else quantity


def fetch_price(account: Account, price_id: str, *, allow_archived: bool = False) -> Object:
    price = fetch_object(account, "price", price_id, "items[0][price]")
    if price["type"] != "recurring":
        raise ApiError("The price specified is set to `type=one_time`.", param="items[0][price]")
    if not price["active"] and not allow_archived:
        raise ApiError("The price specified is inactive.", param="items[0][price]")
    return price


def check_items(items: list[Object]) -> None:
    """Check the rules that apply to all items together."""
    if not items:
        raise ApiError("A subscription must have at least one item.", param="items")
    if len(items) > MAX_ITEMS:
        raise ApiError(f"A subscription has at most {MAX_ITEMS} items.", param="items")
    prices = [item["price"]["id"] for item in items]
    if len(set(prices)) < len(prices):
        raise ApiError("Cannot add multiple subscription items with the same plan.", param="items")
    units = {item["price"]["recurring"]["interval"] for item in items}
    if not units <= {"month", "year"} and len(units) > 1:
        raise UnsupportedError("a mix of intervals other than months and years")
