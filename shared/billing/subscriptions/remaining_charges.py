"""What is still charged when a subscription is cancelled: pending items, usage until then, drafts and open invoices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.billing.provider_values import InvoiceLine, Subscription, UpcomingCharges, UpcomingInvoice
from shared.billing.subscriptions import subscriptions
from shared.billing.subscriptions.subscriptions import PlanSubscription, SubscriptionRecords
from shared.billing.sync import provider_records

# Stripe finalizes and charges the draft of a renewal about an hour later. https://docs.stripe.com/billing/invoices/subscription
DRAFT_LIFETIME = timedelta(hours=2)  # with the delays of its webhooks
ChargeObstacle = Literal[
    "no_payment_method", "collection_paused", "unpaid", ""
]  # why invoices aren't charged


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpaidInvoices:
    """`pending`: of changes that wait for their payment. They are dropped unless they are paid."""

    drafts: tuple[BillingInvoice, ...]
    open: tuple[BillingInvoice, ...]
    pending: tuple[BillingInvoice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoidableInvoices:
    """Open invoices that are void if `ending_ids` end now. `kept_ids`: live subscriptions that end with their period."""

    invoices: tuple[BillingInvoice, ...]
    ending_ids: frozenset[str]
    kept_ids: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemainingCharges:
    """`pending_lines` are charged when the subscription ends, less the credit; a sum below zero isn't paid out.

    `open_invoices`: go on being collected. `due_soon`: drafts of periods that have begun, which are
    charged within the hour. `other_drafts`: drafts that are charged later, or not at all.
    """

    currency: str
    pending_lines: tuple[InvoiceLine, ...]
    balance: int  # that is left for them; credit is negative
    open_invoices: tuple[BillingInvoice, ...]
    due_soon: tuple[BillingInvoice, ...]
    other_drafts: tuple[BillingInvoice, ...]
    has_usage: bool  # usage until then is charged too
    is_taxed: bool  # tax on the pending lines is added, unless their prices contain it
    is_known: bool  # False where the provider hasn't told what is pending

    @property
    def pending_amount(self) -> int:
        if not self.pending_lines:
            return 0
        return max(0, sum(line.amount for line in self.pending_lines) + self.balance)

    @property
    def is_nothing(self) -> bool:
        is_invoiced = self.open_invoices or self.due_soon or self.other_drafts
        return self.is_known and not (self.pending_amount or is_invoiced or self.has_usage)


def group_unpaid_invoices(
    live_subscriptions: Sequence[PlanSubscription], unpaid_invoices: Sequence[BillingInvoice]
) -> UnpaidInvoices:
    changes = [subscription.snapshot.pending_change for subscription in live_subscriptions]
    pending_ids = {change.invoice_id for change in changes if change}
    invoices = [invoice for invoice in unpaid_invoices if invoice.id not in pending_ids]
    return UnpaidInvoices(
        drafts=tuple(invoice for invoice in invoices if invoice.status == repository.DRAFT),
        open=tuple(invoice for invoice in invoices if invoice.status == repository.OPEN),
        pending=tuple(invoice for invoice in unpaid_invoices if invoice.id in pending_ids),
    )


def find_voidable_invoices(
    records: SubscriptionRecords, unpaid_invoices: UnpaidInvoices, at: datetime
) -> VoidableInvoices:
    """Of subscriptions of which the running period isn't paid at all. Ending another one would take away what was paid.

    Includes those of ended subscriptions: ending one now may have stopped before its invoices were voided.
    """
    live_ids = {subscription.id for subscription in subscriptions.build_plan_subscriptions(records)}
    ending_ids, voidable_invoices = set[str](), list[BillingInvoice]()
    for row in records.subscriptions:
        if row.absent_at is not None or not (row.id in live_ids or row.status == provider_records.CANCELED):
            continue
        invoices = [
            invoice
            for invoice in unpaid_invoices.open
            if invoice.subscription_id == row.id and not invoice.paid and _is_for_running_period(invoice, at)
        ]
        snapshot = provider_records.to_subscription(row)
        if any(_covers_whole_period(invoice, snapshot) for invoice in invoices):
            voidable_invoices += invoices
            ending_ids |= {row.id} & live_ids
    return VoidableInvoices(
        invoices=tuple(voidable_invoices),
        ending_ids=frozenset(ending_ids),
        kept_ids=frozenset(live_ids - ending_ids),
    )


def find_charge_obstacle(subscription: Subscription) -> ChargeObstacle:
    """Why the provider previews invoices of it that it won't charge; "" where it charges them."""
    if subscription.paused_collection:
        return "collection_paused"
    if subscription.status == "unpaid":
        return "unpaid"
    ends_unpaid = not subscription.pays and subscription.after_trial != "invoice"
    return "no_payment_method" if subscription.status == "trialing" and ends_unpaid else ""


def find_next_invoice(
    upcoming: UpcomingCharges | None, live_subscriptions: Iterable[Subscription]
) -> UpcomingInvoice | None:
    """The first one that is charged, of whichever subscription."""
    uncharged_ids = {
        subscription.id for subscription in live_subscriptions if find_charge_obstacle(subscription)
    }
    invoices = upcoming.invoices if upcoming else ()
    return min(
        (invoice for invoice in invoices if invoice.subscription_id not in uncharged_ids),
        key=lambda invoice: (invoice.at is None, invoice.at, invoice.subscription_id),
        default=None,
    )


def find_remaining_charges(
    live_subscriptions: Sequence[PlanSubscription],
    upcoming: UpcomingCharges | None,
    unpaid_invoices: UnpaidInvoices,
    *,
    balance: int,
    at: datetime,
) -> RemainingCharges:
    """Of all live subscriptions, of which there is at least one. `unpaid_invoices`: of the tenant, whatever they are for."""
    ids = [
        subscription.id
        for subscription in live_subscriptions
        if not find_charge_obstacle(subscription.snapshot)
    ]
    due_soon = tuple(
        invoice
        for invoice in unpaid_invoices.drafts
        if invoice.subscription_id in ids and at - invoice.created_at < DRAFT_LIFETIME
    )
    return RemainingCharges(
        currency=live_subscriptions[0].snapshot.currency,
        pending_lines=_list_pending_lines(upcoming),
        # A draft with an amount due takes what is left of the credit.
        balance=max(0, balance) if unpaid_invoices.drafts else balance,
        open_invoices=unpaid_invoices.open,
        due_soon=due_soon,
        other_drafts=tuple(invoice for invoice in unpaid_invoices.drafts if invoice not in due_soon),
        has_usage=any(
            subscription.metered_prices and subscription.snapshot.status not in ("trialing", "paused")
            for subscription in live_subscriptions
        ),
        is_taxed=any(subscription.snapshot.is_taxed for subscription in live_subscriptions),
        is_known=upcoming is not None and not upcoming.unknown_ids,
    )


def _list_pending_lines(upcoming: UpcomingCharges | None) -> tuple[InvoiceLine, ...]:
    """Each item once: one that belongs to no subscription is previewed for each of them."""
    lines = [
        line
        for invoice in (upcoming.invoices if upcoming else ())
        for line in invoice.lines
        if line.from_item
    ]
    known_ids = set[str]()
    pending_lines = list[InvoiceLine]()
    for line in lines:
        if line.item_id not in known_ids:
            pending_lines.append(line)
        known_ids |= {line.item_id} - {""}
    return tuple(pending_lines)


def _is_for_running_period(invoice: BillingInvoice, at: datetime) -> bool:
    """Whether it has an amount, and no line with an amount is of a period that has ended."""
    ends = [datetime.fromisoformat(str(line["ends_at"])) if line["ends_at"] else at for line in invoice.lines]
    amounts = [int(line["amount"]) for line in invoice.lines]
    return bool(amounts) and all(end > at for end, amount in zip(ends, amounts, strict=True) if amount)


def _covers_whole_period(invoice: BillingInvoice, subscription: Subscription) -> bool:
    """Whether it charges for the running period from its start to its end, and not only for a change during it."""
    starts = [line.starts_at for line in subscription.lines if line.starts_at]
    ends = [line.ends_at for line in subscription.lines if line.ends_at]
    charged_periods = [
        (datetime.fromisoformat(str(line["starts_at"])), datetime.fromisoformat(str(line["ends_at"])))
        for line in invoice.lines
        if int(line["amount"]) > 0 and not line["proration"] and line["starts_at"] and line["ends_at"]
    ]
    return bool(starts and ends) and any(
        starts_at <= min(starts) and ends_at >= max(ends) for starts_at, ends_at in charged_periods
    )
