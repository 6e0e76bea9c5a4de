"""The budget of a tenant in its billing period: prices of its metered use, and the amount that it may cost."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.meters import METERS, is_sold
from shared.billing import usage_periods, usage_repository
from shared.billing.models import SpendLimit
from shared.billing.prepaid import drawing
from shared.billing.pricing import prices_repository
from shared.billing.spending import spend_repository
from shared.billing.spending.costs import MeterPrice
from shared.billing.sync import provider_records
from shared.billing.usage_periods import MeterTerm
from shared.core import db
from shared.core.db import now
from shared.metering.counter_keys import CounterKey

CACHE_SECONDS = 5.0  # after which a change holds in every process
MAX_TENANTS = 20_000  # in the memory of one process


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredPrices:
    """What a tenant is sold by use now. `keys`: of its counters in the billing period, by meter."""

    currency: str
    prices: Mapping[str, MeterPrice]
    keys: Mapping[str, CounterKey]

    @property
    def starts_at(self) -> datetime:
        return min(key.starts_at for key in self.keys.values())

    @property
    def ends_at(self) -> datetime:
        return max(key.ends_at for key in self.keys.values())

    def get_cost(self, used: Mapping[str, Decimal]) -> int:
        """`used`: by meter."""
        return sum(price.get_cost(used.get(meter, Decimal(0))) for meter, price in self.prices.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendBudget:
    """A `metering.allowances.Budget`."""

    amount: int
    is_cap: bool
    metered: MeteredPrices

    def list_keys(self) -> Sequence[CounterKey]:
        return list(self.metered.keys.values())

    def get_room(self, meter: str, used: Mapping[str, Decimal]) -> Decimal:
        """What the amount leaves for this meter when the others have cost what they have."""
        others = {other: quantity for other, quantity in used.items() if other != meter}
        others[meter] = Decimal(0)
        price = self.metered.prices[meter]
        others_cost = self.metered.get_cost(others) - price.get_cost(Decimal(0))
        return price.get_room(self.amount - others_cost)


_cache: OrderedDict[str, tuple[float, SpendBudget | None]] = OrderedDict()


def forget(tenant_id: str) -> None:
    """After a change, so that this process reads it again."""
    _cache.pop(tenant_id, None)


async def find_budget(tenant_id: str, session: AsyncSession | None = None) -> SpendBudget | None:
    """At most `CACHE_SECONDS` old. None without an amount, and where nothing is sold by use."""
    cached = _cache.get(tenant_id)
    if cached is not None and cached[0] > time.monotonic():
        return cached[1]
    if session is None:
        async with db.transaction(tenant_id=tenant_id) as own_session:
            budget = await read_budget(own_session, tenant_id)
    else:
        budget = await read_budget(session, tenant_id)
    _cache[tenant_id] = time.monotonic() + CACHE_SECONDS, budget
    _cache.move_to_end(tenant_id)
    if len(_cache) > MAX_TENANTS:
        _cache.popitem(last=False)
    return budget


async def read_budget(session: AsyncSession, tenant_id: str) -> SpendBudget | None:
    limit = await spend_repository.find_limit(session, tenant_id)
    if limit is None:
        return None
    metered = await read_metered_prices(session, tenant_id)
    if metered is None or metered.currency != limit.currency:
        return None
    return build_budget(limit, metered)


def build_budget(limit: SpendLimit, metered: MeteredPrices) -> SpendBudget:
    return SpendBudget(amount=limit.amount, is_cap=limit.is_cap, metered=metered)


async def read_metered_prices(session: AsyncSession, tenant_id: str) -> MeteredPrices | None:
    """Of live subscriptions. None where they sell nothing by use."""
    terms = await _list_live_terms(session, tenant_id)
    prices = await prices_repository.get_prices_by_id(session, {term.price_id for term in terms.values()})
    at, meter_prices, keys, currency = now(), dict[str, MeterPrice](), dict[str, CounterKey](), ""
    for meter, term in sorted(terms.items()):
        price, period = prices.get(term.price_id), term.get_period(at)
        if price is None or period is None or currency not in ("", price.currency):
            continue
        currency = price.currency
        meter_prices[meter] = MeterPrice(
            tiers=drawing.list_unit_tiers(price),
            is_volume=price.tiers_mode == "volume",
            per_unit=METERS[meter].per_unit,
        )
        keys[meter] = CounterKey(
            id=f"spend:{meter}:{period[0]:%Y-%m-%dT%H:%M}",
            meter=meter,
            starts_at=period[0],
            ends_at=period[1],
        )
    if not keys:
        return None
    return MeteredPrices(currency=currency, prices=meter_prices, keys=keys)


async def _list_live_terms(session: AsyncSession, tenant_id: str) -> dict[str, MeterTerm]:
    """By meter: the first of each."""
    rows = await usage_repository.list_subscriptions(session, tenant_id)
    if not rows:
        return {}
    meters, at = await prices_repository.get_meters_by_price_id(session), now()
    live_terms = dict[str, MeterTerm]()
    for row in rows:
        subscription = provider_records.to_subscription(row)
        terms = usage_periods.find_terms([(row.customer_id, subscription)], meters, row.customer_id, at)
        for meter, meter_terms in terms.items():
            for term in meter_terms:
                if is_sold(meter) and term.is_live:
                    live_terms.setdefault(meter, term)
    return live_terms
