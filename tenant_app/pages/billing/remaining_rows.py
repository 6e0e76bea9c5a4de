"""What is still charged after cancelling, and what can be voided, as the page shows it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product

from shared.billing.models import BillingInvoice
from shared.billing.subscriptions.cancellation import CancellationRequest
from shared.billing.subscriptions.overview import BillingOverview
from shared.billing.subscriptions.remaining_charges import RemainingCharges
from shared.core import money
from shared.core.plurals import plural
from tenant_app.pages.billing.rows import InvoiceLineRow

PAUSE_CREDIT = (
    "The credit of the pause, if any, is added to your balance. Contact support to have it refunded."
)


@dataclass(frozen=True, kw_only=True)
class RemainingRow:
    """What is still charged after cancelling: one sentence, and the items. `void_note`: "" where nothing can be voided."""

    sentence: str = ""
    sentence_before: str = ""  # for the dialog, in which customers choose whether to end it now
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
            f"{'Overdue' if invoice.attempts else 'Open'} invoice {invoice.number}",
            money.format_amount(invoice.due, invoice.currency),
        )
        for invoice in remaining.open_invoices
    ]
    return RemainingRow(
        sentence=describe_remaining_charges(remaining),
        sentence_before=describe_remaining_charges(remaining, voidable=overview.voidable.invoices),
        lines=tuple(lines),
        void_note=void_note,
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


def describe_remaining_charges(
    remaining: RemainingCharges, *, voidable: Collection[BillingInvoice] = ()
) -> str:
    """Says that nothing more is charged only where that follows from what the provider told us.

    `voidable`: invoices that the customer can still choose to void.
    """
    if remaining.is_nothing:
        return "You won’t be charged again."
    sentences = []
    if not remaining.is_known:
        sentences.append("The payment provider hasn’t calculated what is still to be charged.")
    if remaining.pending_amount:
        amount = money.format_amount(remaining.pending_amount, remaining.currency)
        tax_text = ", plus tax where prices don’t include it" if remaining.is_taxed else ""
        sentences.append(f"{amount} for changes is charged when it ends{tax_text}.")
    if remaining.has_usage:
        sentences.append("Usage until then is charged too.")
    for currency, amount in _sum_by_currency(remaining.due_soon).items():
        amount_text = money.format_amount(amount, currency)
        sentences.append(f"{amount_text} for the period that has begun is charged within the hour.")
    for currency, amount in _sum_by_currency(remaining.other_drafts).items():
        amount_text = money.format_amount(amount, currency)
        sentences.append(f"{amount_text} is on a draft invoice and may still be charged.")
    for is_overdue, is_voidable in product((True, False), (True, False)):
        invoices = [
            invoice
            for invoice in remaining.open_invoices
            if bool(invoice.attempts) is is_overdue and (invoice in voidable) is is_voidable
        ]
        for currency, amount in _sum_by_currency(invoices).items():
            status, end = "overdue" if is_overdue else "open", ", unless you end now." if is_voidable else "."
            sentences.append(f"{money.format_amount(amount, currency)} is {status} and still collected{end}")
    return " ".join(sentences)


def describe_cancellation(request: CancellationRequest, remaining_text: str) -> tuple[str, str]:
    """What was done, and what follows. `remaining_text`: what is still charged."""
    if request.keys and request.ending_ids.issuperset(request.keys):
        if request.void_keys:
            return "Subscription ended.", describe_voided(len(request.void_keys))
        return "Subscription ended.", f"{PAUSE_CREDIT} {remaining_text}"  # it was paused
    voided_text = f"{describe_voided(len(request.void_keys))} " if request.void_keys else ""
    return "Cancelled.", f"{voided_text}You keep access until the end of the period. {remaining_text}"


def describe_voided(count: int) -> str:
    return f"{plural(count, 'unpaid invoice')} {'was' if count == 1 else 'were'} voided."


def _sum_by_currency(invoices: Sequence[BillingInvoice]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for invoice in invoices:
        sums[invoice.currency] = sums.get(invoice.currency, 0) + invoice.due
    return sums
