"""What happened to a customer's payments at Stripe: refunds and disputes."""

from collections.abc import Mapping, Sequence
from typing import Any

import stripe

from shared.billing.provider import Dispute, Refund
from shared.billing.stripe_adapter import mapping
from shared.billing.stripe_adapter.errors import tolerate_missing_right
from shared.billing.stripe_adapter.lists import PAGE_SIZE, is_truncated


async def fetch_refunds_and_disputes(
    v1: "stripe.V1Services", customer_id: str, invoices: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Refund, ...], tuple[Dispute, ...]]:
    """The newest refunds and disputes; none of those that the key can't read, so that the stored ones stay.

    Stripe lists neither by customer. No request is made for a customer without a payment.
    """
    refunds, disputes = tuple[Refund, ...](), tuple[Dispute, ...]()
    charges = list[dict[str, Any]]()
    if any(invoice.get("amount_paid") for invoice in invoices):
        with tolerate_missing_right("charges"):
            page = await v1.charges.list_async(
                {"customer": customer_id, "limit": PAGE_SIZE, "expand": ["data.refunds"]}
            )
            charges = [charge.to_dict() for charge in page.data]
    with tolerate_missing_right("disputes"):
        disputes = mapping.to_disputes(await _list_disputes(v1, charges), charges, invoices)
    # Without its credit note, a refund of an adjustment would count as one that was made in Stripe.
    with tolerate_missing_right("refunds and credit notes"):
        refunds = await _fetch_refunds(v1, customer_id, charges, invoices)
    return refunds, disputes


async def _list_disputes(
    v1: "stripe.V1Services", charges: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    disputes = list[dict[str, Any]]()
    for charge in charges:
        if charge.get("disputed"):
            page = await v1.disputes.list_async({"charge": charge["id"]})
            disputes += [dispute.to_dict() for dispute in page.data]
    return disputes


async def _fetch_refunds(
    v1: "stripe.V1Services",
    customer_id: str,
    charges: Sequence[dict[str, Any]],
    invoices: Sequence[Mapping[str, Any]],
) -> tuple[Refund, ...]:
    for charge in charges:
        if is_truncated(charge.get("refunds")):
            page = await v1.refunds.list_async({"charge": charge["id"], "limit": PAGE_SIZE})
            charge["refunds"] = [refund.to_dict() async for refund in page.auto_paging_iter()]
    if not any(mapping.has_refunds(charge) for charge in charges):
        return ()
    notes = await v1.credit_notes.list_async({"customer": customer_id, "limit": PAGE_SIZE})
    return mapping.to_refunds(charges, [note.to_dict() for note in notes.data], invoices)
