"""Plans, add-ons, previews and invoices as the page shows them: in words and amounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.billing import changes, prices
from shared.billing.meters import METERS
from shared.billing.models import BillingInvoice, Price
from shared.billing.overview import Overview, Sold
from shared.billing.prices import Parts
from shared.billing.provider import InvoiceLine
from shared.core import money
from shared.entitlements.catalogue import Offer
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, Per
from shared.ui.table import TONE

PERIODS = {"month": "Monthly", "year": "Yearly"}
COMPARED = ("members", "api_calls", "usage_events", "retention_days", "roles")  # limits that people choose by
STATUS = {"paid": "Paid", "open": "Open", "void": "Void", "uncollectible": "Written off"}


@dataclass(frozen=True)
class PlanRow:
    id: str = ""  # of the version
    name: str = ""
    sentence: str = ""
    figure: str = ""
    per: str = ""
    second: str = ""
    points: list[str] = field(default_factory=list)
    current: bool = False
    next: bool = False  # the step that is suggested
    verb: str = ""  # "" where nothing can be chosen
    note: str = ""  # in its place
    refused: str = ""
    seats: bool = False  # sold one by one


@dataclass(frozen=True)
class AddonRow:
    id: str
    name: str
    sentence: str
    cost: str
    count: int
    status: str  # "" where there is none
    tone: str
    kept_until: str  # ISO, of what was given up
    more: str  # what the button that adds says; "" for none
    less: bool
    refused: str


@dataclass(frozen=True)
class LineRow:
    said: str
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
    page: str = ""
    pdf: str = ""


def iso(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def per(period: str) -> str:
    return "a year" if period == "year" else "a month"


def round_said(amount: int, currency: str) -> str:
    """Of a price list: without cents where there are none."""
    return money.said(amount, currency).removesuffix(".00")


# ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan_rows(seen: Overview, period: str, current: str, allowed_trial: bool) -> list[PlanRow]:
    """`current`: key of the plan that one has, bought or given."""
    paid = [
        one for one in seen.plans if one.offer.plan_id != seen.rest.plan_id
    ]  # nobody chooses what remains
    places = {one.offer.key: place for place, one in enumerate(seen.plans)}
    here = places.get(current, -1)
    step = next((one.offer.id for one in paid if places[one.offer.key] > here and period in one.parts), "")
    before: Offer | None = None
    rows = []
    for one in paid:
        rows.append(_plan(one, seen, period, before, current, step, allowed_trial))
        before = one.offer
    return rows


def _plan(
    one: Sold, seen: Overview, period: str, before: Offer | None, current: str, step: str, trial: bool
) -> PlanRow:
    offer, parts, held = one.offer, one.parts.get(period), seen.held
    figure, unit, second = _figure(parts, period) if parts else ("Talk to us", "", "")
    bought = held is not None and held.offer is not None and held.offer.id == offer.id
    here = bought and held is not None and held.period == period
    given = held is None and offer.key == current
    verb, note = "", ""
    if here:
        note = "What you have now"
    elif given and parts is not None:
        verb = f"Subscribe to {offer.name}"
    elif given:
        note = "What you have now"
    elif parts is None:
        note = "Write to support" if not one.parts else f"Only {'monthly' if period == 'year' else 'yearly'}"
    elif bought:
        verb = f"Pay {PERIODS[period].lower()}"
    elif held is not None:
        verb = f"Change to {offer.name}"
    else:
        verb = (
            f"Try {offer.name} for {offer.trial_days} days"
            if trial and offer.trial_days
            else f"Choose {offer.name}"
        )
    return PlanRow(
        offer.id,
        offer.name,
        one.sentence,
        figure,
        unit,
        second,
        points(offer, before, parts),
        bought or given,
        offer.id == step,
        verb,
        note,
        " ".join(seen.closed or one.obstacle or ()) if verb else "",
        parts is not None and parts.seat is not None,
    )


def _figure(parts: Parts, period: str) -> tuple[str, str, str]:
    """What stands large, the unit beside it, and what comes on top."""
    more = []
    if parts.flat is not None:
        figure, unit = round_said(parts.flat.amount, parts.currency), per(period)
        if parts.seat is not None:
            more.append(f"and {round_said(parts.seat.amount, parts.currency)} for each seat")
    elif parts.seat is not None:
        figure, unit = round_said(parts.seat.amount, parts.currency), f"per seat {per(period)}"
    else:
        figure, unit = round_said(0, parts.currency), per(period)
    more += [metered_said(price) for price in parts.metered]
    return figure, unit, "; ".join(more)


def metered_said(price: Price) -> str:
    """As in "API calls: $0.10 per 1,000 calls above 100,000"."""
    meter, steps = METERS[price.meter], prices.tiers(price)
    if len(steps) == 2 and steps[0].unit == steps[0].flat == 0 and steps[0].up_to and not steps[1].flat:
        each = money.said(steps[1].unit, price.currency)
        return f"{each} per {meter.unit} above {steps[0].up_to * meter.size:,}"
    return f"{meter.title}: {prices.cost(price)}"


def points(offer: Offer, before: Offer | None, parts: Parts | None) -> list[str]:
    """What one gets, in words: limits that people choose by, then features beyond the plan before."""
    found = [
        limit_said(name, offer.limits[name].amount, parts)
        for name in COMPARED
        if offer.limits[name].amount != 0
    ]
    base = before.features if before and before.features <= offer.features else frozenset[str]()
    if base and before:
        found.append(f"Everything in {before.name}")
    return [*found, *(FEATURES[name].title for name in sorted(offer.features - base) if name in FEATURES)]


def limit_said(name: str, amount: int | None, parts: Parts | None) -> str:
    kind = LIMITS[name]
    what = kind.many if name == "members" else kind.title
    if amount is None:
        return "History kept for good" if name == "retention_days" else f"Unlimited {lowered(what)}"
    if name == "retention_days":
        years, rest = divmod(amount, 365)
        return (
            f"{years} year{'' if years == 1 else 's'} of history"
            if not rest
            else f"{amount:,} days of history"
        )
    if name == "members":
        sold = parts is not None and parts.seat is not None
        return (
            f"Up to {amount:,} seats, as you need them"
            if sold
            else f"{amount:,} seat{'' if amount == 1 else 's'}"
        )
    month = " a month" if kind.per is Per.MONTH else ""
    included = " included" if parts is not None and any(one.meter == name for one in parts.metered) else ""
    return f"{amount:,} {lowered(what)}{month}{included}"


def lowered(title: str) -> str:
    """Inside a sentence; "API" stays as it is."""
    return title if title[:2].isupper() else f"{title[:1].lower()}{title[1:]}"


# ── what one has ─────────────────────────────────────────────────────────────────────────────────────────────────


def addon_rows(seen: Overview, period: str) -> list[AddonRow]:
    held = seen.held
    rows = []
    for one in seen.addons:
        parts = one.parts.get(held.period if held else period)
        if parts is None or parts.flat is None:
            continue
        count = held.addons.get(one.offer.id, 0) if held else 0
        left = held.given_up.get(one.offer.id) if held else None
        kept = left.quantity if left else 0
        status = f"{count} now" if count > 1 else "Active" if count else ""
        if kept > count:
            status = "Ends"
        more = "" if count and not one.offer.limits else "Add one more" if count else "Add"
        if kept > count:
            more = "Keep it"
        rows.append(
            AddonRow(
                one.offer.id,
                one.offer.name,
                one.sentence,
                f"{round_said(parts.flat.amount, parts.currency)} {per(held.period if held else period)}",
                count,
                status,
                "warn" if kept > count else "ok",
                iso(left.until) if left and kept > count else "",
                more,
                count > 0,
                " ".join(seen.closed or ())
                if held
                else "Add-ons belong to a subscription. Choose a plan first.",
            )
        )
    return rows


def next_invoice(seen: Overview) -> tuple[str, str, str, str]:
    """What it is called, its sum, its time, and what is to be known about it."""
    held = seen.held
    if held is None:
        return "Next invoice", "None", "", "Nothing is charged"
    if held.told.cancel_at is not None:
        return "Next invoice", "None", "", "Nothing more is charged"
    amount = money.said(seen.renews, held.told.currency)
    more = [f"Plus what is used above {price_said(price)}" for price in held.metered[:1]]
    if seen.balance < 0:
        more = [f"Your credit of {money.said(-seen.balance, seen.currency)} is used first"]
    if held.told.status == "trialing":
        return "After the trial", amount, iso(held.renews_at), "Nothing is charged before"
    return "Next invoice", amount, iso(held.renews_at), "".join(more) or f"For a {held.period}"


def price_said(price: Price) -> str:
    meter, steps = METERS[price.meter], prices.tiers(price)
    if not steps or not steps[0].up_to or steps[0].unit:
        return "the base"
    return f"{steps[0].up_to * meter.size:,} {lowered(meter.title)}"


def saving(seen: Overview) -> str:
    """As in "2 months free", of plans that are sold for both; "" where a year saves nothing."""
    for one in seen.plans:
        month, year = one.parts.get("month"), one.parts.get("year")
        if month is None or year is None:
            continue
        monthly = sum(price.amount for price in month.all if price.kind != "metered")
        yearly = sum(price.amount for price in year.all if price.kind != "metered")
        if monthly and (months := (12 * monthly - yearly) // monthly) > 0:
            return f"{months} month{'' if months == 1 else 's'} free"
    return ""


def preview_rows(offered: changes.Offered) -> tuple[list[LineRow], str, str]:
    """Lines, their sum, and what the sum is. What earlier changes left for the next invoice is not this one's price."""
    change, preview = offered.change, offered.preview
    currency = preview.currency or change.currency
    lines = [one for one in preview.lines if change.anew or (one.proration and _since(one, preview.as_of))]
    shown = [LineRow(one.said, money.said(one.amount, currency)) for one in lines if one.amount]
    if not lines:
        return [], "", ""
    if change.anew:
        return shown, money.said(preview.due, currency), "Due today"
    total = sum(one.amount for one in lines)
    label = "Credited on the next invoice" if total < 0 else "Added to the next invoice"
    return shown, money.said(total, currency), label


def _since(one: InvoiceLine, at: datetime) -> bool:
    return one.starts_at is None or one.starts_at >= at


def then(offered: changes.Offered) -> tuple[str, str]:
    """What every period costs from then on, and from when."""
    change = offered.change
    amount = money.said(change.then, offered.preview.currency or change.currency)
    more = ", plus what is used" if change.metered else ""
    start = "" if change.anew else iso(change.renews_at)
    return f"{amount} {per(change.period)}{more}", start


def invoice_row(one: BillingInvoice) -> InvoiceRow:
    status = STATUS.get(one.status, one.status.replace("_", " ").capitalize())
    if one.status == "open" and one.attempts:
        status = "Overdue"
    return InvoiceRow(
        one.id,
        one.number or "Without a number",
        one.created_at.isoformat(),
        iso(one.period_starts_at),
        iso(one.period_ends_at),
        money.said(one.total, one.currency),
        status,
        TONE.get(status, "idle"),
        one.page_url,
        one.pdf_url,
    )


def line_rows(lines: Sequence[Mapping[str, object]], currency: str) -> list[LineRow]:
    return [LineRow(str(one["said"]), money.said(int(str(one["amount"])), currency)) for one in lines]
