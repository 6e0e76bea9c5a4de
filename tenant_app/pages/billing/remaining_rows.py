"""What is still charged after cancelling, and what can be voided, as the page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.billing.models import BillingInvoice
from shared.billing.subscriptions.overview import BillingOverview
from shared.billing.subscriptions.remaining_charges import RemainingCharges
from shared.core import money
from tenant_app.pages.billing.rows import InvoiceLineRow


@dataclass(frozen=True, kw_only=True)
class RemainingRow:
    """What is still charged after cancelling: one sentence, and the items. `void_note`: "" where nothing can be voided."""

    sentence: str = ""
    lines: tuple[InvoiceLineRow, ...] = ()
    void_note: str = ""


def remaining_row(overview: BillingOverview) -> RemainingRow:
    remaining, void_note = overview.remaining_charges, describe_void(overview)
    if remaining is None:
        return RemainingRow(void_note=void_note)
    lines = []
    if remaining.pending_amount:
        lines += [
            InvoiceLineRow(line.said, money.format_amount(line.amount, remaining.currency))
            for line in remaining.pending_lines
        ]
        if remaining.balance:
            balance_text = money.format_amount(remaining.balance, remaining.currency)
            lines.append(InvoiceLineRow("Balance of earlier invoices and credits", balance_text))
    lines += [
        InvoiceLineRow(
            f"Overdue invoice {invoice.number}", money.format_amount(invoice.due, invoice.currency)
        )
        for invoice in remaining.overdue
    ]
    return RemainingRow(
        sentence=describe_remaining_charges(remaining), lines=tuple(lines), void_note=void_note
    )


def describe_void(overview: BillingOverview) -> str:
    """What voiding does; "" where nothing can be voided."""
    voided_text = ", ".join(
        f"{invoice.number} ({money.format_amount(invoice.due, invoice.currency)})"
        for invoice in overview.voidable.invoices
    )
    if not voided_text:
        return ""
    if overview.subscription is None:
        return f"The subscription has ended. You can void {voided_text}."
    if not overview.voidable.ending_ids:
        return f"We void {voided_text}."
    if overview.voidable.kept_ids:
        return f"What isn’t paid ends now, the rest at the end of its period. We void {voided_text}."
    return f"You lose access now, and we void {voided_text}."


def describe_remaining_charges(remaining: RemainingCharges) -> str:
    """Says that nothing more is charged only where that follows from what the provider told us."""
    if remaining.is_nothing:
        return "You won’t be charged again."
    sentences = []
    if not remaining.is_known:
        sentences.append("The payment provider hasn’t calculated what is still to be charged.")
    if remaining.pending_amount:
        amount = money.format_amount(remaining.pending_amount, remaining.currency)
        sentences.append(f"{amount} for changes is charged when it ends.")
    if remaining.has_usage:
        sentences.append("Usage until then is charged too.")
    for currency, amount in _sum_by_currency(remaining.due_soon).items():
        amount_text = money.format_amount(amount, currency)
        sentences.append(f"{amount_text} for the period that has begun is charged within the hour.")
    for currency, amount in _sum_by_currency(remaining.other_drafts).items():
        amount_text = money.format_amount(amount, currency)
        sentences.append(f"{amount_text} is on a draft invoice and may still be charged.")
    for currency, amount in _sum_by_currency(remaining.overdue).items():
        sentences.append(f"{money.format_amount(amount, currency)} is overdue and still collected.")
    return " ".join(sentences)


def _sum_by_currency(invoices: Sequence[BillingInvoice]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for invoice in invoices:
        sums[invoice.currency] = sums.get(invoice.currency, 0) + invoice.due
    return sums
