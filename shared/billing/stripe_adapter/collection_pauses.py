"""Pausing what a subscription collects, while a payment is disputed.

https://docs.stripe.com/billing/subscriptions/pause-payment. The mark in the metadata tells our pauses from others, and a pause
that was ended in the dashboard from one that never was.
"""

import stripe

from shared.billing.stripe_adapter.idempotency import find_nothing, send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.metadata_keys import DISPUTE_KEY, STOPPED_UNTIL_KEY

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
        "metadata": {
            DISPUTE_KEY: dispute_id,
            STOPPED_UNTIL_KEY: await _get_newest_stopped_draft_time(v1, subscription_id),
        },
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
        await _collect_drafts(v1, subscription)
    marks = {DISPUTE_KEY: "", STOPPED_UNTIL_KEY: ""}
    await _update(v1, subscription_id, {"metadata": marks}, f"{key}:mark")


async def _collect_drafts(v1: "stripe.V1Services", subscription: stripe.Subscription) -> None:
    """Stripe leaves the invoices of the pause as drafts until they are told to advance.

    Older drafts stay: staff had stopped them before the pause.
    """
    stopped_until = int(_get_metadata(subscription, STOPPED_UNTIL_KEY) or 0)
    for draft in await _list_stopped_drafts(v1, subscription.id):
        if draft.created > stopped_until:
            await v1.invoices.update_async(str(draft.id), {"auto_advance": True})


async def _get_newest_stopped_draft_time(v1: "stripe.V1Services", subscription_id: str) -> str:
    """A Unix time by Stripe's clock, which is another one than ours in tests. "" without such a draft."""
    times = [draft.created for draft in await _list_stopped_drafts(v1, subscription_id)]
    return str(max(times)) if times else ""


async def _list_stopped_drafts(v1: "stripe.V1Services", subscription_id: str) -> list[stripe.Invoice]:
    """Drafts of periods and changes that don't advance automatically."""
    page = await v1.invoices.list_async(
        {"subscription": subscription_id, "status": "draft", "limit": PAGE_SIZE}
    )
    return [
        draft
        async for draft in page.auto_paging_iter()
        if not draft.auto_advance and draft.billing_reason != "manual"
    ]


async def _update(
    v1: "stripe.V1Services", subscription_id: str, params: stripe.params.SubscriptionUpdateParams, key: str
) -> None:
    await send_once(
        key, lambda options: v1.subscriptions.update_async(subscription_id, params, options), find_nothing
    )


def _get_mark(subscription: stripe.Subscription) -> str:
    return _get_metadata(subscription, DISPUTE_KEY)


def _get_metadata(subscription: stripe.Subscription, key: str) -> str:
    return str((subscription.to_dict().get("metadata") or {}).get(key) or "")
