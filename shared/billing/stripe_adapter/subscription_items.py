"""A subscription's items, and the updates that turn them into the requested lines."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import stripe

from shared.billing.provider_values import OrderLine
from shared.billing.stripe_adapter.lists import PAGE_SIZE

Raw = Mapping[str, Any]


class ItemUpdate(TypedDict):
    id: NotRequired[str]
    price: NotRequired[str]
    quantity: NotRequired[int]
    deleted: NotRequired[bool]


def build_item_updates(items: Sequence[Raw], lines: Sequence[OrderLine]) -> list[Any]:
    """Item updates; unchanged items are left out.

    A replaced price keeps its item, so that Stripe detects a change of interval.
    """
    open_items = {item["price"]["id"]: item for item in items}
    updates: list[ItemUpdate] = []
    new_lines = []
    for line in lines:
        item = open_items.pop(line.external_price_id, None)
        if item is None:
            new_lines.append(line)
        elif line.quantity is not None and line.quantity != item.get("quantity"):
            updates.append({"id": item["id"], "quantity": line.quantity})
    for line in new_lines:
        update: ItemUpdate = {"price": line.external_price_id}
        if line.quantity is not None:
            update["quantity"] = line.quantity
        for price, item in open_items.items():
            if _is_metered(item) == (line.quantity is None):
                update["id"] = open_items.pop(price)["id"]
                break
        updates.append(update)
    return [*updates, *({"id": item["id"], "deleted": True} for item in open_items.values())]


def _is_metered(item: Raw) -> bool:
    return bool((item["price"].get("recurring") or {}).get("usage_type") == "metered")


async def list_items(v1: "stripe.V1Services", subscription_id: str) -> list[dict[str, Any]]:
    page = await v1.subscription_items.list_async({"subscription": subscription_id, "limit": PAGE_SIZE})
    return [item.to_dict() async for item in page.auto_paging_iter()]
