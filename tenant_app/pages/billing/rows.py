"""Previews and invoices as the page shows them: texts and amounts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.access.meters import METERS
from shared.billing.models import BillingInvoice, Price
from shared.billing.pricing import prices
from shared.billing.provider_values import PauseCause, UpcomingInvoice
from shared.billing.subscriptions.overview import BillingOverview
from shared.billing.subscriptions.remaining_charges import ChargeObstacle
from shared.billing.subscriptions.subscriptions import PlanSubscription
from shared.core import money
from shared.core.plurals import plural
from shared.ui.tables import TONE_BY_LABEL
from tenant_app.pages.billing.plan_rows import PERIOD_LABELS, describe_recurring_price, lowercase_first

BALANCE_LABEL = "Balance of earlier invoices and credits"
STATUS_LABELS = {"paid": "Paid", "open": "Open", "void": "Void", "uncollectible": "Written off"}

PAUSE_SENTENCES: Mapping[PauseCause, tuple[str, str]] = {  # why the subscription is paused, next step
    "trial": ("The trial ended without a payment method.", "Add one, then resume the subscription."),
    "payment": (
        "The subscription is paused because a payment failed.",
        "Update the payment method, then resume it.",
    ),
    "request": ("The subscription was paused on request.", "Resume it to continue."),
    "": ("The subscription is paused.", "Resume it to continue."),
}

CHARGE_OBSTACLE_NOTES: Mapping[ChargeObstacle, str] = {  # why no invoice is charged
    "no_payment_method": "Nothing is charged unless you add a payment method",
    "collection_paused": "Invoices aren’t collected at the moment",
    "unpaid": "New invoices aren’t charged while one is overdue",
    "": "",
}


@dataclass(frozen=True)
class InvoiceLineRow:
    text: str
    amount: str


@dataclass(frozen=True)
class InvoiceRow:
    id: str = ""
    number: str = ""
    at: str = ""
    starts: str = ""
    ends: str = ""
    amount: str = ""
    status: str = ""
    tone: str = ""
    page_url: str = ""
    pdf_url: str = ""
    tax_note: str = ""  # as in "Includes €4.63 tax"


def iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""


@dataclass(frozen=True)
class ScheduledTexts:
    """A scheduled change: what changes, what stays until then, and what follows."""

    target: str = ""
    kept: str = ""
    note: str = ""


def scheduled_texts(overview: BillingOverview) -> ScheduledTexts:
    subscription, plan = overview.subscription, overview.scheduled_plan
    if subscription is None or plan is None:
        return ScheduledTexts()
    targets, kept = list[str](), list[str]()
    offers = (plan.offer, subscription.offer)
    if offers[0] is None or offers[1] is None or offers[0].id != offers[1].id:
        targets.append(offers[0].name if offers[0] else "another plan")
        kept.append(offers[1].name if offers[1] else "your plan")
    if plan.period != subscription.period:
        targets.append(f"{PERIOD_LABELS[plan.period].lower()} billing")
        kept.append(f"{PERIOD_LABELS[subscription.period].lower()} billing")
    if plan.seats is not None and plan.seats != subscription.seats:
        targets.append(plural(plan.seats, "seat"))
        kept += [plural(subscription.seats, "seat")] if subscription.seats is not None else []
    price_text = describe_recurring_price(
        money.format_amount(plan.amount, plan.currency),
        plan.period,
        tax_text=plan.tax_text,
        has_metered=plan.has_metered,
    )
    note = f"Then {price_text}."
    if plan.excess_seats:
        people = plural(plan.excess_seats, "member or invitation", "members or invitations")
        note += f" {people} won’t have a seat: they stay, but no one can be added."
    return ScheduledTexts(
        " with ".join(targets) or "other add-ons", " with ".join(kept) or "what you have", note
    )


@dataclass(frozen=True, kw_only=True)
class NextInvoiceRow:
    """The next invoice, as the provider previews it. `amount` is "None" where none comes, "Not known" where we can't say."""

    label: str = "Next invoice"
    amount: str = "None"
    at: str = ""  # ISO
    note: str = ""
    lines: tuple[InvoiceLineRow, ...] = ()
    tax_note: str = ""  # as in "Includes €4.63 tax"


def next_invoice_row(overview: BillingOverview) -> NextInvoiceRow:
    subscription, invoice = overview.subscription, overview.next_invoice
    if subscription is None:
        return NextInvoiceRow(note="No invoice is planned")
    if not overview.is_next_invoice_known:
        return NextInvoiceRow(amount="Not known", note="The payment provider hasn’t calculated it yet")
    if invoice is None:
        remaining = overview.remaining_charges
        is_cancelled = subscription.snapshot.cancel_at is not None
        if is_cancelled and remaining is not None and remaining.is_nothing:
            return NextInvoiceRow(note="No further charges")
        obstacle_note = CHARGE_OBSTACLE_NOTES[overview.charge_obstacle]
        return NextInvoiceRow(note=obstacle_note or _describe_own_usage(overview) or "No invoice is planned")
    label, note = _describe_upcoming(overview, subscription, invoice)
    return NextInvoiceRow(
        label=label,
        amount=money.format_amount(invoice.due, invoice.currency),
        at=iso_or_empty(invoice.at),
        note=note,
        lines=tuple(_upcoming_rows(invoice)),
        tax_note=describe_included_tax(invoice.included_tax, invoice.currency),
    )


def _describe_upcoming(
    overview: BillingOverview, subscription: PlanSubscription, invoice: UpcomingInvoice
) -> tuple[str, str]:
    """What it is called, and what is to be known about it."""
    if invoice.is_last:
        return "Last invoice", _describe_own_usage(overview) or "For changes that aren’t invoiced yet"
    if subscription.snapshot.status == "trialing":
        return "After the trial", "No charge until then" if overview.unpaid_invoice is None else ""
    if 0 < invoice.total > invoice.due:
        credit = money.format_amount(invoice.total - invoice.due, invoice.currency)
        return "Next invoice", f"Your credit of {credit} is used first"
    metered = [
        f"Plus what is used above {describe_included_usage(price)}"
        for price in subscription.metered_prices[:1]
    ]
    changes_note = "Includes changes since the last invoice" if _has_items(invoice) else ""
    return "Next invoice", "".join(metered) or changes_note or f"For a {subscription.period}"


def _describe_own_usage(overview: BillingOverview) -> str:
    remaining = overview.remaining_charges
    return "Usage until then is charged too" if remaining is not None and remaining.has_usage else ""


def _has_items(invoice: UpcomingInvoice) -> bool:
    return any(line.from_item for line in invoice.lines)


def _upcoming_rows(invoice: UpcomingInvoice) -> Iterator[InvoiceLineRow]:
    """Its lines and what is taken off or added; together the amount due."""
    amounts = [(line.said, line.amount) for line in invoice.lines]
    amounts += [("Discount", -invoice.discount), ("Tax", invoice.tax)]
    if invoice.total >= 0:
        amounts.append((BALANCE_LABEL, invoice.due - invoice.total))
    yield from amount_rows(amounts, invoice.currency)


def amount_rows(amounts: Iterable[tuple[str, int]], currency: str) -> Iterator[InvoiceLineRow]:
    """Without amounts of zero."""
    for text, amount in amounts:
        if amount:
            yield InvoiceLineRow(text, money.format_amount(amount, currency))


def describe_included_tax(amount: int, currency: str) -> str:
    """ "" where the amounts contain no tax."""
    return f"Includes {money.format_amount(amount, currency)} tax" if amount else ""


def describe_included_usage(price: Price) -> str:
    meter, tiers = METERS[price.meter], prices.read_tiers(price)
    if not tiers or not tiers[0].up_to or tiers[0].unit:
        return "the base"
    return f"{tiers[0].up_to * meter.per_unit:,} {lowercase_first(meter.title)}"


def invoice_row(invoice: BillingInvoice) -> InvoiceRow:
    status = STATUS_LABELS.get(invoice.status, invoice.status.replace("_", " ").capitalize())
    if invoice.status == "open" and invoice.attempts:
        status = "Overdue"
    return InvoiceRow(
        invoice.id,
        invoice.number or "No number",
        invoice.created_at.isoformat(),
        iso_or_empty(invoice.period_starts_at),
        iso_or_empty(invoice.period_ends_at),
        money.format_amount(invoice.total, invoice.currency),
        status,
        TONE_BY_LABEL.get(status, "idle"),
        invoice.page_url,
        invoice.pdf_url,
        describe_included_tax(invoice.included_tax, invoice.currency),
    )


def line_rows(invoice: BillingInvoice) -> list[InvoiceLineRow]:
    """Its lines, and what leads from their sum to the total."""
    rows = [
        InvoiceLineRow(str(line["said"]), money.format_amount(int(str(line["amount"])), invoice.currency))
        for line in invoice.lines
    ]
    added_tax = invoice.tax - invoice.included_tax
    if invoice.subtotal is not None and (invoice.discount or added_tax):
        rows.append(InvoiceLineRow("Subtotal", money.format_amount(invoice.subtotal, invoice.currency)))
    amounts = (("Discount", -invoice.discount), ("Tax", added_tax))
    return [*rows, *amount_rows(amounts, invoice.currency)]
