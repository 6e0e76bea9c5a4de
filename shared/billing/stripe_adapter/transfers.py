"""Subscriptions at Stripe whose invoices are paid by bank transfer.

https://docs.stripe.com/billing/subscriptions/out-of-band-invoices: the subscription sends invoices instead of charging them,
and an invoice is marked as paid when the money has arrived. Both are final at Stripe.
"""

import stripe

from shared.billing.provider import SUBSCRIBED, ProviderRefused
from shared.billing.provider_values import TransferOrder
from shared.billing.stripe_adapter.idempotency import send_once
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.billing.stripe_adapter.metadata_keys import TRANSFER_ORDER_KEY
from shared.billing.stripe_adapter.stripe_values import SEND_INVOICE


async def start_subscription(v1: "stripe.V1Services", order: TransferOrder, *, automatic_tax: bool) -> str:
    """Stripe forgets idempotency keys after a day, so the subscription has the key of its order in its metadata."""
    has_other = False
    for subscription in await _list_subscriptions(v1, order.customer_id):
        if _get_order_key(subscription) == order.key:
            return subscription.id
        has_other = has_other or subscription.ended_at is None
    if has_other:
        raise ProviderRefused("The customer has a subscription already.", SUBSCRIBED)
    params: stripe.params.SubscriptionCreateParams = {
        "customer": order.customer_id,
        "items": [
            {"price": line.external_price_id}
            if line.quantity is None
            else {"price": line.external_price_id, "quantity": line.quantity}
            for line in order.lines
        ],
        "collection_method": SEND_INVOICE,
        "days_until_due": order.days_until_due,
        "metadata": {**order.metadata, TRANSFER_ORDER_KEY: order.key},
    }
    if automatic_tax:
        params["automatic_tax"] = {"enabled": True}

    async def create(options: stripe.RequestOptions) -> str:
        return (await v1.subscriptions.create_async(params, options)).id

    return await send_once(order.key, create, lambda: _find_subscription(v1, order))


async def mark_paid(v1: "stripe.V1Services", invoice_id: str, key: str) -> None:
    invoice = await v1.invoices.retrieve_async(invoice_id)
    if invoice.status == "paid":
        if invoice.amount_paid_off_stripe:
            return
        raise ProviderRefused("This invoice was paid through Stripe already.", "invoice_already_paid")

    async def find_paid() -> stripe.Invoice | None:
        marked = await v1.invoices.retrieve_async(invoice_id)
        return marked if marked.status == "paid" and marked.amount_paid_off_stripe else None

    await send_once(
        key,
        lambda options: v1.invoices.pay_async(invoice_id, {"paid_out_of_band": True}, options),
        find_paid,
    )


async def _find_subscription(v1: "stripe.V1Services", order: TransferOrder) -> str | None:
    for subscription in await _list_subscriptions(v1, order.customer_id):
        if _get_order_key(subscription) == order.key:
            return subscription.id
    return None


async def _list_subscriptions(v1: "stripe.V1Services", customer_id: str) -> list[stripe.Subscription]:
    """Ended ones too."""
    page = await v1.subscriptions.list_async({"customer": customer_id, "status": "all", "limit": PAGE_SIZE})
    return [subscription async for subscription in page.auto_paging_iter()]


def _get_order_key(subscription: stripe.Subscription) -> str:
    return str((subscription.to_dict().get("metadata") or {}).get(TRANSFER_ORDER_KEY) or "")
