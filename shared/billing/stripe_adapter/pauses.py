"""Pausing a subscription, and what it costs to resume it. https://docs.stripe.com/billing/subscriptions/pause"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import stripe

from shared.billing.provider_values import ChangePreview
from shared.billing.stripe_adapter import invoice_mapping, stripe_values
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.previews import NO_UPCOMING_INVOICE

# What isn't used is credited and what was used is charged, both when it is resumed.
BILL_FOR: stripe.params.SubscriptionPauseParamsBillFor = {
    "unused_time_from": {"type": "now"},
    "outstanding_usage_through": {"type": "now"},
}


async def pause_subscription(v1: "stripe.V1Services", subscription_id: str, key: str) -> None:
    params: stripe.params.SubscriptionPauseParams = {
        "type": "subscription",
        "bill_for": BILL_FOR,
        "invoicing_behavior": "pending_invoice_item",
    }

    async def find_paused() -> stripe.Subscription | None:
        subscription = await v1.subscriptions.retrieve_async(subscription_id)
        return subscription if subscription.status == "paused" else None

    try:
        await send_once(
            key,
            lambda options: v1.subscriptions.pause_async(subscription_id, params, options),
            find_paused,
        )
    except stripe.InvalidRequestError:
        if await find_paused() is None:  # otherwise it was paused meanwhile
            raise


async def has_credit(v1: "stripe.V1Services", subscription: stripe.Subscription) -> bool:
    """Whether the pending items of a paused subscription are more credit than charges."""
    if subscription.status != "paused":
        return False
    page = await v1.invoice_items.list_async(
        {"customer": stripe_values.get_object_id(subscription.customer), "pending": True, "limit": PAGE_SIZE}
    )
    items = [item.to_dict() async for item in page.auto_paging_iter()]
    own_items = [item for item in items if invoice_mapping.get_item_subscription_id(item) == subscription.id]
    return sum(int(item["amount"]) for item in own_items) < 0


async def preview_pause(v1: "stripe.V1Services", customer_id: str, subscription_id: str) -> ChangePreview:
    """As an invoice of the pause would be: Stripe previews no pending items. Empty where there would be none."""
    pause = {"type": "subscription", "bill_for": BILL_FOR, "invoicing_behavior": "invoice"}
    try:
        return await _preview(v1, customer_id, subscription_id, {"pause": pause})
    except stripe.InvalidRequestError as problem:
        if problem.code != NO_UPCOMING_INVOICE:
            raise
    return ChangePreview("", 0, (), datetime.now(UTC))


async def preview_resume(v1: "stripe.V1Services", customer_id: str, subscription_id: str) -> ChangePreview:
    return await _preview(v1, customer_id, subscription_id, {"resume_at": "now"})


async def _preview(
    v1: "stripe.V1Services", customer_id: str, subscription_id: str, details: Mapping[str, Any]
) -> ChangePreview:
    typed_details = cast(stripe.params.InvoiceCreatePreviewParamsSubscriptionDetails, details)
    invoice = await v1.invoices.create_preview_async(
        {"customer": customer_id, "subscription": subscription_id, "subscription_details": typed_details}
    )
    return invoice_mapping.to_preview(invoice.to_dict(), (), datetime.now(UTC))
