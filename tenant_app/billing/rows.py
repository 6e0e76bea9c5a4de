"""Plans, add-ons, previews and invoices as the page shows them: in words and amounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.billing.models import BillingInvoice, Price
from shared.billing.pricing import prices
from shared.billing.pricing.meters import METERS
from shared.billing.pricing.prices import PlanPrices
from shared.billing.provider import InvoiceLine
from shared.billing.subscriptions import changes
from shared.billing.subscriptions.overview import BillingOverview, PurchaseOption
from shared.core import money
from shared.entitlements.catalog import PlanOffer
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, LimitPeriod
from shared.ui.tables import TONE_BY_LABEL

PERIOD_LABELS = {"month": "Monthly", "year": "Yearly"}
COMPARED_LIMITS = (
    "members",
    "api_calls",
    "usage_events",
    "retention_days",
    "roles",
)  # limits that people choose by
STATUS_LABELS = {"paid": "Paid", "open": "Open", "void": "Void", "uncollectible": "Written off"}


@dataclass(frozen=True)
class PlanRow:
    id: str = ""  # of the version
    name: str = ""
    sentence: str = ""
    price_text: str = ""
    price_unit: str = ""
    price_note: str = ""
    points: list[str] = field(default_factory=list)
    is_current: bool = False
    is_suggested: bool = False  # the step that is suggested
    action_label: str = ""  # "" where nothing can be chosen
    note: str = ""  # in its place
    refusal: str = ""
    sold_by_seat: bool = False  # sold one by one


@dataclass(frozen=True)
class AddonRow:
    id: str
    name: str
    sentence: str
    cost: str
    count: int
    status: str  # "" where there is none
    tone: str
    paid_until: str  # ISO, of what was given up
    add_label: str  # what the button that adds says; "" for none
    can_remove: bool
    refusal: str


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


def iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def period_text(period: str) -> str:
    return "a year" if period == "year" else "a month"


def format_round_amount(amount: int, currency: str) -> str:
    """Of a price list: without cents where there are none."""
    return money.format_amount(amount, currency).removesuffix(".00")


# ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan_rows(overview: BillingOverview, period: str, current: str, can_try: bool) -> list[PlanRow]:
    """`current`: key of the plan that one has, bought or given."""
    paid_plans = [
        plan for plan in overview.plans if plan.offer.plan_id != overview.fallback_offer.plan_id
    ]  # nobody chooses what remains
    position_by_key = {plan.offer.key: place for place, plan in enumerate(overview.plans)}
    current_position = position_by_key.get(current, -1)
    suggested_id = next(
        (
            plan.offer.id
            for plan in paid_plans
            if position_by_key[plan.offer.key] > current_position and period in plan.prices_by_period
        ),
        "",
    )
    previous_offer: PlanOffer | None = None
    rows = []
    for plan in paid_plans:
        rows.append(_plan_row(plan, overview, period, previous_offer, current, suggested_id, can_try))
        previous_offer = plan.offer
    return rows


def _plan_row(
    plan: PurchaseOption,
    overview: BillingOverview,
    period: str,
    previous_offer: PlanOffer | None,
    current: str,
    suggested_id: str,
    can_try: bool,
) -> PlanRow:
    offer, parts, subscription = plan.offer, plan.prices_by_period.get(period), overview.subscription
    figure, unit, second = _price_texts(parts, period) if parts else ("Talk to us", "", "")
    is_subscribed = (
        subscription is not None and subscription.offer is not None and subscription.offer.id == offer.id
    )
    is_current = is_subscribed and subscription is not None and subscription.period == period
    is_assigned = subscription is None and offer.key == current
    verb, note = "", ""
    if is_current:
        note = "What you have now"
    elif is_assigned and parts is not None:
        verb = f"Subscribe to {offer.name}"
    elif is_assigned:
        note = "What you have now"
    elif parts is None:
        note = (
            "Write to support"
            if not plan.prices_by_period
            else f"Only {'monthly' if period == 'year' else 'yearly'}"
        )
    elif is_subscribed:
        verb = f"Pay {PERIOD_LABELS[period].lower()}"
    elif subscription is not None:
        verb = f"Change to {offer.name}"
    else:
        verb = (
            f"Try {offer.name} for {offer.trial_days} days"
            if can_try and offer.trial_days
            else f"Choose {offer.name}"
        )
    return PlanRow(
        offer.id,
        offer.name,
        plan.sentence,
        figure,
        unit,
        second,
        list_points(offer, previous_offer, parts),
        is_subscribed or is_assigned,
        offer.id == suggested_id,
        verb,
        note,
        " ".join(overview.obstacle or plan.obstacle or ()) if verb else "",
        parts is not None and parts.seat is not None,
    )


def _price_texts(parts: PlanPrices, period: str) -> tuple[str, str, str]:
    """What stands large, the unit beside it, and what comes on top."""
    more = []
    if parts.flat is not None:
        figure, unit = format_round_amount(parts.flat.amount, parts.currency), period_text(period)
        if parts.seat is not None:
            more.append(f"and {format_round_amount(parts.seat.amount, parts.currency)} for each seat")
    elif parts.seat is not None:
        figure, unit = (
            format_round_amount(parts.seat.amount, parts.currency),
            f"per seat {period_text(period)}",
        )
    else:
        figure, unit = format_round_amount(0, parts.currency), period_text(period)
    more += [describe_metered_price(price) for price in parts.metered]
    return figure, unit, "; ".join(more)


def describe_metered_price(price: Price) -> str:
    """As in "API calls: $0.10 per 1,000 calls above 100,000"."""
    meter, tiers = METERS[price.meter], prices.read_tiers(price)
    if len(tiers) == 2 and tiers[0].unit == tiers[0].flat == 0 and tiers[0].up_to and not tiers[1].flat:
        unit_price = money.format_amount(tiers[1].unit, price.currency)
        return f"{unit_price} per {meter.unit_text} above {tiers[0].up_to * meter.unit_size:,}"
    return f"{meter.title}: {prices.format_price(price)}"


def list_points(offer: PlanOffer, previous_offer: PlanOffer | None, parts: PlanPrices | None) -> list[str]:
    """What one gets, in words: limits that people choose by, then features beyond the plan before."""
    texts = [
        describe_limit(name, offer.limits[name].amount, parts)
        for name in COMPARED_LIMITS
        if offer.limits[name].amount != 0
    ]
    base = (
        previous_offer.features
        if previous_offer and previous_offer.features <= offer.features
        else frozenset[str]()
    )
    if base and previous_offer:
        texts.append(f"Everything in {previous_offer.name}")
    return [*texts, *(FEATURES[name].title for name in sorted(offer.features - base) if name in FEATURES)]


def describe_limit(name: str, amount: int | None, parts: PlanPrices | None) -> str:
    kind = LIMITS[name]
    noun = kind.plural if name == "members" else kind.title
    if amount is None:
        return "History kept for good" if name == "retention_days" else f"Unlimited {lowercase_first(noun)}"
    if name == "retention_days":
        years, remaining_days = divmod(amount, 365)
        return (
            f"{years} year{'' if years == 1 else 's'} of history"
            if not remaining_days
            else f"{amount:,} days of history"
        )
    if name == "members":
        sold_by_seat = parts is not None and parts.seat is not None
        return (
            f"Up to {amount:,} seats, as you need them"
            if sold_by_seat
            else f"{amount:,} seat{'' if amount == 1 else 's'}"
        )
    month = " a month" if kind.period is LimitPeriod.MONTH else ""
    included = (
        " included" if parts is not None and any(price.meter == name for price in parts.metered) else ""
    )
    return f"{amount:,} {lowercase_first(noun)}{month}{included}"


def lowercase_first(title: str) -> str:
    """Inside a sentence; "API" stays as it is."""
    return title if title[:2].isupper() else f"{title[:1].lower()}{title[1:]}"


# ── what one has ─────────────────────────────────────────────────────────────────────────────────────────────────


def addon_rows(overview: BillingOverview, period: str) -> list[AddonRow]:
    subscription = overview.subscription
    rows = []
    for addon in overview.addons:
        parts = addon.prices_by_period.get(subscription.period if subscription else period)
        if parts is None or parts.flat is None:
            continue
        count = subscription.addons.get(addon.offer.id, 0) if subscription else 0
        removed_addon = subscription.canceled_by_version.get(addon.offer.id) if subscription else None
        kept_quantity = removed_addon.quantity if removed_addon else 0
        status = f"{count} now" if count > 1 else "Active" if count else ""
        if kept_quantity > count:
            status = "Ends"
        more = "" if count and not addon.offer.limits else "Add one more" if count else "Add"
        if kept_quantity > count:
            more = "Keep it"
        rows.append(
            AddonRow(
                addon.offer.id,
                addon.offer.name,
                addon.sentence,
                f"{format_round_amount(parts.flat.amount, parts.currency)} {period_text(subscription.period if subscription else period)}",
                count,
                status,
                "warn" if kept_quantity > count else "ok",
                iso_or_empty(removed_addon.until) if removed_addon and kept_quantity > count else "",
                more,
                count > 0,
                " ".join(overview.obstacle or ())
                if subscription
                else "Add-ons belong to a subscription. Choose a plan first.",
            )
        )
    return rows


def describe_next_invoice(overview: BillingOverview) -> tuple[str, str, str, str]:
    """What it is called, its sum, its time, and what is to be known about it."""
    subscription = overview.subscription
    if subscription is None:
        return "Next invoice", "None", "", "Nothing is charged"
    if subscription.snapshot.cancel_at is not None:
        return "Next invoice", "None", "", "Nothing more is charged"
    amount = money.format_amount(overview.renewal_amount, subscription.snapshot.currency)
    more = [
        f"Plus what is used above {describe_included_usage(price)}"
        for price in subscription.metered_prices[:1]
    ]
    if overview.balance < 0:
        more = [f"Your credit of {money.format_amount(-overview.balance, overview.currency)} is used first"]
    if subscription.snapshot.status == "trialing":
        return "After the trial", amount, iso_or_empty(subscription.renews_at), "Nothing is charged before"
    return (
        "Next invoice",
        amount,
        iso_or_empty(subscription.renews_at),
        "".join(more) or f"For a {subscription.period}",
    )


def describe_included_usage(price: Price) -> str:
    meter, tiers = METERS[price.meter], prices.read_tiers(price)
    if not tiers or not tiers[0].up_to or tiers[0].unit:
        return "the base"
    return f"{tiers[0].up_to * meter.unit_size:,} {lowercase_first(meter.title)}"


def describe_saving(overview: BillingOverview) -> str:
    """As in "2 months free", of plans that are sold for both; "" where a year saves nothing."""
    for plan in overview.plans:
        month, year = plan.prices_by_period.get("month"), plan.prices_by_period.get("year")
        if month is None or year is None:
            continue
        monthly = sum(price.amount for price in month.all_prices if price.kind != "metered")
        yearly = sum(price.amount for price in year.all_prices if price.kind != "metered")
        if monthly and (months := (12 * monthly - yearly) // monthly) > 0:
            return f"{months} month{'' if months == 1 else 's'} free"
    return ""


def preview_rows(quote: changes.Quote) -> tuple[list[InvoiceLineRow], str, str]:
    """Lines, their sum, and what the sum is. What earlier changes left for the next invoice is not this one's price."""
    change, preview = quote.change, quote.preview
    currency = preview.currency or change.currency
    lines = [
        line
        for line in preview.lines
        if change.starts_new_period or (line.proration and _is_since(line, preview.as_of))
    ]
    shown_lines = [
        InvoiceLineRow(line.said, money.format_amount(line.amount, currency)) for line in lines if line.amount
    ]
    if not lines:
        return [], "", ""
    if change.starts_new_period:
        return shown_lines, money.format_amount(preview.due, currency), "Due today"
    total = sum(line.amount for line in lines)
    label = "Credited on the next invoice" if total < 0 else "Added to the next invoice"
    return shown_lines, money.format_amount(total, currency), label


def _is_since(line: InvoiceLine, at: datetime) -> bool:
    return line.starts_at is None or line.starts_at >= at


def describe_next_price(quote: changes.Quote) -> tuple[str, str]:
    """What every period costs from then on, and from when."""
    change = quote.change
    amount = money.format_amount(change.new_amount, quote.preview.currency or change.currency)
    more = ", plus what is used" if change.has_metered else ""
    start = "" if change.starts_new_period else iso_or_empty(change.renews_at)
    return f"{amount} {period_text(change.period)}{more}", start


def invoice_row(invoice: BillingInvoice) -> InvoiceRow:
    status = STATUS_LABELS.get(invoice.status, invoice.status.replace("_", " ").capitalize())
    if invoice.status == "open" and invoice.attempts:
        status = "Overdue"
    return InvoiceRow(
        invoice.id,
        invoice.number or "Without a number",
        invoice.created_at.isoformat(),
        iso_or_empty(invoice.period_starts_at),
        iso_or_empty(invoice.period_ends_at),
        money.format_amount(invoice.total, invoice.currency),
        status,
        TONE_BY_LABEL.get(status, "idle"),
        invoice.page_url,
        invoice.pdf_url,
    )


def line_rows(lines: Sequence[Mapping[str, object]], currency: str) -> list[InvoiceLineRow]:
    return [
        InvoiceLineRow(str(line["said"]), money.format_amount(int(str(line["amount"])), currency))
        for line in lines
    ]
