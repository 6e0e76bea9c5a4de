"""Prices in Stripe. `lookup_key` is our id; the kind is in the metadata."""

from collections.abc import Mapping
from typing import Any, Literal, cast

import stripe

from shared.billing.provider_values import PriceTag, RemotePrice
from shared.billing.stripe_adapter.errors import is_duplicate_object, is_missing
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.metadata_keys import PRICE_ID_KEY

UNSPECIFIED = "unspecified"  # tax behavior: the default in the tax settings is used
TAX_BEHAVIORS = {"exclusive": "exclusive", "inclusive": "inclusive", UNSPECIFIED: ""}
KIND_KEY = "bulkhead_kind"  # Stripe doesn't distinguish flat and per seat


async def push_price(client: stripe.StripeClient, tag: PriceTag) -> str:
    """Updates the price in Stripe, or replaces it by a new one with the same lookup key where it can't be updated."""
    await _push_product(client, tag)
    stripe_price = await _find_price(client, tag)
    if stripe_price is not None and await _is_same_price(client, stripe_price, tag):
        await _repair_price(client, stripe_price, tag)
        return str(stripe_price["id"])
    params, previous_id = await _to_params(client, tag), stripe_price["id"] if stripe_price else ""

    async def create_price(options: stripe.RequestOptions) -> str:
        return (await client.v1.prices.create_async(params, options)).id

    async def find_new_price() -> str | None:
        found_price = await _find_price(client, tag)
        return found_price["id"] if found_price is not None and found_price["id"] != previous_id else None

    new_id = await send_once(f"price:{tag.id}:{previous_id}", create_price, find_new_price)
    current_price = await _find_price(client, tag)
    # A repeated idempotency key returns an old answer, and the price can have lost its lookup key since.
    if current_price is None or current_price["id"] != new_id:
        await client.v1.prices.update_async(
            new_id, {"lookup_key": tag.id, "transfer_lookup_key": True, "active": True}
        )
    return new_id


async def read_price(client: stripe.StripeClient, tag: PriceTag) -> RemotePrice:
    stripe_price = await _find_price(client, tag)
    if stripe_price is None:
        return RemotePrice("", None, active=False)
    return RemotePrice(
        stripe_price["id"],
        await _to_price_tag(client, stripe_price, tag),
        active=bool(stripe_price.get("active")),
    )


async def _push_product(client: stripe.StripeClient, tag: PriceTag) -> None:
    try:
        product = await client.v1.products.retrieve_async(tag.product_id)
    except stripe.InvalidRequestError as problem:
        if not is_missing(problem):
            raise
        try:
            await client.v1.products.create_async({"id": tag.product_id, "name": tag.product_name})
        except stripe.InvalidRequestError as second:
            if not is_duplicate_object(second):  # another process has just created it
                raise
        return
    if product.name != tag.product_name or not product.active:
        await client.v1.products.update_async(tag.product_id, {"name": tag.product_name, "active": True})


async def _find_price(client: stripe.StripeClient, tag: PriceTag) -> dict[str, Any] | None:
    prices = await client.v1.prices.list_async(
        {"lookup_keys": [tag.id], "expand": ["data.tiers", "data.product"]}
    )
    return prices.data[0].to_dict() if prices.data else None


async def _is_same_price(client: stripe.StripeClient, stripe_price: Mapping[str, Any], tag: PriceTag) -> bool:
    current_tag = await _to_price_tag(client, {**stripe_price, "metadata": _metadata(tag)}, tag)
    return current_tag == tag


async def _repair_price(client: stripe.StripeClient, stripe_price: Mapping[str, Any], tag: PriceTag) -> None:
    metadata = stripe_price.get("metadata") or {}
    if not stripe_price.get("active") or any(
        metadata.get(key) != value for key, value in _metadata(tag).items()
    ):
        await client.v1.prices.update_async(stripe_price["id"], {"active": True, "metadata": _metadata(tag)})


def _metadata(tag: PriceTag) -> dict[str, str]:
    return {PRICE_ID_KEY: tag.id, KIND_KEY: tag.kind}


async def _to_params(client: stripe.StripeClient, tag: PriceTag) -> stripe.params.PriceCreateParams:
    metered = tag.kind == "metered"
    params: stripe.params.PriceCreateParams = {
        "product": tag.product_id,
        "currency": tag.currency,
        "lookup_key": tag.id,
        "transfer_lookup_key": True,
        "metadata": _metadata(tag),
        "recurring": {"interval": tag.period, "usage_type": "metered" if metered else "licensed"},
    }
    if tag.tax_behavior:
        params["tax_behavior"] = cast(Literal["exclusive", "inclusive"], tag.tax_behavior)
    if metered:
        params["recurring"]["meter"] = await _ensure_meter(client, tag.meter)
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


async def _to_price_tag(
    client: stripe.StripeClient, stripe_price: Mapping[str, Any], tag: PriceTag
) -> PriceTag:
    """The price as it is in Stripe, including values that we never push, so that differences are visible."""
    product, recurring = stripe_price.get("product") or {}, stripe_price.get("recurring") or {}
    metadata = stripe_price.get("metadata") or {}
    metered = recurring.get("usage_type") == "metered"
    kind = "metered" if metered else metadata.get(KIND_KEY) or "flat"
    count = recurring.get("interval_count") or 1
    period = recurring.get("interval") or "once"
    meter = ""
    if recurring.get("meter"):
        meter = (await client.v1.billing.meters.retrieve_async(recurring["meter"])).event_name
    return PriceTag(
        id=str(metadata.get(PRICE_ID_KEY) or ""),
        product_id=product.get("id") or "",
        product_name=product.get("name") or "",
        period=cast(Literal["month", "year"], period if count == 1 else f"{count} {period}"),
        kind=cast(Literal["flat", "seat", "metered"], kind),
        currency=stripe_price.get("currency") or "",
        amount=tag.amount if stripe_price.get("tiers") else _whole_amount(stripe_price, "unit_amount"),
        tiers=tuple(
            (tier.get("up_to"), _whole_amount(tier, "unit_amount"), _whole_amount(tier, "flat_amount"))
            for tier in stripe_price.get("tiers") or ()
        ),
        tiers_mode=stripe_price.get("tiers_mode") or "",
        meter=meter,
        tax_behavior=TAX_BEHAVIORS.get(stripe_price.get("tax_behavior") or UNSPECIFIED, ""),
    )


def _whole_amount(record: Mapping[str, Any], name: str) -> int:
    """Whole minor units. A fraction of one, which we never push, shows as -1."""
    whole, exact = record.get(name), record.get(f"{name}_decimal")
    return int(whole) if whole is not None else 0 if exact is None else -1


async def _ensure_meter(client: stripe.StripeClient, name: str) -> str:
    """Id of the meter; creates it where it is missing. It sums values by customer."""
    if (meter_id := await _find_meter(client, name)) is not None:
        return meter_id
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
        if (meter_id := await _find_meter(client, name)) is None:  # no other process has created it
            raise
        return meter_id
    return new.id


async def _find_meter(client: stripe.StripeClient, name: str) -> str | None:
    meters = await client.v1.billing.meters.list_async({"status": "active", "limit": 100})
    async for meter in meters.auto_paging_iter():
        if meter.event_name == name:
            return meter.id
    return None
