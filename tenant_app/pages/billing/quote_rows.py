"""The cost of a change as the page shows it before it is confirmed."""

from dataclasses import dataclass

from shared.billing.provider_values import ChangePreview
from shared.billing.subscriptions import changes, proration
from shared.core import money
from tenant_app.pages.billing.plan_rows import describe_recurring_price
from tenant_app.pages.billing.rows import (
    BALANCE_LABEL,
    InvoiceLineRow,
    amount_rows,
    describe_included_tax,
    iso_or_empty,
)


@dataclass(frozen=True, kw_only=True)
class PreviewRow:
    """The cost of a change: lines, their sum, and what the sum is. `total` is "" where it costs nothing."""

    lines: tuple[InvoiceLineRow, ...] = ()
    total: str = ""
    label: str = ""
    tax_note: str = ""


def preview_row(quote: changes.Quote) -> PreviewRow:
    """What earlier changes left for the next invoice is not this one's price."""
    change, preview = quote.change, quote.preview
    currency = preview.currency or change.currency
    lines = preview.lines if quote.is_due_today else tuple(proration.list_new_prorations(preview))
    if not lines:
        return PreviewRow()
    amounts = [(line.said, line.amount) for line in lines]
    if quote.is_due_today:
        amounts += [("Discount", -preview.discount), ("Tax", preview.tax), (BALANCE_LABEL, preview.balance)]
        return PreviewRow(
            lines=tuple(amount_rows(amounts, currency)),
            total=money.format_amount(preview.due, currency),
            label="Due today",
            tax_note=describe_included_tax(preview.included_tax, currency),
        )
    amounts.append(("Tax", preview.change_tax))
    total = sum(amount for _, amount in amounts)
    return PreviewRow(
        lines=tuple(amount_rows(amounts, currency)),
        total=money.format_amount(total, currency),
        label="Credited on the next invoice" if total < 0 else "Added to the next invoice",
        tax_note=describe_included_tax(preview.change_included_tax, currency) if total > 0 else "",
    )


def pause_rows(preview: ChangePreview, *, is_due_now: bool) -> PreviewRow:
    """What is due now, or a part of the invoice of the resumption."""
    if not preview.lines:
        return PreviewRow()
    amounts = [(line.said, line.amount) for line in preview.lines]
    amounts += [("Discount", -preview.discount), ("Tax", preview.tax)]
    if is_due_now:
        amounts.append((BALANCE_LABEL, preview.balance))
        total, label = preview.due, "Due today"
    else:
        total = sum(amount for _, amount in amounts)
        label = "Credited when you resume" if total < 0 else "Charged when you resume"
    return PreviewRow(
        lines=tuple(amount_rows(amounts, preview.currency)),
        total=money.format_amount(total, preview.currency),
        label=label,
        tax_note=describe_included_tax(preview.included_tax, preview.currency) if total > 0 else "",
    )


def describe_next_price(quote: changes.Quote) -> tuple[str, str]:
    """What every period costs from then on, and from when."""
    change = quote.change
    price_text = describe_recurring_price(
        money.format_amount(change.new_amount, quote.preview.currency or change.currency),
        change.period,
        tax_text=change.tax_text,
        has_metered=change.has_metered,
    )
    return price_text, iso_or_empty(change.starts_at)
