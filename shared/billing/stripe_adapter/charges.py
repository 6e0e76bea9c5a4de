"""What happened to a customer's payments at Stripe: refunds, disputes and early fraud warnings."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import stripe

from shared.billing.provider_values import Dispute, FraudWarning, Refund
from shared.billing.stripe_adapter import payment_mapping
from shared.billing.stripe_adapter.errors import tolerate_missing_right
from shared.billing.stripe_adapter.lists import PAGE_SIZE, is_truncated

MAX_FRAUD_WARNINGS = 500  # five requests; the sync of a customer must not read the history of a whole account


class PaymentResults(NamedTuple):
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    fraud_warnings: tuple[FraudWarning, ...] = ()


async def fetch_payment_results(
    v1: "stripe.V1Services", customer_id: str, invoices: Sequence[Mapping[str, Any]]
) -> PaymentResults:
    """The newest ones; none of those that the key can't read, so that the stored ones stay.

    Stripe lists none of them by customer. No request is made for a customer without a payment.
    """
    refunds, disputes = tuple[Refund, ...](), tuple[Dispute, ...]()
    fraud_warnings, charges = tuple[FraudWarning, ...](), list[dict[str, Any]]()
    if any(invoice.get("amount_paid") for invoice in invoices):
        with tolerate_missing_right("charges"):
            page = await v1.charges.list_async(
                {"customer": customer_id, "limit": PAGE_SIZE, "expand": ["data.refunds"]}
            )
            charges = [charge.to_dict() for charge in page.data]
    if not charges:
        return PaymentResults()
    with tolerate_missing_right("disputes"):
        disputes = payment_mapping.to_disputes(await _list_disputes(v1, charges), charges, invoices)
    # Without its credit note, a refund of an adjustment would count as one that was made in Stripe.
    with tolerate_missing_right("refunds and credit notes"):
        refunds = await _fetch_refunds(v1, customer_id, charges, invoices)
    with tolerate_missing_right("early fraud warnings"):
        fraud_warnings = payment_mapping.to_fraud_warnings(
            await _list_fraud_warnings(v1, charges), charges, invoices
        )
    return PaymentResults(refunds, disputes, fraud_warnings)


async def _list_disputes(
    v1: "stripe.V1Services", charges: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    disputes = list[dict[str, Any]]()
    for charge in charges:
        if charge.get("disputed"):
            page = await v1.disputes.list_async({"charge": charge["id"]})
            disputes += [dispute.to_dict() for dispute in page.data]
    return disputes


async def _list_fraud_warnings(
    v1: "stripe.V1Services", charges: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Those of all customers since the oldest of these charges, at most `MAX_FRAUD_WARNINGS`, newest first.

    A list for each charge would be a request for each payment.
    """
    since = min(charge["created"] for charge in charges)
    page = await v1.radar.early_fraud_warnings.list_async({"created": {"gte": since}, "limit": PAGE_SIZE})
    warnings = list[dict[str, Any]]()
    async for warning in page.auto_paging_iter():
        warnings.append(warning.to_dict())
        if len(warnings) == MAX_FRAUD_WARNINGS:
            break
    return warnings


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
    if not any(payment_mapping.has_refunds(charge) for charge in charges):
        return ()
    notes = await v1.credit_notes.list_async({"customer": customer_id, "limit": PAGE_SIZE})
    return payment_mapping.to_refunds(charges, [note.to_dict() for note in notes.data], invoices)
