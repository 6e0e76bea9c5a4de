"""The cost of a change as the page shows it before it is confirmed."""

from dataclasses import dataclass

from shared.billing.provider import ChangePreview
from shared.billing.subscriptions import changes, proration
from shared.core import money
from tenant_app.pages.billing.plan_rows import period_text
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


def pause_rows(preview: ChangePreview, *, is_due_now: bool) -> tuple[list[InvoiceLineRow], str, str]:
    """Lines, their sum, and what the sum is: due now, or a part of the invoice of the resumption."""
    if not preview.lines:
        return [], "", ""
    amounts = [(line.said, line.amount) for line in preview.lines]
    if is_due_now:
        amounts += [("Discount", -preview.discount), ("Tax", preview.tax), (BALANCE_LABEL, preview.balance)]
        return (
            list(amount_rows(amounts, preview.currency)),
            money.format_amount(preview.due, preview.currency),
            "Due today",
        )
    total = sum(line.amount for line in preview.lines)
    label = "Credited when you resume" if total < 0 else "Charged when you resume"
    return list(amount_rows(amounts, preview.currency)), money.format_amount(total, preview.currency), label


def describe_next_price(quote: changes.Quote) -> tuple[str, str]:
    """What every period costs from then on, and from when."""
    change = quote.change
    amount = money.format_amount(change.new_amount, quote.preview.currency or change.currency)
    more = ", plus usage" if change.has_metered else ""
    start = iso_or_empty(change.starts_at)
    tax_text = f", {change.tax_text}" if change.tax_text else ""
    return f"{amount} {period_text(change.period)}{tax_text}{more}", start
