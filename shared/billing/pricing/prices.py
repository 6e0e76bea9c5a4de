"""What plan versions cost, and from when on. A price never changes: another one of the same part follows it.

A part is what is asked for once a period (flat), for each seat, or for each unit of a meter. Of all prices of a part
the latest whose time has come is in force. What a plan gives is none of this (`entitlements.catalog`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing.models import Price, ProviderPrice
from shared.billing.pricing import prices_repository as repository
from shared.billing.pricing.meters import METERS
from shared.billing.provider import OrderLine
from shared.billing.sync import access_schedule
from shared.core import live_events, money
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.stated_reason import clean_reason
from shared.entitlements.models import Plan, PlanVersion

TOPIC, ALL_PAGES = "prices", "*"
PERIODS = ("month", "year")
KINDS = ("flat", "seat", "metered")
MAX_AMOUNT = 99_999_999  # smallest units: eight digits are the most that Stripe takes
MAX_UNITS = 1_000_000_000


class Tier(NamedTuple):
    """Of what is metered. `up_to` None: all that is left."""

    up_to: int | None
    unit: int
    flat: int = 0


class PriceKey(NamedTuple):
    version_id: str
    period: str
    kind: str
    meter: str
    currency: str


@dataclass(frozen=True, slots=True)
class PlanPrices:
    """What a plan version or add-on costs in a period."""

    flat: Price | None = None
    seat: Price | None = None
    metered: tuple[Price, ...] = ()

    @property
    def all_prices(self) -> tuple[Price, ...]:
        return tuple(price for price in (self.flat, self.seat, *self.metered) if price is not None)

    @property
    def currency(self) -> str:
        return self.all_prices[0].currency


@dataclass(frozen=True, slots=True)
class VersionPrices:
    plan: Plan
    version: PlanVersion
    prices: Sequence[Price]  # oldest first, and so is the history of each part


@dataclass(frozen=True, slots=True)
class PriceHistory:
    """Newest version first. `there`: where a price stands, by its id, one for each account that knows of it."""

    versions: Sequence[VersionPrices]
    provider_prices: Mapping[str, Sequence[ProviderPrice]] = field(default_factory=dict)


async def get_plan_prices(session: AsyncSession, at: datetime) -> dict[tuple[str, str], PlanPrices]:
    """By version and period; what is not sold in a period is not in it."""
    all_prices = [price for price, _, _ in await repository.list_prices(session)]
    return _group_prices(select_current_prices(all_prices, at).values())


def select_current_prices(all_prices: Iterable[Price], at: datetime) -> dict[PriceKey, Price]:
    """Of each part the latest whose time has come."""
    latest_prices: dict[PriceKey, Price] = {}
    for price in sorted(all_prices, key=lambda price: (price.effective_at, price.id)):
        if price.effective_at <= at:
            latest_prices[get_price_key(price)] = price
    return latest_prices


def get_price_key(price: Price) -> PriceKey:
    return PriceKey(price.plan_version_id, price.period, price.kind, price.meter, price.currency)


def read_tiers(price: Price) -> tuple[Tier, ...]:
    return tuple(Tier(tier["up_to"], tier["unit"], tier["flat"]) for tier in price.tiers)


async def list_price_history(octx: OperatorCtx) -> PriceHistory:
    """Of every published version, also of those without a price, and of what only one tenant is offered."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_version: dict[str, list[Price]] = {}
    for price, _, _ in await repository.list_prices(octx.session):
        by_version.setdefault(price.plan_version_id, []).append(price)
    provider_prices: dict[str, list[ProviderPrice]] = {}
    for provider_price in await repository.list_provider_prices(octx.session):
        provider_prices.setdefault(provider_price.price_id, []).append(provider_price)
    versions = [
        VersionPrices(plan, version, by_version.get(version.id, []))
        for plan, version in await repository.list_published_versions(octx.session)
    ]
    return PriceHistory(versions, provider_prices)


async def get_catalog_prices(session: AsyncSession) -> dict[str, access_schedule.CatalogPrice]:
    """What every price that there ever was stands for, by its id."""
    return {
        price.id: access_schedule.CatalogPrice(
            version.id, plan.kind == "addon", price.kind == "seat", plan.position
        )
        for price, version, plan in await repository.list_prices(session)
    }


async def set_price(
    octx: OperatorCtx,
    version_id: str,
    period: str,
    kind: str,
    *,
    currency: str = "usd",
    amount: int = 0,
    tiers: Sequence[Tier] = (),
    meter: str = "",
    effective_at: datetime | None = None,
    reason: str,
) -> Price:
    """Of one part, from `effective_at` on; None for at once. `tiers` instead of `amount`, each for what lies within it.

    Raises Invalid, NotFound, Conflict for a version that is no longer or not yet sold, or a time that is taken.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason, asked_at = clean_reason(reason), now()
    _check_fields(period, kind, currency, amount, tiers, meter)
    if effective_at is not None and (effective_at.tzinfo is None or effective_at <= asked_at):
        raise Invalid(
            "A price cannot begin in the past: what was billed then is billed.",
            "Choose a later time, or leave it empty for at once.",
            fields={"effective_at": "Must lie ahead"},
        )
    locked = await repository.lock_version(octx.session, version_id)
    if locked is None:
        raise NotFound("There is no such version of a plan or add-on.", "Reload the page.")
    version, plan = locked
    version_prices = await repository.list_version_prices(octx.session, [version.id])
    _check_sellable(plan, version, kind, currency, version_prices)
    price = Price(
        plan_version_id=version.id,
        for_tenant=version.for_tenant,
        period=period,
        kind=kind,
        currency=currency,
        amount=amount,
        tiers=[tier._asdict() for tier in tiers],
        tiers_mode="graduated" if tiers else "",
        meter=meter,
        effective_at=effective_at or asked_at,
        created_by=octx.actor.name,
        reason=reason,
    )
    before = select_current_prices(version_prices, price.effective_at).get(get_price_key(price))
    if before is not None and _has_same_amount(before, price):
        raise Conflict(f"{plan.name} costs that already.", "Nothing was changed.")
    if not await repository.add_price(octx.session, price):
        raise Conflict(
            f"Another price of {plan.name} begins at that very time.", "Choose another time for this one."
        )
    audit_log.record_operator(
        octx,
        "price.set",
        price.id,
        reason=reason,
        name=plan.name,
        version=version.number,
        **({"for_tenant": version.for_tenant} if version.for_tenant else {}),
        before={format_title(price): format_price(before) if before else "not asked for"},
        after={format_title(price): format_price(price)},
        in_force_from=f"{price.effective_at:%-d %B %Y, %H:%M} UTC",
    )
    await live_events.refresh_pages(octx.session, ALL_PAGES, TOPIC)
    return price


async def build_order_lines(
    session: AsyncSession,
    account_id: str,
    version_id: str,
    period: str,
    *,
    seats: int = 1,
    addons: Mapping[str, int] | None = None,
    at: datetime | None = None,
) -> tuple[OrderLine, ...]:
    """All that a subscription to this version consists of; `addons`: how many, by version.

    `seats` says nothing where a plan has no price for them. Raises Conflict for what is not sold like that.
    """
    addons = addons or {}
    all_prices = await repository.list_version_prices(session, [version_id, *addons])
    plan_prices = _group_prices(select_current_prices(all_prices, at or now()).values())
    priced_quantities: list[tuple[Price, int | None]] = []
    for item_id, number in [(version_id, 1), *addons.items()]:
        if (item_id, period) not in plan_prices:
            raise Conflict("This has no price for such a period.", "Choose another period, or talk to us.")
        version_prices = plan_prices[item_id, period]
        if number < 1 or seats < 1:
            raise Invalid("Fewer than one cannot be ordered.", "Choose a number from 1 on.")
        if version_prices.currency != plan_prices[version_id, period].currency:
            raise Conflict("An add-on is sold in another currency than the plan.", "Talk to us.")
        priced_quantities += [(version_prices.flat, number)] if version_prices.flat else []
        priced_quantities += [(version_prices.seat, seats)] if version_prices.seat else []
        priced_quantities += [(metered, None) for metered in version_prices.metered]
    external_ids = await repository.list_external_ids(
        session, account_id, [price.id for price, _ in priced_quantities]
    )
    if len(external_ids) < len(priced_quantities):
        raise Conflict("This price is on its way to the payment provider.", "Try again in a minute.")
    return tuple(OrderLine(price.id, external_ids[price.id], number) for price, number in priced_quantities)


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────


def format_title(price: Price) -> str:
    """As in "Per seat, monthly"."""
    period = {"month": "monthly", "year": "yearly"}[price.period]
    name = {"flat": "Base", "seat": "Per seat"}.get(price.kind) or METERS[price.meter].title
    return f"{name}, {period}"


def format_price(price: Price) -> str:
    """As in "$20.00 per seat" and "First 100,000 calls free, then $0.10 per 1,000 calls"."""
    if price.kind != "metered":
        return f"{money.format_amount(price.amount, price.currency)}{' per seat' if price.kind == 'seat' else ''}"
    meter = METERS[price.meter]
    if not price.tiers:
        return f"{money.format_amount(price.amount, price.currency)} per {meter.unit_text}"
    texts, steps = [], read_tiers(price)
    for position, (up_to, unit_amount, flat_amount) in enumerate(steps):
        amount_texts = [money.format_amount(flat_amount, price.currency)] if flat_amount else []
        amount_texts += (
            [f"{money.format_amount(unit_amount, price.currency)} per {meter.unit_text}"]
            if unit_amount
            else []
        )
        step_text = " and ".join(amount_texts) or "free"
        if position == 0:
            texts.append(f"First {meter.format_units(up_to)} {step_text}" if up_to else step_text)
        else:
            texts.append(
                f"then {step_text}" if up_to is None else f"up to {meter.format_units(up_to)} {step_text}"
            )
    return ", ".join(texts)


# ── what cannot be meant ─────────────────────────────────────────────────────────────────────────────────────────


def _check_fields(
    period: str, kind: str, currency: str, amount: int, tiers: Sequence[Tier], meter: str
) -> None:
    problems = {}
    money.require_currency(currency)
    if period not in PERIODS:
        problems["period"] = "A price is for a month or a year."
    if kind not in KINDS:
        problems["kind"] = "A price is flat, per seat, or metered."
    if (kind == "metered") != (meter != "") or (meter and meter not in METERS):
        problems["meter"] = (
            f"What is metered needs one of these meters, and nothing else does: {', '.join(METERS)}."
        )
    if not 0 <= amount <= MAX_AMOUNT:
        problems["amount"] = (
            f"An amount is from {money.format_amount(0, currency)} to {money.format_amount(MAX_AMOUNT, currency)}."
        )
    if tiers and (kind != "metered" or amount):
        problems["tiers"] = "Only what is metered has steps, and then no other amount."
    elif tiers and (problem := _find_tier_problem(tiers)):
        problems["tiers"] = problem
    if problems:
        raise Invalid(" ".join(problems.values()), "Nothing was changed. Correct it.", fields=problems)


def _find_tier_problem(tiers: Sequence[Tier]) -> str:
    ends = [tier.up_to for tier in tiers]
    closed_ends = [end for end in ends if end is not None]
    if ends[-1] is not None or len(closed_ends) != len(ends) - 1:
        return "The last step is open, and only the last one: somebody may always use more."
    if any(later <= earlier for earlier, later in zip([0, *closed_ends], closed_ends, strict=False)):
        return "Each step ends above the one before it."
    if closed_ends and closed_ends[-1] > MAX_UNITS:
        return f"A step ends at {MAX_UNITS:,} at most."
    if any(not 0 <= amount <= MAX_AMOUNT for tier in tiers for amount in (tier.unit, tier.flat)):
        return "No step has a negative amount, or one of more than eight digits."
    return ""


def _check_sellable(
    plan: Plan, version: PlanVersion, kind: str, currency: str, version_prices: Sequence[Price]
) -> None:
    if version.status != "published":
        raise Conflict(
            f"Version {version.number} of {plan.name} is a draft.",
            "Publish it first, from a later day on if nobody should get it without a price.",
        )
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Nobody can buy it any more.")
    if plan.kind == "addon" and kind != "flat":
        raise Invalid(
            "An add-on is sold by the piece.",
            "Give it a flat price: it counts for each one.",
            fields={"kind": "Flat only"},
        )
    if version_prices and version_prices[0].currency != currency:
        raise Conflict(
            f"{plan.name} is sold in {version_prices[0].currency.upper()}: a subscription has one currency.",
            "Create a plan of its own for the other one.",
        )


def _has_same_amount(price: Price, other: Price) -> bool:
    return (price.amount, price.tiers, price.tiers_mode) == (other.amount, other.tiers, other.tiers_mode)


def _group_prices(prices: Iterable[Price]) -> dict[tuple[str, str], PlanPrices]:
    grouped: dict[tuple[str, str], list[Price]] = {}
    for price in prices:
        grouped.setdefault((price.plan_version_id, price.period), []).append(price)
    return {
        key: PlanPrices(
            next((price for price in group if price.kind == "flat"), None),
            next((price for price in group if price.kind == "seat"), None),
            tuple(
                sorted((price for price in group if price.kind == "metered"), key=lambda price: price.meter)
            ),
        )
        for key, group in grouped.items()
    }
