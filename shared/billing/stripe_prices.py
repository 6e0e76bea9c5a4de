"""A price as Stripe keeps it, and as we mean it. `lookup_key` is our id; the kind is in its metadata."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import stripe

from shared.billing.provider import PriceTag, PriceThere
from shared.billing.stripe_refusals import is_missing, is_there_already
from shared.billing.stripe_shapes import OUR_PRICE

KIND = "bulkhead_kind"  # flat and per seat look alike at Stripe


async def push(client: stripe.StripeClient, tag: PriceTag) -> str:
    """What can be changed there is put right; what cannot is a new price that takes over the lookup key."""
    await _push_product(client, tag)
    found = await _find(client, tag)
    if found is not None and await _is_right(client, found, tag):
        await _put_right(client, found, tag)
        return str(found["id"])
    new = await client.v1.prices.create_async(
        await _as_params(client, tag),
        {"idempotency_key": f"price:{tag.id}:{found['id'] if found else ''}"},
    )
    there = await _find(client, tag)
    # Under a key that they remember the answer is an old one, and the price may have lost its lookup key since.
    if there is None or there["id"] != new.id:
        await client.v1.prices.update_async(
            new.id, {"lookup_key": tag.id, "transfer_lookup_key": True, "active": True}
        )
    return new.id


async def read(client: stripe.StripeClient, tag: PriceTag) -> PriceThere:
    found = await _find(client, tag)
    if found is None:
        return PriceThere("", None, active=False)
    return PriceThere(found["id"], await _as_tag(client, found, tag), active=bool(found.get("active")))


async def _push_product(client: stripe.StripeClient, tag: PriceTag) -> None:
    try:
        there = await client.v1.products.retrieve_async(tag.product_id)
    except stripe.InvalidRequestError as problem:
        if not is_missing(problem):
            raise
        try:
            await client.v1.products.create_async({"id": tag.product_id, "name": tag.product_name})
        except stripe.InvalidRequestError as second:
            if not is_there_already(second):  # somebody else just made it
                raise
        return
    if there.name != tag.product_name or not there.active:
        await client.v1.products.update_async(tag.product_id, {"name": tag.product_name, "active": True})


async def _find(client: stripe.StripeClient, tag: PriceTag) -> dict[str, Any] | None:
    found = await client.v1.prices.list_async(
        {"lookup_keys": [tag.id], "expand": ["data.tiers", "data.product"]}
    )
    return found.data[0].to_dict() if found.data else None


async def _is_right(client: stripe.StripeClient, found: Mapping[str, Any], tag: PriceTag) -> bool:
    there = await _as_tag(client, {**found, "metadata": _metadata(tag)}, tag)
    return there == tag


async def _put_right(client: stripe.StripeClient, found: Mapping[str, Any], tag: PriceTag) -> None:
    said = found.get("metadata") or {}
    if not found.get("active") or any(said.get(key) != value for key, value in _metadata(tag).items()):
        await client.v1.prices.update_async(found["id"], {"active": True, "metadata": _metadata(tag)})


def _metadata(tag: PriceTag) -> dict[str, str]:
    return {OUR_PRICE: tag.id, KIND: tag.kind}


async def _as_params(client: stripe.StripeClient, tag: PriceTag) -> stripe.params.PriceCreateParams:
    metered = tag.kind == "metered"
    params: stripe.params.PriceCreateParams = {
        "product": tag.product_id,
        "currency": tag.currency,
        "lookup_key": tag.id,
        "transfer_lookup_key": True,
        "metadata": _metadata(tag),
        "recurring": {"interval": tag.period, "usage_type": "metered" if metered else "licensed"},
    }
    if metered:
        params["recurring"]["meter"] = await _meter(client, tag.meter)
    if not tag.tiers:
        params["unit_amount"] = tag.amount
        return params
    params["billing_scheme"] = "tiered"
    params["tiers_mode"] = cast(Literal["graduated", "volume"], tag.tiers_mode)
    params["tiers"] = [
        {"up_to": "inf" if up_to is None else up_to, "unit_amount": unit, "flat_amount": flat}
        for up_to, unit, flat in tag.tiers
    ]
    return params


async def _as_tag(client: stripe.StripeClient, found: Mapping[str, Any], asked: PriceTag) -> PriceTag:
    """What it is there, whether or not we have a word for it: the difference is to be seen."""
    product, recurring = found.get("product") or {}, found.get("recurring") or {}
    said = found.get("metadata") or {}
    metered = recurring.get("usage_type") == "metered"
    kind = "metered" if metered else said.get(KIND) or "flat"
    count = recurring.get("interval_count") or 1
    period = recurring.get("interval") or "once"
    meter = ""
    if recurring.get("meter"):
        meter = (await client.v1.billing.meters.retrieve_async(recurring["meter"])).event_name
    return PriceTag(
        id=str(said.get(OUR_PRICE) or ""),
        product_id=product.get("id") or "",
        product_name=product.get("name") or "",
        period=cast(Literal["month", "year"], period if count == 1 else f"{count} {period}"),
        kind=cast(Literal["flat", "seat", "metered"], kind),
        currency=found.get("currency") or "",
        amount=asked.amount if found.get("tiers") else _amount(found, "unit_amount"),
        tiers=tuple(
            (one.get("up_to"), _amount(one, "unit_amount"), _amount(one, "flat_amount"))
            for one in found.get("tiers") or ()
        ),
        tiers_mode=found.get("tiers_mode") or "",
        meter=meter,
    )


def _amount(of: Mapping[str, Any], name: str) -> int:
    """Whole minor units. A fraction of one, which we never push, shows as -1."""
    whole, exact = of.get(name), of.get(f"{name}_decimal")
    return int(whole) if whole is not None else 0 if exact is None else -1


async def _meter(client: stripe.StripeClient, name: str) -> str:
    """Its id there; made where there is none yet. It adds up, and belongs to the customer who is named."""
    if (there := await _find_meter(client, name)) is not None:
        return there
    try:
        new = await client.v1.billing.meters.create_async(
            {
                "display_name": name,
                "event_name": name,
                "default_aggregation": {"formula": "sum"},
                "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
                "value_settings": {"event_payload_key": "value"},
            }
        )
    except stripe.InvalidRequestError:
        if (there := await _find_meter(client, name)) is None:  # nobody else just made it
            raise
        return there
    return new.id


async def _find_meter(client: stripe.StripeClient, name: str) -> str | None:
    found = await client.v1.billing.meters.list_async({"status": "active", "limit": 100})
    async for one in found.auto_paging_iter():
        if one.event_name == name:
            return one.id
    return None
