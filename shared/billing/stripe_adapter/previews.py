"""What Stripe will charge: for a change before it is made, and with the next invoice."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import stripe

from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import ChangePreview, OrderLine, UpcomingCharges, UpcomingInvoice
from shared.billing.stripe_adapter import (
    invoice_mapping,
    stripe_values,
    subscription_items,
    subscription_mapping,
)
from shared.billing.stripe_adapter.errors import is_about_whole_account, tolerate_missing_right
from shared.billing.stripe_adapter.lists import PAGE_SIZE
from shared.core import log

PREVIEWED_STATUSES = (
    "trialing",
    "active",
    "past_due",
    "unpaid",
)  # of subscriptions that get further invoices
MAX_PREVIEWS = 3  # of one fetch
PREVIEW_TIMEOUT_S = 8.0
NO_UPCOMING_INVOICE = "invoice_upcoming_none"
# Of the tax of a preview. The change itself would be refused. https://docs.stripe.com/tax/customer-locations
UNLOCATED = "requires_location_inputs"


async def preview_change(
    v1: "stripe.V1Services",
    customer_id: str,
    subscription_id: str,
    lines: Sequence[OrderLine],
    as_of: datetime | None = None,
    *,
    bill_now: bool = False,
    automatic_tax: bool = False,
) -> ChangePreview:
    items = await subscription_items.list_items(v1, subscription_id)
    details: stripe.params.InvoiceCreatePreviewParamsSubscriptionDetails = {
        "items": subscription_items.build_item_updates(items, lines),
        "proration_behavior": get_proration_behavior(prorate=True, bill_now=bill_now),
    }
    if as_of is not None:
        details["proration_date"] = int(as_of.timestamp())
    params: stripe.params.InvoiceCreatePreviewParams = {
        "customer": customer_id,
        "subscription": subscription_id,
        "subscription_details": details,
    }
    if automatic_tax:
        params["automatic_tax"] = {"enabled": True}
    invoice = await v1.invoices.create_preview_async(params)
    if invoice.automatic_tax.status == UNLOCATED:
        raise ProviderRefused("The customer’s location isn’t recognized.", UNLOCATED, kind="tax_location")
    return invoice_mapping.to_preview(invoice.to_dict(), items, datetime.now(UTC))


async def fetch_upcoming_charges(
    v1: "stripe.V1Services", customer: Mapping[str, Any], subscriptions: Sequence[Mapping[str, Any]]
) -> UpcomingCharges:
    """Stripe previews one subscription at a time, and none that ends with its period: what it then still charges are
    the pending items.
    """
    live_subscriptions = [raw for raw in subscriptions if raw.get("status") in PREVIEWED_STATUSES]
    ending_ids = [raw["id"] for raw in live_subscriptions if subscription_mapping.ends_with_period(raw)]
    invoices, unknown_ids = list[UpcomingInvoice](), list[str]()
    for position, raw in enumerate(raw for raw in live_subscriptions if raw["id"] not in ending_ids):
        try:
            if position >= MAX_PREVIEWS:
                raise TimeoutError
            async with asyncio.timeout(PREVIEW_TIMEOUT_S):
                preview = await v1.invoices.create_preview_async(
                    _build_upcoming_params(customer["id"], raw), {"max_network_retries": 0}
                )
            invoices.append(invoice_mapping.to_upcoming_invoice(preview.to_dict(), raw["id"]))
        except (stripe.StripeError, TimeoutError) as problem:
            if is_about_whole_account(problem):
                raise
            if not (isinstance(problem, stripe.StripeError) and problem.code == NO_UPCOMING_INVOICE):
                log.get_tenant_logger(__name__).warning("preview_refused", problem=type(problem).__name__)
                unknown_ids.append(raw["id"])
    if ending_ids:
        items = await _list_pending_items(v1, customer["id"])
        ending = [raw for raw in live_subscriptions if raw["id"] in ending_ids]
        if items is None:
            unknown_ids += ending_ids
        else:
            invoices += subscription_mapping.to_last_invoices(customer, ending, items)
    return UpcomingCharges(tuple(invoices), tuple(unknown_ids))


def _build_upcoming_params(
    customer_id: str, subscription: Mapping[str, Any]
) -> Any:  # a TypedDict of the SDK
    """By its schedule, where it has one, so that a scheduled change is in it."""
    if schedule_id := stripe_values.get_object_id(subscription.get("schedule")):
        return {"customer": customer_id, "schedule": schedule_id}
    return {"customer": customer_id, "subscription": subscription["id"]}


async def _list_pending_items(v1: "stripe.V1Services", customer_id: str) -> list[dict[str, Any]] | None:
    """None where the key can't read them."""
    items: list[dict[str, Any]] | None = None
    with tolerate_missing_right("invoice items"):
        page = await v1.invoice_items.list_async(
            {"customer": customer_id, "pending": True, "limit": PAGE_SIZE}
        )
        items = [item.to_dict() async for item in page.auto_paging_iter()]
    return items  # noqa: RET504 - None where the block ended early


def get_proration_behavior(
    *, prorate: bool, bill_now: bool
) -> Literal["always_invoice", "create_prorations", "none"]:
    if not prorate:
        return "none"
    return "always_invoice" if bill_now else "create_prorations"
