"""The price list for operators."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import actions, meters, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.billing.models import Price, ProviderPrice
from shared.billing.pricing import prices
from shared.billing.pricing.prices import Tier
from shared.core import live_events, money
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound
from shared.core.versions import compare_values
from shared.entitlements.models import Plan, PlanVersion

AUDIT_REASON = "Prices in Stripe"  # of changes that affect no customer's price


async def request_push(octx: OperatorCtx) -> None:
    """Requires the permission and records the request; the caller then pushes outside of the transaction."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    audit_log.record_operator(octx, "prices.pushed", "*", reason=AUDIT_REASON)


async def request_compare(octx: OperatorCtx) -> None:
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    audit_log.record_operator(octx, "prices.compared", "*", reason=AUDIT_REASON)


@dataclass(frozen=True, slots=True)
class VersionPrices:
    plan: Plan
    version: PlanVersion
    prices: Sequence[Price]  # oldest first, and so is the history of each part


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Newest version first.

    `provider_prices`: copies of a price in Stripe by price id, one for each account that has it.
    """

    versions: Sequence[VersionPrices]
    provider_prices: Mapping[str, Sequence[ProviderPrice]] = field(default_factory=dict)


async def list_price_history(octx: OperatorCtx) -> PriceHistory:
    """Prices of all published versions, including those without a price and those for a single tenant."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_version: dict[str, list[Price]] = {}
    for price, _, _ in await prices.list_with_versions(octx.session):
        by_version.setdefault(price.plan_version_id, []).append(price)
    provider_prices: dict[str, list[ProviderPrice]] = {}
    for provider_price in await prices.list_provider_prices(octx.session):
        provider_prices.setdefault(provider_price.price_id, []).append(provider_price)
    versions = [
        VersionPrices(plan, version, by_version.get(version.id, []))
        for plan, version in await prices.list_published_versions(octx.session)
    ]
    return PriceHistory(versions, provider_prices)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRequest:
    """The price of one part from `effective_at` on; None for now. `tiers` replace `amount`, each for the units within it.

    `tax_behavior`: one of `prices.TAX_BEHAVIORS`. `known_prices`: how many prices of the version the form knew; None
    where it was read in this transaction.
    """

    version_id: str
    period: str
    kind: str
    currency: str = "usd"
    amount: int = 0
    tiers: Sequence[Tier] = ()
    meter: str = ""
    tax_behavior: str = ""
    effective_at: datetime | None = None
    known_prices: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPrice:
    """A price that can be set now. `before`: the price that it replaces."""

    plan: Plan
    version: PlanVersion
    price: Price
    before: Price | None

    @property
    def title(self) -> str:
        return prices.format_title(self.price)

    @property
    def before_text(self) -> str:
        return prices.format_price_with_tax(self.before) if self.before else "not asked for"

    @property
    def after_text(self) -> str:
        return prices.format_price_with_tax(self.price)


async def plan_price(octx: OperatorCtx, request: PriceRequest) -> PlannedPrice:
    """What `set_price` would do now; the version is locked. Raises as `set_price` does, apart from the approval."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    return await _plan_price(octx, request)


async def set_price(octx: OperatorCtx, request: PriceRequest, reason: Reason) -> Price:
    """Sets a price. It needs approval.

    Raises Invalid, NotFound, Refused, Conflict for a draft or a retired plan, or a time that is taken, and
    ChangedMeanwhile where this part has a price that the form did not know.
    """
    policy.require_operator(octx, actions.OP_PRICE_SET)
    reason_text = use_reason(octx, reason)
    planned = await _plan_price(octx, request)
    plan, version, price = planned.plan, planned.version, planned.price
    price.reason = reason_text
    if not await prices.add(octx.session, price):
        raise Conflict(f"Another price of {plan.name} starts at the same time.", "Choose another time.")
    audit_log.record_operator(
        octx,
        "price.set",
        price.id,
        reason=reason_text,
        name=plan.name,
        version=version.number,
        **({"for_tenant": version.for_tenant} if version.for_tenant else {}),
        before={planned.title: planned.before_text},
        after={planned.title: planned.after_text},
        in_force_from=f"{price.effective_at:%-d %B %Y, %H:%M} UTC",
    )
    await live_events.refresh_pages(octx.session, prices.ALL_PAGES, prices.TOPIC)
    return price


def describe_price(request: PriceRequest) -> str:
    """As in "$29.00, plus tax"."""
    return prices.format_price_with_tax(_build_price(request, now()))


def _build_price(request: PriceRequest, asked_at: datetime) -> Price:
    return Price(
        plan_version_id=request.version_id,
        period=request.period,
        kind=request.kind,
        currency=request.currency,
        amount=request.amount,
        tiers=[tier._asdict() for tier in request.tiers],
        tiers_mode="graduated" if request.tiers else "",
        meter=request.meter,
        tax_behavior=request.tax_behavior,
        effective_at=request.effective_at or asked_at,
        created_by="",
        reason="",
    )


async def _plan_price(octx: OperatorCtx, request: PriceRequest) -> PlannedPrice:
    asked_at = now()
    _check_fields(request)
    if request.effective_at is not None and (
        request.effective_at.tzinfo is None or request.effective_at <= asked_at
    ):
        raise Invalid(
            "A price can’t start in the past.",
            "Choose a later time, or leave it empty to start now.",
            fields={"effective_at": "Must be in the future"},
        )
    locked = await prices.lock_version(octx.session, request.version_id)
    if locked is None:
        raise NotFound("This version doesn’t exist.", "Reload the page.")
    version, plan = locked
    version_prices = await prices.list_version_prices(octx.session, version.id)
    _check_sellable(plan, version, request.kind)
    price = _build_price(request, asked_at)
    price.for_tenant, price.created_by = version.for_tenant, octx.actor.name
    current_prices = prices.select_current_prices(version_prices, price.effective_at)
    before = current_prices.get(prices.get_price_key(price))
    if before is not None and _has_same_amount(before, price):
        raise Conflict(f"{plan.name} already has this price.", "Nothing was changed.")
    if request.known_prices is not None:
        _require_known_prices(version_prices, request.known_prices, price)
    return PlannedPrice(plan=plan, version=version, price=price, before=before)


def _require_known_prices(version_prices: Sequence[Price], known_prices: int, price: Price) -> None:
    """Prices are only added, so that their number is the version of a price list. Raises ChangedMeanwhile."""
    newer = sorted(version_prices, key=lambda each: (each.created_at, each.id))[known_prices:]
    same_part = [each for each in newer if prices.get_price_key(each) == prices.get_price_key(price)]
    if same_part:
        values = (prices.format_price_with_tax(same_part[-1]), prices.format_price_with_tax(price))
        raise ChangedMeanwhile(
            "this price",
            version=len(version_prices) + 1,
            changed_by=same_part[-1].created_by,
            changed_at=same_part[-1].created_at,
            differences=compare_values({prices.format_title(price): values}),
        )


def _check_fields(request: PriceRequest) -> None:
    problems = {}
    kind, currency, amount = request.kind, request.currency, request.amount
    tiers, meter = request.tiers, request.meter
    step = money.require_currency(currency).step
    if request.period not in prices.PERIODS:
        problems["period"] = "A price is either monthly or yearly."
    if kind not in prices.KINDS:
        problems["kind"] = "A price is either flat, per seat or metered."
    if (kind == "metered") != (meter != "") or (meter and not meters.is_sold(meter)):
        keys = ", ".join(sold.key for sold in meters.list_sold())
        problems["meter"] = f"Metered prices, and only those, need one of these meters: {keys}."
    if not 0 <= amount <= prices.MAX_AMOUNT:
        problems["amount"] = (
            f"The amount must be from {money.format_amount(0, currency)} to {money.format_amount(prices.MAX_AMOUNT, currency)}."
        )
    elif any(value % step for value in (amount, *(each for tier in tiers for each in tier[1:]))):
        problems["amount"] = (
            f"Amounts in {currency.upper()} are multiples of {money.format_amount(step, currency)}."
        )
    if request.tax_behavior not in prices.TAX_BEHAVIORS:
        problems["tax_behavior"] = "A price either includes tax or doesn’t."
    if tiers and (kind != "metered" or amount):
        problems["tiers"] = "Only metered prices have tiers, and no amount besides them."
    elif tiers and (problem := _find_tier_problem(tiers)):
        problems["tiers"] = problem
    if problems:
        raise Invalid(
            " ".join(problems.values()), "Nothing was changed. Correct it and try again.", fields=problems
        )


def _find_tier_problem(tiers: Sequence[Tier]) -> str:
    ends = [tier.up_to for tier in tiers]
    closed_ends = [end for end in ends if end is not None]
    if ends[-1] is not None or len(closed_ends) != len(ends) - 1:
        return "The last tier, and only the last, has no upper limit."
    if any(later <= earlier for earlier, later in zip([0, *closed_ends], closed_ends, strict=False)):
        return "Each tier must end above the previous one."
    if closed_ends and closed_ends[-1] > prices.MAX_UNITS:
        return f"A tier can end at {prices.MAX_UNITS:,} at most."
    if any(not 0 <= amount <= prices.MAX_AMOUNT for tier in tiers for amount in (tier.unit, tier.flat)):
        return "Amounts of tiers can’t be negative or have more than eight digits."
    return ""


def _check_sellable(plan: Plan, version: PlanVersion, kind: str) -> None:
    if version.status != "published":
        raise Conflict(
            f"Version {version.number} of {plan.name} is a draft.",
            "Publish it first, with a later start date if customers shouldn’t get it without a price.",
        )
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "It’s no longer sold.")
    if plan.kind == "addon" and kind != "flat":
        raise Invalid(
            "Add-ons can only have a flat price.",
            "Enter a flat price for each unit.",
            fields={"kind": "Flat only"},
        )


def _has_same_amount(price: Price, other: Price) -> bool:
    names = ("amount", "tiers", "tiers_mode", "tax_behavior")
    return all(getattr(price, name) == getattr(other, name) for name in names)
