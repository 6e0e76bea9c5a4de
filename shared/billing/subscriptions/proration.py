"""When the difference of a change is charged."""

from collections.abc import Iterable

from shared.billing.provider_values import ChangePreview, InvoiceLine

# The next invoice of these is so far away that access would come long before the money. On shorter periods, an invoice
# for every change would be many small ones. https://docs.stripe.com/billing/subscriptions/prorations
PERIODS_BILLED_NOW = frozenset({"year"})


def is_billed_now(period: str, amount: int) -> bool:
    """Whether `amount`, the cost of a change in a running period, is charged at once.

    Otherwise it joins the next invoice, and so does every credit.
    """
    return amount > 0 and period in PERIODS_BILLED_NOW


def sum_new_prorations(preview: ChangePreview) -> int:
    """The cost of the previewed change itself, without prorations of earlier changes."""
    return sum(line.amount for line in list_new_prorations(preview))


def list_new_prorations(preview: ChangePreview) -> Iterable[InvoiceLine]:
    return [
        line
        for line in preview.lines
        if line.proration and (line.starts_at is None or line.starts_at >= preview.as_of)
    ]
