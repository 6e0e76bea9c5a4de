"""The rows of the price list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from admin_app import labels
from shared.backoffice.price_admin import PriceHistory, VersionPrices
from shared.billing.models import Price, ProviderPrice
from shared.billing.pricing import prices
from shared.ui.decision_trace import Change


@dataclass(frozen=True, kw_only=True)
class PriceRow:
    id: str
    title: str
    cost: str
    since: str  # ISO
    state: str  # "" for current and past prices
    tone: str
    origin: str  # by whom, and the reason
    provider_status: str  # in Stripe, "" for prices that aren't pushed
    provider_tone: str
    differences: list[Change] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PricedVersionRow:
    """A plan version or add-on with what it costs."""

    id: str = ""
    name: str = ""
    version: str = ""  # as in "Version 3, add-on"
    tenant_id: str = ""  # of a custom plan
    prices: list[PriceRow] = field(default_factory=list)  # current and scheduled
    past_prices: list[PriceRow] = field(default_factory=list)
    past_title: str = ""  # as in "2 earlier prices"
    addon: bool = False
    currency: str = ""  # "" before the first price
    row_version: int = 1  # one more than its prices, past ones included


@dataclass(frozen=True, kw_only=True)
class PriceListSummary:
    in_force: str = "0"
    coming: str = "0"
    next_text: str = ""  # as in "the next one on 1 March 2027"
    not_pushed: str = "0"
    differing: str = "0"
    compared_at: str = ""  # ISO of the oldest comparison


def version_rows(history: PriceHistory, at: datetime) -> list[PricedVersionRow]:
    """Versions that customers can buy now or soon, and earlier ones that still have a price."""
    newest: set[str] = set()
    rows = []
    for listed in history.versions:
        is_buyable = listed.plan.retired_at is None and listed.plan.id not in newest
        if listed.version.effective_at is not None and listed.version.effective_at <= at:
            newest.add(listed.plan.id)
        if is_buyable or listed.prices:
            rows.append(_version_row(listed, history.provider_prices, at))
    return rows


def summarise_prices(history: PriceHistory, at: datetime) -> PriceListSummary:
    relevant = [price for listed in history.versions for price in _current_and_coming(listed.prices, at)]
    coming = [price for price in relevant if price.effective_at > at]
    pushed = [
        row for price in relevant for row in history.provider_prices.get(price.id, ()) if row.external_id
    ]
    checked = [row.checked_at for row in pushed if row.checked_at is not None]
    next_start = min((price.effective_at for price in coming), default=None)
    return PriceListSummary(
        in_force=f"{len(relevant) - len(coming):,}",
        coming=f"{len(coming):,}",
        next_text=f"Next on {next_start:%-d %B %Y}" if next_start else "None scheduled",
        not_pushed=f"{sum(not _is_pushed(history.provider_prices.get(price.id, ())) for price in relevant):,}",
        differing=f"{sum(any(row.drift for row in history.provider_prices.get(price.id, ())) for price in relevant):,}",
        compared_at=min(checked).isoformat() if checked else "",
    )


def _version_row(
    listed: VersionPrices, provider_prices: Mapping[str, Sequence[ProviderPrice]], at: datetime
) -> PricedVersionRow:
    relevant_ids = {price.id for price in _current_and_coming(listed.prices, at)}
    ordered = sorted(listed.prices, key=lambda price: (*_sort_key(price), price.effective_at))
    past_prices = [
        _price_row(price, provider_prices.get(price.id, ()), at, past=True)
        for price in ordered
        if price.id not in relevant_ids
    ]
    addon = listed.plan.kind == "addon"
    return PricedVersionRow(
        id=listed.version.id,
        name=listed.plan.name,
        version=f"Version {listed.version.number}{', add-on' if addon else ''}{', retired' if listed.plan.retired_at else ''}",
        tenant_id=listed.version.for_tenant or "",
        prices=[
            _price_row(price, provider_prices.get(price.id, ()), at)
            for price in ordered
            if price.id in relevant_ids
        ],
        past_prices=past_prices[::-1],
        past_title=labels.plural(len(past_prices), "earlier price", "earlier prices") if past_prices else "",
        addon=addon,
        currency=listed.prices[0].currency if listed.prices else "",
        row_version=len(listed.prices) + 1,
    )


def _current_and_coming(listed: Sequence[Price], at: datetime) -> list[Price]:
    current_ids = {price.id for price in prices.select_current_prices(listed, at).values()}
    return [price for price in listed if price.id in current_ids or price.effective_at > at]


def _sort_key(price: Price) -> tuple[int, int, str, bool, str]:
    in_other_currency = price.currency != prices.FIRST_CURRENCY
    return (
        *(prices.PERIODS.index(price.period), prices.KINDS.index(price.kind), price.meter),
        *(in_other_currency, price.currency),
    )


def _price_row(
    price: Price, provider_prices: Sequence[ProviderPrice], at: datetime, *, past: bool = False
) -> PriceRow:
    state, tone = ("Scheduled", "wait") if price.effective_at > at else ("", "")
    differences = [
        Change(field_name if len(provider_prices) < 2 else f"{field_name}, {row.account_id}", *values)
        for row in provider_prices
        for field_name, values in row.drift.items()
    ]
    if differences:
        provider_status, provider_tone = "Differs", "bad"
    elif _is_pushed(provider_prices):
        provider_status, provider_tone = "Pushed", "ok"
    else:
        provider_status, provider_tone = ("", "") if past else ("Not pushed", "warn")
    return PriceRow(
        id=price.id,
        title=prices.format_title(price),
        cost=prices.format_price_with_tax(price),
        since=price.effective_at.isoformat(),
        state=state,
        tone=tone,
        origin=f"{price.created_by}: {price.reason}",
        provider_status=provider_status,
        provider_tone=provider_tone,
        differences=differences,
    )


def _is_pushed(provider_prices: Sequence[ProviderPrice]) -> bool:
    return bool(provider_prices) and all(row.external_id for row in provider_prices)
