"""Prices of plan versions over time. A price never changes; a later price of the same part and currency replaces it.

A part is charged once a period (flat), for each seat, or for each unit of a meter. The latest price of a part whose
time has come is in force. The contents of a plan are in `entitlements.catalog`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.meters import METERS
from shared.billing.models import Price, ProviderPrice
from shared.billing.pricing import prices_repository as repository
from shared.billing.provider_values import OrderLine
from shared.billing.sync import access_schedule
from shared.core import money
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.entitlements.models import Plan, PlanVersion

TOPIC, ALL_PAGES = "prices", "*"


PERIODS = ("month", "year")


KINDS = ("flat", "seat", "metered")


TAX_BEHAVIORS = ("", "exclusive", "inclusive")  # "": as the provider's settings say


TAX_TEXTS = {"": "", "exclusive": "plus tax", "inclusive": "tax included"}


FIRST_CURRENCY = "usd"  # offered first, where customers can choose


MAX_AMOUNT = 99_999_999  # smallest units: eight digits are the most that Stripe takes


MAX_UNITS = 1_000_000_000


MAX_REASON_LENGTH = 300


class Tier(NamedTuple):
    """A tier of a metered price. `up_to`: None for the last tier."""

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
    """The prices of a plan version or add-on for one billing period, in one currency."""

    flat: Price | None = None
    seat: Price | None = None
    metered: tuple[Price, ...] = ()

    @property
    def all_prices(self) -> tuple[Price, ...]:
        return tuple(price for price in (self.flat, self.seat, *self.metered) if price is not None)

    @property
    def currency(self) -> str:
        return self.all_prices[0].currency

    @property
    def tax_text(self) -> str:
        """As in "plus tax"; "" where the prices differ, or don't say."""
        return describe_tax(self.all_prices)


async def get_plan_prices(
    session: AsyncSession, at: datetime, currency: str | None = None
) -> dict[tuple[str, str], PlanPrices]:
    """Prices by version and period, of those that are sold in this currency; None for the first one of each version."""
    all_prices = [price for price, _, _ in await repository.list_prices(session)]
    return group_plan_prices(all_prices, at, currency)


def group_plan_prices(
    all_prices: Iterable[Price], at: datetime, currency: str | None = None
) -> dict[tuple[str, str], PlanPrices]:
    """As `get_plan_prices`, of prices that have been read."""
    return _group_prices(select_current_prices(all_prices, at).values(), currency)


def list_currencies(all_prices: Iterable[Price], at: datetime) -> dict[str, tuple[str, ...]]:
    """The currencies in which each version is sold, the first one first."""
    currencies: dict[str, set[str]] = {}
    for price in select_current_prices(all_prices, at).values():
        currencies.setdefault(price.plan_version_id, set()).add(price.currency)
    return {version_id: sort_currencies(codes) for version_id, codes in currencies.items()}


def sort_currencies(codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(codes), key=lambda code: (code != FIRST_CURRENCY, code)))


def describe_tax(priced: Iterable[Price]) -> str:
    """As in "plus tax"; "" where the prices differ, or don't say."""
    behaviors = {price.tax_behavior for price in priced}
    return TAX_TEXTS[behaviors.pop()] if len(behaviors) == 1 else ""


def select_current_prices(all_prices: Iterable[Price], at: datetime) -> dict[PriceKey, Price]:
    """The price in force of each part."""
    latest_prices: dict[PriceKey, Price] = {}
    for price in sorted(all_prices, key=lambda price: (price.effective_at, price.id)):
        if price.effective_at <= at:
            latest_prices[get_price_key(price)] = price
    return latest_prices


def get_price_key(price: Price) -> PriceKey:
    return PriceKey(price.plan_version_id, price.period, price.kind, price.meter, price.currency)


def read_tiers(price: Price) -> tuple[Tier, ...]:
    return tuple(Tier(tier["up_to"], tier["unit"], tier["flat"]) for tier in price.tiers)


async def list_with_versions(session: AsyncSession) -> Sequence[tuple[Price, PlanVersion, Plan]]:
    """Every price, oldest first, with its plan version and plan."""
    return await repository.list_prices(session)


async def list_provider_prices(session: AsyncSession) -> Sequence[ProviderPrice]:
    return await repository.list_provider_prices(session)


async def list_published_versions(session: AsyncSession) -> Sequence[tuple[Plan, PlanVersion]]:
    """Newest first."""
    return await repository.list_published_versions(session)


async def lock_version(session: AsyncSession, version_id: str) -> tuple[PlanVersion, Plan] | None:
    return await repository.lock_version(session, version_id)


async def list_version_prices(session: AsyncSession, version_id: str) -> Sequence[Price]:
    return await repository.list_version_prices(session, [version_id])


async def add(session: AsyncSession, price: Price) -> bool:
    """Adds a price. False where another price of the same part starts at that time."""
    return await repository.add_price(session, price)


async def get_catalog_prices(session: AsyncSession) -> dict[str, access_schedule.CatalogPrice]:
    """The catalog item of every price, by price id."""
    return map_catalog_prices(await repository.list_prices(session))


def map_catalog_prices(
    priced_versions: Sequence[tuple[Price, PlanVersion, Plan]],
) -> dict[str, access_schedule.CatalogPrice]:
    """The catalog item of each given price, by price id."""
    return {
        price.id: access_schedule.CatalogPrice(
            version.id, plan.kind == "addon", price.kind == "seat", plan.position, price.kind == "metered"
        )
        for price, version, plan in priced_versions
    }


async def build_order_lines(
    session: AsyncSession,
    account_id: str,
    version_id: str,
    period: str,
    *,
    seats: int = 1,
    addons: Mapping[str, int] | None = None,
    currency: str | None = None,
    at: datetime | None = None,
) -> tuple[OrderLine, ...]:
    """The lines of a subscription to this version. `addons`: quantities by version. `currency`: None for the version's first.

    `seats`: ignored without a price per seat. Raises Invalid, and Conflict for a combination that isn't sold.
    """
    addons, at = addons or {}, at or now()
    all_prices = await repository.list_version_prices(session, [version_id, *addons])
    currencies = list_currencies(all_prices, at)
    currency = currency or next(iter(currencies.get(version_id, ())), None)
    plan_prices = group_plan_prices(all_prices, at, currency)
    priced_quantities: list[tuple[Price, int | None]] = []
    for item_id, number in [(version_id, 1), *addons.items()]:
        if (item_id, period) not in plan_prices:
            if currency not in (None, *currencies.get(item_id, (currency,))):
                noun = "The plan" if item_id == version_id else "An add-on"
                raise Conflict(f"{noun} isn’t sold in {str(currency).upper()}.", "Contact sales.")
            raise Conflict(
                "There is no price for this billing period.", "Choose another period, or contact sales."
            )
        version_prices = plan_prices[item_id, period]
        if number < 1 or seats < 1:
            raise Invalid("The quantity must be at least 1.", "Enter a higher number.")
        priced_quantities += [(version_prices.flat, number)] if version_prices.flat else []
        priced_quantities += [(version_prices.seat, seats)] if version_prices.seat else []
        priced_quantities += [(metered, None) for metered in version_prices.metered]
    external_ids = await repository.list_external_ids(
        session, account_id, [price.id for price, _ in priced_quantities]
    )
    if len(external_ids) < len(priced_quantities):
        raise Conflict("This price isn’t available at the payment provider yet.", "Try again in a minute.")
    return tuple(OrderLine(price.id, external_ids[price.id], number) for price, number in priced_quantities)


def format_title(price: Price) -> str:
    """As in "Per seat, monthly"."""
    period = {"month": "monthly", "year": "yearly"}[price.period]
    name = {"flat": "Base", "seat": "Per seat"}.get(price.kind) or METERS[price.meter].title
    return f"{name}, {period}"


def format_price_with_tax(price: Price) -> str:
    """As in "€20.00 per seat, tax included"."""
    return ", ".join(filter(None, (format_price(price), TAX_TEXTS[price.tax_behavior])))


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


def _group_prices(
    current_prices: Iterable[Price], currency: str | None = None
) -> dict[tuple[str, str], PlanPrices]:
    current_prices = list(current_prices)
    codes_by_version: dict[str, list[str]] = {}
    for price in current_prices:
        codes_by_version.setdefault(price.plan_version_id, []).append(price.currency)
    grouped: dict[tuple[str, str], list[Price]] = {}
    for price in current_prices:
        if price.currency == (currency or sort_currencies(codes_by_version[price.plan_version_id])[0]):
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
