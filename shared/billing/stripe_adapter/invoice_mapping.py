"""Maps Stripe's invoices, their lines, previews and taxes to ours.

Reads two generations of the API: the owner of an invoice in `parent` (since 2025-03-31), and at the top level as before.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.billing.provider_values import ChangePreview, Invoice, InvoiceLine, UpcomingInvoice
from shared.billing.stripe_adapter.metadata_keys import ADJUSTMENT_KEY
from shared.billing.stripe_adapter.stripe_values import (
    SEND_INVOICE,
    Raw,
    get_data,
    get_object_id,
    get_path,
    to_datetime,
)


def to_invoice(raw: Raw) -> Invoice:
    lines = tuple(to_invoice_line(raw_line) for raw_line in get_data(raw.get("lines")))
    # The period of an invoice is the previous one, so the line that ends last is used.
    periods = [(line.ends_at, line.starts_at) for line in lines if line.ends_at and line.starts_at]
    default_period = (to_datetime(raw.get("period_end")), to_datetime(raw.get("period_start")))
    ends_at, starts_at = max(periods, default=default_period)
    return Invoice(
        id=raw["id"],
        number=raw.get("number") or "",
        status=raw.get("status") or "draft",
        currency=raw.get("currency") or "",
        total=raw.get("total") or 0,
        due=raw.get("amount_remaining") or 0,
        paid=raw.get("amount_paid") or 0,
        attempts=raw.get("attempt_count") or 0,
        next_attempt_at=to_datetime(raw.get("next_payment_attempt")),
        created_at=to_datetime(raw.get("created")) or datetime.fromtimestamp(0, UTC),
        starts_at=starts_at,
        ends_at=ends_at,
        page_url=raw.get("hosted_invoice_url") or "",
        pdf_url=raw.get("invoice_pdf") or "",
        subscription_id=get_subscription_id(raw),
        lines=lines,
        credited=(raw.get("pre_payment_credit_notes_amount") or 0)
        + (raw.get("post_payment_credit_notes_amount") or 0),
        subtotal=raw.get("subtotal"),
        discount=_sum_discounts(raw),
        tax=sum(sum_taxes(raw)),
        included_tax=sum_taxes(raw).included,
        key=str(get_path(raw, "metadata", ADJUSTMENT_KEY) or ""),
        due_at=get_due_time(raw) if _is_paid_by_invoice(raw) else None,
    )


def to_upcoming_invoice(raw: Raw, subscription_id: str) -> UpcomingInvoice:
    """From the preview of a renewal. Lines that Stripe left out of it are one line, so that the sum is right."""
    lines = tuple(to_invoice_line(raw_line) for raw_line in get_data(raw.get("lines")))
    discount, taxes = _sum_discounts(raw), sum_taxes(raw)
    total = raw.get("total") or 0
    if missing_amount := total + discount - taxes.added - sum(line.amount for line in lines):
        lines += (InvoiceLine("Other items", missing_amount, None, None, None, proration=False),)
    return UpcomingInvoice(
        subscription_id=subscription_id,
        currency=raw.get("currency") or "",
        at=to_datetime(raw.get("period_end")) or to_datetime(raw.get("next_payment_attempt")),
        total=total,
        due=raw.get("amount_due") or 0,
        lines=lines,
        discount=discount,
        tax=taxes.added,
        included_tax=taxes.included,
    )


def to_preview(raw: Raw, items: Iterable[Raw], now: datetime) -> ChangePreview:
    """`items`: of the subscription. Stripe's clock can differ from ours, so the start is read from the proration lines.

    Includes prorations of earlier changes that aren't invoiced yet; they started before this one.
    """
    preview_invoice = to_invoice(raw)
    proration_starts = [line.starts_at for line in preview_invoice.lines if line.proration and line.starts_at]
    proration_date = to_datetime(
        get_path(raw, "parent", "subscription_details", "subscription_proration_date")
    )
    as_of = proration_date or max(proration_starts, default=None) or _clamp_to_period(now, items)
    taxes, due, total = sum_taxes(raw), raw.get("amount_due") or 0, raw.get("total") or 0
    raw_lines = zip(get_data(raw.get("lines")), preview_invoice.lines, strict=True)
    new_taxes = [
        sum_taxes(raw_line)
        for raw_line, line in raw_lines
        if line.proration and (line.starts_at is None or line.starts_at >= as_of)
    ]
    return ChangePreview(
        preview_invoice.currency,
        due,
        preview_invoice.lines,
        as_of,
        discount=preview_invoice.discount,
        tax=taxes.added,
        included_tax=taxes.included,
        balance=due - total if total >= 0 else 0,
        change_tax=sum(tax.added for tax in new_taxes),
        change_included_tax=sum(tax.included for tax in new_taxes),
    )


def to_invoice_line(raw: Raw) -> InvoiceLine:
    parent = raw.get("parent") or {}
    detail = parent.get("subscription_item_details") or parent.get("invoice_item_details") or raw
    return InvoiceLine(
        said=raw.get("description") or "",
        amount=raw.get("amount") or 0,
        quantity=raw.get("quantity"),
        starts_at=to_datetime(get_path(raw, "period", "start")),
        ends_at=to_datetime(get_path(raw, "period", "end")),
        proration=bool(detail.get("proration")),
        from_item=bool(detail.get("invoice_item") or detail.get("proration")),
        item_id=get_object_id(detail.get("invoice_item")),
        external_price_id=get_object_id(
            get_path(raw, "pricing", "price_details", "price") or raw.get("price")
        ),
    )


class TaxSums(NamedTuple):
    added: int  # on top of the prices
    included: int


def sum_taxes(raw: Raw) -> TaxSums:
    """Of an invoice, one of its lines, or a credit note."""
    taxes = raw.get("total_taxes") or raw.get("taxes") or ()
    if not taxes:  # before 2025-03-31
        taxes = raw.get("total_tax_amounts") or raw.get("tax_amounts") or ()
    included = [tax for tax in taxes if tax.get("tax_behavior") == "inclusive" or tax.get("inclusive")]
    included_amount = sum(tax.get("amount") or 0 for tax in included)
    return TaxSums(sum(tax.get("amount") or 0 for tax in taxes) - included_amount, included_amount)


def _sum_discounts(raw: Raw) -> int:
    return sum(discount.get("amount") or 0 for discount in raw.get("total_discount_amounts") or ())


def is_processing(invoice: Raw) -> bool:
    """Whether a bank settles its payment. `invoice`: with expanded payment intents."""
    intents = (
        get_path(payment, "payment", "payment_intent") for payment in get_data(invoice.get("payments"))
    )
    return any(get_path(intent, "status") == "processing" for intent in intents)


def get_subscription_id(invoice: Raw) -> str:
    """ "" for an invoice without a subscription."""
    return get_object_id(
        get_path(invoice, "parent", "subscription_details", "subscription") or invoice.get("subscription")
    )


def to_pending_line(item: Raw) -> InvoiceLine:
    return InvoiceLine(
        said=item.get("description") or "",
        amount=item.get("amount") or 0,
        quantity=item.get("quantity"),
        starts_at=to_datetime(get_path(item, "period", "start")),
        ends_at=to_datetime(get_path(item, "period", "end")),
        proration=bool(item.get("proration")),
        from_item=True,
        item_id=get_object_id(item),
    )


def get_item_subscription_id(item: Raw) -> str:
    return get_object_id(
        get_path(item, "parent", "subscription_details", "subscription") or item.get("subscription")
    )


def _clamp_to_period(at: datetime, items: Iterable[Raw]) -> datetime:
    """The nearest time within the current period."""
    for item in items:
        starts, ends = (
            to_datetime(item.get("current_period_start")),
            to_datetime(item.get("current_period_end")),
        )
        if starts and ends:
            at = max(starts, min(at, ends - timedelta(seconds=1)))
    return at.replace(microsecond=0)


def has_failed(invoice: Raw) -> bool:
    """Whether collecting it failed. Invoices paid by bank transfer, with a due date, count as tried."""
    tried = invoice.get("attempted") or invoice.get("attempt_count") or _is_paid_by_invoice(invoice)
    return invoice.get("status") == "open" and bool(tried)


def _is_paid_by_invoice(invoice: Raw) -> bool:
    return invoice.get("collection_method") == SEND_INVOICE and bool(invoice.get("due_date"))


def get_due_time(invoice: Raw) -> datetime:
    if _is_paid_by_invoice(invoice):
        return datetime.fromtimestamp(invoice["due_date"], UTC)
    at = get_path(invoice, "status_transitions", "finalized_at") or invoice.get("created") or 0
    return datetime.fromtimestamp(at, UTC)
