"""Pausing what a subscription collects, while a payment is disputed.

https://docs.stripe.com/billing/subscriptions/pause-payment. The mark in the metadata tells our pauses from others, and a pause
that was ended in the dashboard from one that never was.
"""

import stripe

from shared.billing.stripe_adapter.idempotency import find_nothing, send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.mapping import DISPUTE_KEY

KEEP_AS_DRAFT = "keep_as_draft"


async def pause_collection(v1: "stripe.V1Services", subscription_id: str, dispute_id: str, key: str) -> None:
    subscription = await v1.subscriptions.retrieve_async(subscription_id)
    if (
        subscription.ended_at is not None
        or subscription.pause_collection is not None
        or _get_mark(subscription)
    ):
        return
    params: stripe.params.SubscriptionUpdateParams = {
        "pause_collection": {"behavior": KEEP_AS_DRAFT},
        "metadata": {DISPUTE_KEY: dispute_id},
    }
    await _update(v1, subscription_id, params, key)


async def resume_collection(v1: "stripe.V1Services", subscription_id: str, key: str) -> None:
    """The mark is removed last, so that a repeated call completes one that failed."""
    subscription = await v1.subscriptions.retrieve_async(subscription_id)
    if not _get_mark(subscription) or subscription.ended_at is not None:
        return
    pause = subscription.pause_collection
    is_own = pause is not None and pause.behavior == KEEP_AS_DRAFT and pause.resumes_at is None
    if is_own:
        await _update(v1, subscription_id, {"pause_collection": ""}, f"{key}:pause")
    if is_own or pause is None:
        await _collect_drafts(v1, subscription_id)
    await _update(v1, subscription_id, {"metadata": {DISPUTE_KEY: ""}}, f"{key}:mark")


async def _collect_drafts(v1: "stripe.V1Services", subscription_id: str) -> None:
    """Stripe leaves the invoices of the pause as drafts until they are told to advance."""
    page = await v1.invoices.list_async(
        {"subscription": subscription_id, "status": "draft", "limit": PAGE_SIZE}
    )
    async for invoice in page.auto_paging_iter():
        if not invoice.auto_advance and invoice.billing_reason != "manual":
            await v1.invoices.update_async(str(invoice.id), {"auto_advance": True})


async def _update(
    v1: "stripe.V1Services", subscription_id: str, params: stripe.params.SubscriptionUpdateParams, key: str
) -> None:
    await send_once(
        key, lambda options: v1.subscriptions.update_async(subscription_id, params, options), find_nothing
    )


def _get_mark(subscription: stripe.Subscription) -> str:
    return str((subscription.to_dict().get("metadata") or {}).get(DISPUTE_KEY) or "")
