"""The rows of a tenant's billing tab."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from admin_app import addresses, labels
from shared.access.meters import METERS
from shared.backoffice import adjustments, tenant_billing
from shared.backoffice.unbilled_usage import UnbilledGroup
from shared.billing.models import (
    BillingAdjustment,
    BillingDrift,
    BillingEvent,
    BillingInvoice,
    BillingRefund,
    BillingSubscription,
)
from shared.ui.decision_trace import Change


@dataclass(frozen=True, kw_only=True)
class BillingSummary:
    access: str = ""
    tone: str = ""
    reason: str = ""
    provider_status: str = ""
    provider_tone: str = ""
    method: str = ""
    balance: str = ""
    balance_note: str = ""
    seats: str = ""
    alert: str = ""
    trial_ends_at: str = ""
    changed_at: str = ""


@dataclass(frozen=True, kw_only=True)
class CustomerRow:
    id: str
    account: str
    href: str
    synced_at: str


@dataclass(frozen=True, kw_only=True)
class AccessPhaseRow:
    starts_at: str
    access: str
    tone: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SubscriptionRow:
    id: str
    status: str
    tone: str
    lines_text: str
    ends_at: str
    cancel_at: str
    ticket: str
    seen_at: str
    is_absent: bool
    is_duplicate: bool  # charged beside another one
    paused_at: str  # on request, "" where it runs
    scheduled_at: str  # when its lines change, "" for never
    scheduled_lines: str
    cancellation: str  # why the customer cancelled, "" where they didn't say
    trial_ends_at: str  # of a running trial, "" else
    transfer_days: str  # "30 days" to pay by transfer, "" where it is charged


@dataclass(frozen=True, kw_only=True)
class TenantInvoiceRow:
    id: str
    number: str
    href: str
    status: str
    tone: str
    due: str
    total: str
    tax: str
    at: str
    due_at: str  # of one that is paid by transfer, "" else
    can_mark_paid: bool


@dataclass(frozen=True, kw_only=True)
class BillingChangeRow:
    """A billing event, or drift."""

    id: str
    title: str
    badge_label: str
    tone: str
    details: str
    at: str
    webhooks: list[tuple[str, str]] = field(default_factory=list)  # id, address
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class AdjustmentRow:
    id: str
    title: str
    state: str
    tone: str
    details: str
    error: str
    at: str
    is_stuck: bool  # requested but not confirmed


@dataclass(frozen=True, kw_only=True)
class UnbilledRow:
    id: str
    title: str  # how much of what
    problem: str
    oldest_at: str
    can_settle: bool


def unbilled_row(group: UnbilledGroup) -> UnbilledRow:
    return UnbilledRow(
        id=unbilled_id(group),
        title=METERS[group.meter].format_units(group.quantity),
        problem=labels.describe_usage_problem(group.problem, group.count),
        oldest_at=group.oldest_at.isoformat(),
        can_settle=not group.is_retried,
    )


def unbilled_id(group: UnbilledGroup) -> str:
    return f"{group.problem}:{group.meter}"


def billing_summary(billing: tenant_billing.BillingDetails) -> BillingSummary:
    snapshot = billing.snapshot
    if snapshot is None:
        return BillingSummary(
            access="None",
            tone="idle",
            reason="Never subscribed",
            provider_status="None",
            provider_tone="idle",
            method="None",
            balance="None",
            balance_note="Nothing billed yet",
        )
    schedule = billing.schedule
    access, tone = labels.access_badge(schedule.get("status", ""))
    word, word_tone = labels.subscription_badge(snapshot.status) if snapshot.status else ("None", "idle")
    balance = abs(snapshot.balance)
    return BillingSummary(
        access=access,
        tone=tone,
        reason=schedule.get("why", ""),
        provider_status=word,
        provider_tone=word_tone,
        method=snapshot.method or "None",
        balance=labels.format_amount(balance, snapshot.currency) if balance else "No balance",
        balance_note="Credit for the next invoices"
        if snapshot.balance < 0
        else "Owed on the next invoice"
        if balance
        else "",
        seats=str(schedule["seats"]) if schedule.get("seats") else "Set by the plan",
        alert=snapshot.alert,
        trial_ends_at=schedule.get("trial_ends_at") or "",
        changed_at=snapshot.changed_at.isoformat(),
    )


def phase_rows(billing: tenant_billing.BillingDetails) -> list[AccessPhaseRow]:
    rows = []
    for phase in billing.schedule.get("later", []):
        word, tone = labels.access_badge(phase["status"])
        rows.append(AccessPhaseRow(starts_at=phase["since"], access=word, tone=tone, reason=phase["why"]))
    if ends := billing.schedule.get("trial_ends_at"):
        word, tone = labels.access_badge("none")
        rows.append(AccessPhaseRow(starts_at=ends, access=word, tone=tone, reason="The trial ends"))
    return rows


def subscription_row(subscription: BillingSubscription, *, is_duplicate: bool = False) -> SubscriptionRow:
    provider_state = subscription.state
    word, tone = labels.subscription_badge(subscription.status)
    scheduled_change = provider_state.get("scheduled_change")
    ends = [line["ends_at"] for line in provider_state["lines"] if line["ends_at"]]
    days = provider_state.get("days_until_due") or 0
    return SubscriptionRow(
        id=subscription.id,
        status="Deleted in Stripe" if subscription.absent_at else word,
        tone="bad" if subscription.absent_at else tone,
        lines_text=_format_lines(provider_state["lines"]),
        ends_at=max(ends, default=""),
        cancel_at=provider_state["cancel_at"] or "",
        ticket=str(subscription.ticket),
        seen_at=subscription.seen_at.isoformat(),
        is_absent=subscription.absent_at is not None,
        is_duplicate=is_duplicate,
        paused_at=provider_state.get("paused_at") or "",
        scheduled_at=scheduled_change["at"] if scheduled_change else "",
        scheduled_lines=_format_lines(scheduled_change["lines"]) if scheduled_change else "",
        cancellation=describe_cancellation(subscription),
        trial_ends_at=(provider_state["trial_ends_at"] or "") if subscription.status == "trialing" else "",
        transfer_days=labels.plural(days, "day", "days") if days else "",
    )


def _format_lines(lines: Sequence[Mapping[str, Any]]) -> str:
    parts = [
        f"{line['quantity']} × {line['price_id'] or line['external_price_id']}"
        if line["quantity"]
        else line["price_id"] or line["external_price_id"]
        for line in lines
    ]
    return ", ".join(parts) or "No prices"


def describe_cancellation(subscription: BillingSubscription) -> str:
    """The customer's answer and comment."""
    parts = [
        labels.describe_cancellation(subscription.cancellation_feedback),
        f"“{subscription.cancellation_comment}”" if subscription.cancellation_comment else "",
    ]
    return " · ".join(part for part in parts if part)


def tenant_invoice_row(invoice: BillingInvoice) -> TenantInvoiceRow:
    word, tone = labels.invoice_badge(invoice.status)
    return TenantInvoiceRow(
        id=invoice.id,
        number=invoice.number or "No number yet",
        href=invoice.page_url,
        status=word,
        tone=tone,
        due=labels.format_amount(invoice.due, invoice.currency) if invoice.due else "",
        total=labels.format_amount(invoice.total, invoice.currency),
        tax=labels.describe_tax(invoice.tax, invoice.included_tax, invoice.currency),
        at=invoice.created_at.isoformat(),
        due_at=labels.iso_or_empty(invoice.due_at if invoice.due else None),
        can_mark_paid=invoice.due_at is not None and invoice.status == "open",
    )


def event_row(event: BillingEvent) -> BillingChangeRow:
    return BillingChangeRow(
        id=event.id,
        title=labels.CAUSE_LABELS.get(event.cause, event.cause),
        badge_label="Access updated" if event.recalculated else "",
        tone="accent",
        details=f"Ticket {event.ticket}",
        at=event.at.isoformat(),
        webhooks=[
            (event_id, addresses.webhook_url(event.account_id, event_id)) for event_id in event.event_ids
        ],
        changes=labels.list_billing_changes(event.previous, event.next),
    )


def drift_row(drift: BillingDrift) -> BillingChangeRow:
    return BillingChangeRow(
        id=drift.id,
        title="Differed from Stripe",
        badge_label="Fixed" if drift.repaired else "Open",
        tone="ok" if drift.repaired else "bad",
        details=drift.customer_id,
        at=drift.at.isoformat(),
        webhooks=[],
        changes=labels.list_differences(drift.differences),
    )


def adjustment_row(adjustment: BillingAdjustment, refunds: Sequence[BillingRefund] = ()) -> AdjustmentRow:
    """`refunds`: of the tenant, which tell how much of a refund was tax."""
    refunded_tax = sum(refund.tax for refund in refunds if refund.adjustment_id == adjustment.id)
    tax_note = labels.describe_tax(refunded_tax, refunded_tax, adjustment.currency)
    word, tone = labels.ADJUSTMENT_STATE_LABELS[adjustment.state]
    invoice_note = f" · {adjustment.invoice_id}" if adjustment.invoice_id else ""
    return AdjustmentRow(
        id=adjustment.id,
        title=f"{labels.ADJUSTMENT_KIND_LABELS[adjustment.kind]} of {labels.format_amount(adjustment.amount, adjustment.currency)}"
        f"{f' ({tax_note})' if tax_note else ''}",
        state=word,
        tone=tone,
        details=f"{adjustments.REASON_CODES.get(adjustment.reason_code, adjustment.reason_code)}. {adjustment.by_name}: {adjustment.reason}{invoice_note}",
        error=adjustment.error,
        at=adjustment.created_at.isoformat(),
        is_stuck=adjustment.state == "requested",
    )
