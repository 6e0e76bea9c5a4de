"""Plans and their prices as the page shows them."""

from dataclasses import dataclass, field

from shared.access.meters import METERS
from shared.billing.models import Price
from shared.billing.pricing import prices
from shared.billing.pricing.prices import PlanPrices
from shared.billing.subscriptions.overview import BillingOverview, PurchaseOption
from shared.billing.trials import TrialObstacle
from shared.core import money
from shared.core.plurals import plural
from shared.entitlements.catalog import PlanOffer
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, LimitPeriod

PERIOD_LABELS = {"month": "Monthly", "year": "Yearly"}
COMPARED_LIMITS = (
    "members",
    "api_calls",
    "usage_events",
    "retention_days",
    "roles",
)  # limits shown on a plan's card


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
    is_suggested: bool = False  # the next larger plan
    action_label: str = ""  # "" where nothing can be chosen
    note: str = ""  # in its place
    refusal: str = ""
    sold_by_seat: bool = False  # sold one by one
    has_trial: bool = False  # the button offers one


def period_text(period: str) -> str:
    return "a year" if period == "year" else "a month"


def describe_recurring_price(amount_text: str, period: str, *, tax_text: str, has_metered: bool) -> str:
    """What every period costs, as in "$60.00 a month, plus tax, plus usage"."""
    tax_note, usage_note = f", {tax_text}" if tax_text else "", ", plus usage" if has_metered else ""
    return f"{amount_text} {period_text(period)}{tax_note}{usage_note}"


TRIAL_TERMS = (
    "A free trial is for each person and each payment card once. With a card that has had one, the first period is"
    " charged right after the checkout."
)
TRIAL_NOTES: dict[TrialObstacle, str] = {
    "": TRIAL_TERMS,
    "subscribed": "",
    "own": "No free trial: you’ve already had one. Contact support if you need another one.",
    "other": "No free trial for this organisation: each person and each payment card has one. Contact support if you need one.",
}


def trial_note(overview: BillingOverview) -> str:
    """What to know about trials before ordering; "" where no plan has one, or it was subscribed before."""
    has_trials = any(plan.offer.trial_days and plan.prices_by_period for plan in overview.plans)
    return TRIAL_NOTES[overview.trial_obstacle] if has_trials and overview.subscription is None else ""


def plan_rows(overview: BillingOverview, period: str, plan_without_subscription: str) -> list[PlanRow]:
    """`plan_without_subscription`: key of the plan that is assigned where none is subscribed to; "" without one."""
    subscribed_offer = overview.subscription.offer if overview.subscription else None
    current = subscribed_offer.key if subscribed_offer else plan_without_subscription
    paid_plans = [
        plan for plan in overview.plans if plan.offer.plan_id != overview.fallback_offer.plan_id
    ]  # the fallback plan is not for sale
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
        rows.append(_plan_row(plan, overview, period, previous_offer, current, suggested_id))
        previous_offer = plan.offer
    return rows


def _plan_row(
    plan: PurchaseOption,
    overview: BillingOverview,
    period: str,
    previous_offer: PlanOffer | None,
    current: str,
    suggested_id: str,
) -> PlanRow:
    offer, parts, subscription = plan.offer, plan.prices_by_period.get(period), overview.subscription
    other_currency_text = describe_other_currencies(plan, overview.shown_currency)
    figure, unit, second = _describe_price(plan, overview, period)
    is_subscribed = (
        subscription is not None and subscription.offer is not None and subscription.offer.id == offer.id
    )
    is_current = is_subscribed and subscription is not None and subscription.period == period
    is_assigned = subscription is None and offer.key == current
    verb, note, has_trial = "", "", False
    if is_current:
        note = "Current plan"
    elif is_assigned and parts is not None:
        verb = f"Subscribe to {offer.name}"
    elif is_assigned:
        note = "Current plan"
    elif parts is None:
        note = (
            other_currency_text or "Contact sales"
            if not plan.prices_by_period
            else f"Only {'monthly' if period == 'year' else 'yearly'}"
        )
    elif is_subscribed:
        verb = f"Pay {PERIOD_LABELS[period].lower()}"
    elif subscription is not None:
        verb = f"Change to {offer.name}"
    elif offer.trial_days and not overview.trial_obstacle:
        has_trial = True
        verb = f"Try {offer.name} for {offer.trial_days} days"
    else:
        verb = f"Choose {offer.name}"
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
        has_trial,
    )


def describe_other_currencies(plan: PurchaseOption, currency: str) -> str:
    """Why a plan has no price in this currency, and the next step; "" where it has one, or none at all."""
    if not plan.currencies or currency in plan.currencies:
        return ""
    return f"{', '.join(code.upper() for code in plan.currencies)} only. Contact sales."


def _describe_price(plan: PurchaseOption, overview: BillingOverview, period: str) -> tuple[str, str, str]:
    """As `_price_texts`, and what is shown instead of a price."""
    parts = plan.prices_by_period.get(period)
    if parts is None:
        is_sold_elsewhere = describe_other_currencies(plan, overview.shown_currency)
        return f"Not in {overview.shown_currency.upper()}" if is_sold_elsewhere else "Custom pricing", "", ""
    figure, unit, second = _price_texts(parts, period)
    return figure, f"{unit}, {parts.tax_text}" if overview.shows_tax and parts.tax_text else unit, second


def _price_texts(parts: PlanPrices, period: str) -> tuple[str, str, str]:
    """The price, its unit, and further prices."""
    more = []
    if parts.flat is not None:
        figure, unit = money.format_amount(parts.flat.amount, parts.currency, short=True), period_text(period)
        if parts.seat is not None:
            more.append(
                f"and {money.format_amount(parts.seat.amount, parts.currency, short=True)} for each seat"
            )
    elif parts.seat is not None:
        figure, unit = (
            money.format_amount(parts.seat.amount, parts.currency, short=True),
            f"per seat {period_text(period)}",
        )
    else:
        figure, unit = money.format_amount(0, parts.currency, short=True), period_text(period)
    more += [describe_metered_price(price) for price in parts.metered]
    return figure, unit, "; ".join(more)


def describe_metered_price(price: Price) -> str:
    """As in "API calls: $0.10 per 1,000 calls above 100,000"."""
    meter, tiers = METERS[price.meter], prices.read_tiers(price)
    if len(tiers) == 2 and tiers[0].unit == tiers[0].flat == 0 and tiers[0].up_to and not tiers[1].flat:
        unit_price = money.format_amount(tiers[1].unit, price.currency)
        return f"{unit_price} per {meter.unit_text} above {tiers[0].up_to * meter.per_unit:,}"
    return f"{meter.title}: {prices.format_price(price)}"


def list_points(offer: PlanOffer, previous_offer: PlanOffer | None, parts: PlanPrices | None) -> list[str]:
    """The limits of the plan, then its features beyond the previous plan."""
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
    noun = kind.plural if kind.capped_by_seats else kind.title
    if amount is None:
        return "Unlimited history" if kind.is_age else f"Unlimited {lowercase_first(noun)}"
    if kind.is_age:
        years, remaining_days = divmod(amount, 365)
        return f"{plural(years, 'year')} of history" if not remaining_days else f"{amount:,} days of history"
    if kind.capped_by_seats:
        sold_by_seat = parts is not None and parts.seat is not None
        return f"Up to {amount:,} seats" if sold_by_seat else plural(amount, "seat")
    month = " a month" if kind.period is LimitPeriod.MONTH else ""
    included = (
        " included" if parts is not None and any(price.meter == name for price in parts.metered) else ""
    )
    return f"{amount:,} {lowercase_first(noun)}{month}{included}"


def lowercase_first(title: str) -> str:
    """Inside a sentence; "API" stays as it is."""
    return title if title[:2].isupper() else f"{title[:1].lower()}{title[1:]}"


def describe_saving(overview: BillingOverview) -> str:
    """As in "2 months free", of plans that are sold for both; "" where a year saves nothing."""
    for plan in overview.plans:
        month, year = plan.prices_by_period.get("month"), plan.prices_by_period.get("year")
        if month is None or year is None:
            continue
        monthly = sum(price.amount for price in month.all_prices if price.kind != "metered")
        yearly = sum(price.amount for price in year.all_prices if price.kind != "metered")
        if monthly and (months := (12 * monthly - yearly) // monthly) > 0:
            return f"{plural(months, 'month')} free"
    return ""
