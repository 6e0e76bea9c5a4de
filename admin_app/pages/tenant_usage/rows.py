"""Rows of a tenant's usage tab."""

from dataclasses import dataclass, field
from datetime import datetime

from admin_app import labels
from shared.access.meters import METERS
from shared.backoffice.tenant_usage import TenantUsage
from shared.backoffice.usage_corrections import CorrectionPreview
from shared.billing.usage_preview import InvoiceEffect, InvoiceOutcome
from shared.core import money
from shared.metering.correction_batches import CorrectionView
from shared.metering.correction_effects import BilledEffect, WindowEffect
from shared.metering.models import CorrectionState, UsageCheck, WindowSize
from shared.metering.reconciliation import SinkComparison, WindowComparison
from shared.metering.usage_reports import Step
from shared.ui.usage_panels import format_quantity, format_time

STEP_OF_SIZE = {WindowSize.HOUR: Step.HOUR, WindowSize.MONTH: Step.MONTH}
STATE_LABELS = {
    CorrectionState.OPEN: ("Open", "warn"),
    CorrectionState.CLOSING: ("Closing", "idle"),
    CorrectionState.CLOSED: ("Closed", "ok"),
    CorrectionState.REVERTING: ("Reverting", "idle"),
    CorrectionState.REVERTED: ("Reverted", "idle"),
}


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """One emission: what its window gained, and what became of it."""

    time: str
    sum: str  # "2,500 used + 0 carried = 2 × 1,000 + 500 carried on"
    received: str
    label: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class ComparisonRow:
    meter: str
    closed: str
    emitted: str
    carried: str
    units: str
    confirmed: str
    label: str
    tone: str
    windows: list[WindowRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CorrectionRow:
    id: str
    note: str
    by: str
    at: str
    item_count: str
    state: str
    tone: str
    problem: str
    is_open: bool
    can_revert: bool


@dataclass(frozen=True, kw_only=True)
class EffectRow:
    window: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class PreviewText:
    """What the dialog that closes a correction says."""

    windows: list[EffectRow] = field(default_factory=list)
    others: str = ""
    billed: list[str] = field(default_factory=list)
    invoices: list[str] = field(default_factory=list)


MAX_EFFECTS = 10
INVOICE_TEXTS = {
    InvoiceOutcome.FREE: "stay free: nothing charged for them at that time.",
    InvoiceOutcome.WAITING: "are invoiced when the subscription goes on.",
    InvoiceOutcome.UNBILLED: "can’t be invoiced any more. The overview lists them as usage that isn’t billed.",
}


def comparison_rows(usage: TenantUsage) -> list[ComparisonRow]:
    return [comparison_row(comparison, usage) for comparison in usage.comparisons]


def comparison_row(comparison: SinkComparison, usage: TenantUsage | None = None) -> ComparisonRow:
    windows = usage.windows.get(comparison.meter.key, ()) if usage is not None else ()
    return ComparisonRow(
        meter=comparison.meter.title,
        closed=format_quantity(comparison.closed_quantity),
        emitted=format_quantity(comparison.emitted_quantity),
        carried=format_quantity(comparison.carried),
        units=f"{comparison.received_units:,} of {comparison.emitted_units:,}"
        if comparison.is_billed
        else "none, a test",
        confirmed=f"{comparison.confirmed_units:,}",
        label="Equal" if comparison.is_equal else "Different",
        tone="ok" if comparison.is_equal else "bad",
        windows=[window_row(window) for window in windows],
    )


def window_row(window: WindowComparison) -> WindowRow:
    emission = window.emission
    received = "Nothing to bill" if not emission.units else "None, a test"
    if window.received_units is not None:
        confirmed = ", confirmed" if window.is_confirmed else ", waiting"
        received = f"{window.received_units:,} of {emission.units:,}{confirmed}"
    size = Step.MONTH if f":{WindowSize.MONTH}:" in emission.id else Step.HOUR
    return WindowRow(
        time=format_time(emission.starts_at, size),
        sum=f"{format_quantity(emission.quantity)} used + {format_quantity(emission.carried_in)} carried"
        f" = {emission.units:,} × {METERS[emission.meter].per_unit:,} + {format_quantity(emission.carried_out)} carried on",
        received=received,
        label="Equal" if window.is_equal else "Different",
        tone="ok" if window.is_equal else "bad",
    )


def correction_row(view: CorrectionView) -> CorrectionRow:
    correction = view.correction
    state, tone = STATE_LABELS[correction.state]
    return CorrectionRow(
        id=correction.id,
        note=correction.note,
        by=correction.opened_by_name,
        at=correction.created_at.isoformat(),
        item_count=labels.plural(view.item_count, "item", "items"),
        state=state,
        tone=tone,
        problem=correction.problem,
        is_open=correction.state is CorrectionState.OPEN,
        can_revert=correction.state in (CorrectionState.OPEN, CorrectionState.CLOSED),
    )


def preview_text(preview: CorrectionPreview) -> PreviewText:
    windows = preview.effect.windows
    others = len(windows) - MAX_EFFECTS
    return PreviewText(
        windows=[effect_row(window) for window in windows[:MAX_EFFECTS]],
        others=labels.plural(others, "more hour or month", "more hours or months") if others > 0 else "",
        billed=[describe_billed(billed) for billed in preview.effect.billed],
        invoices=[describe_invoice(invoice) for invoice in preview.invoices],
    )


def effect_row(window: WindowEffect) -> EffectRow:
    title = METERS[window.meter].title
    return EffectRow(
        window=f"{title}, {format_time(window.starts_at, STEP_OF_SIZE[window.size])} UTC",
        before=format_quantity(window.quantity_before),
        after=format_quantity(window.quantity_after),
    )


def describe_billed(billed: BilledEffect) -> str:
    """What leaves for the invoice of its time while that is a draft, else for the running one."""
    meter = METERS[billed.meter]
    change = (
        f"{billed.quantity:+,f}".rstrip("0").rstrip(".")
        if "." in f"{billed.quantity:f}"
        else f"{billed.quantity:+,f}"
    )
    if billed.units:
        return (
            f"{meter.title}: {change} {meter.plural}. {meter.format_units(billed.units)} are billed with the invoice of"
            " their time, or with the next one where that is final."
        )
    if billed.carried < 0:
        return (
            f"{meter.title}: {change} {meter.plural}. The next {format_quantity(-billed.carried)} are free."
        )
    return f"{meter.title}: {change} {meter.plural}. Nothing is billed at once; the rest is carried on."


def describe_invoice(effect: InvoiceEffect) -> str:
    """Amounts are before discounts and taxes."""
    meter = METERS[effect.meter]
    units = meter.format_units(abs(effect.units))
    if effect.period is None:
        return f"{units} {INVOICE_TEXTS[effect.outcome]}"
    starts_at, ends_at = (format_time(at, Step.DAY) for at in effect.period)
    difference = abs(effect.amount_after - effect.amount_before)
    before, after, change = (
        money.format_amount(amount, effect.currency)
        for amount in (effect.amount_before, effect.amount_after, difference)
    )
    period = f"{meter.title}, invoice of {starts_at} to {ends_at}"
    if effect.outcome is InvoiceOutcome.CREDITED:
        return f"{period}: the next {units} would cost {change} and are free."
    drawn = f" Prepaid credits pay for {meter.format_units(effect.drawn)}." if effect.drawn else ""
    moved = " The invoice of their own time is final." if effect.is_moved else ""
    return f"{period}: {before} now, {after} then, {change} more before discounts and taxes.{drawn}{moved}"


def describe_check(check: UsageCheck | None) -> tuple[str, str]:
    """A sentence and its tone."""
    if check is None or check.checked_at is None:
        return "Not compared yet. This happens once a day.", "idle"
    if check.differing_count:
        first = ", ".join(check.differing_hours[:3])
        hours = labels.plural(check.differing_count, "hourly sum differs", "hourly sums differ")
        return f"{hours} from the events: {first}. Recompute the month.", "bad"
    sums = labels.plural(check.hour_count, "hourly sum", "hourly sums")
    return f"{sums} of the last 35 days compared with their events: no difference.", "ok"


def month_choices(at: datetime) -> list[tuple[str, str]]:
    """The last thirteen months, the newest first: "2026-07" and "July 2026"."""
    months = [(at.year * 12 + at.month - 1 - ago) for ago in range(13)]
    dates = [datetime(number // 12, number % 12 + 1, 1, tzinfo=at.tzinfo) for number in months]
    return [(f"{date:%Y-%m}", f"{date:%B %Y}") for date in dates]
