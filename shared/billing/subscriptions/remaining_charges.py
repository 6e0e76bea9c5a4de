"""What is still charged when a subscription is cancelled: pending items, usage until then, and overdue invoices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.billing.models import BillingInvoice
from shared.billing.provider import InvoiceLine, UpcomingCharges, UpcomingInvoice
from shared.billing.subscriptions.subscriptions import PlanSubscription


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingCharges:
    """`pending_lines` are charged when the subscription ends; a sum below zero isn't paid out.

    `overdue`: open invoices, which go on being collected. `voidable`: those of them that are void if the subscription
    ends now, because they are for the period that has just begun.
    """

    currency: str
    pending_lines: tuple[InvoiceLine, ...]
    overdue: tuple[BillingInvoice, ...]
    voidable: tuple[BillingInvoice, ...]
    has_usage: bool  # usage until then is charged too
    is_known: bool  # False where the provider hasn't told what is pending

    @property
    def pending_amount(self) -> int:
        return max(0, sum(line.amount for line in self.pending_lines))

    @property
    def is_nothing(self) -> bool:
        return self.is_known and not (self.pending_amount or self.overdue or self.has_usage)


def find_next_invoice(upcoming: UpcomingCharges | None) -> UpcomingInvoice | None:
    """The first one that comes, of whichever subscription."""
    invoices = upcoming.invoices if upcoming else ()
    return min(
        invoices,
        key=lambda invoice: (invoice.at is None, invoice.at, invoice.subscription_id),
        default=None,
    )


def find_remaining_charges(
    live_subscriptions: Sequence[PlanSubscription],
    upcoming: UpcomingCharges | None,
    open_invoices: Sequence[BillingInvoice],
    at: datetime,
) -> RemainingCharges:
    """Of all live subscriptions, of which there is at least one. `open_invoices`: of the tenant, whatever they are for."""
    ids = [subscription.id for subscription in live_subscriptions]
    return RemainingCharges(
        currency=live_subscriptions[0].snapshot.currency,
        pending_lines=tuple(
            line
            for invoice in (upcoming.invoices if upcoming else ())
            for line in invoice.lines
            if line.from_item
        ),
        overdue=tuple(open_invoices),
        voidable=tuple(
            invoice
            for invoice in open_invoices
            if invoice.subscription_id in ids and _is_for_running_period(invoice, at)
        ),
        has_usage=any(
            subscription.metered_prices and subscription.snapshot.status != "trialing"
            for subscription in live_subscriptions
        ),
        is_known=upcoming is not None and not upcoming.unknown_ids,
    )


def _is_for_running_period(invoice: BillingInvoice, at: datetime) -> bool:
    """Whether nothing on it was used: no line is of a period that has ended."""
    ends = [datetime.fromisoformat(str(line["ends_at"])) if line["ends_at"] else at for line in invoice.lines]
    amounts = [int(line["amount"]) for line in invoice.lines]
    return bool(amounts) and all(end > at for end, amount in zip(ends, amounts, strict=True) if amount)
