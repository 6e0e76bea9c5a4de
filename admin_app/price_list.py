"""Between the price list and its page: rows of what plan versions cost, and the fields of a new price."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any

from pydantic import StringConstraints

from admin_app import words
from shared.billing import prices
from shared.billing.meters import METERS
from shared.billing.models import Price, ProviderPrice
from shared.billing.prices import History, Listed, Tier
from shared.core import money
from shared.core.errors import Invalid
from shared.tenancy.entry import LONGEST_REASON
from shared.ui.form_model import Form, a_moment, a_number
from shared.ui.why import Change

PERIODS = {"month": "A month", "year": "A year"}
PARTS = {
    "flat": "The base",
    "seat": "Each seat",
    **{f"metered_{name}": f"{one.title}, by {one.unit}" for name, one in METERS.items()},
}
PIECE = {"flat": "Each one"}  # of an add-on
MOST_INCLUDED = prices.MOST_UNITS


@dataclass(frozen=True)
class PriceRow:
    id: str
    title: str
    cost: str
    since: str  # ISO
    state: str  # "" for what is in force, or was
    tone: str
    why: str  # by whom, and the reason
    there: str  # how it stands at the provider, "" for what need not be there
    there_tone: str
    differs: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class VersionRow:
    """A plan version or add-on with what it costs."""

    id: str = ""
    name: str = ""
    version: str = ""  # as in "Version 3, add-on"
    tenant_id: str = ""  # to whom alone it is offered
    prices: list[PriceRow] = field(default_factory=list)  # in force and coming
    past: list[PriceRow] = field(default_factory=list)
    past_said: str = ""  # as in "2 earlier prices"
    addon: bool = False
    currency: str = ""  # "" before the first price


@dataclass(frozen=True)
class Figures:
    in_force: str = "0"
    coming: str = "0"
    next: str = ""  # as in "the next one on 1 March 2027"
    missing: str = "0"
    differing: str = "0"
    compared: str = ""  # ISO of the oldest comparison


def versions(found: History, at: datetime) -> list[VersionRow]:
    """Those that somebody can buy now or soon, and earlier ones that have a price still."""
    newest: set[str] = set()
    shown = []
    for one in found.versions:
        buyable = one.plan.retired_at is None and one.plan.id not in newest
        if one.version.effective_at is not None and one.version.effective_at <= at:
            newest.add(one.plan.id)
        if buyable or one.prices:
            shown.append(_version(one, found.there, at))
    return shown


def figures(found: History, at: datetime) -> Figures:
    alive = [price for one in found.versions for price in _alive(one.prices, at)]
    coming = [price for price in alive if price.effective_at > at]
    looked = [row for price in alive for row in found.there.get(price.id, ()) if row.external_id]
    checked = [row.checked_at for row in looked if row.checked_at is not None]
    first = min((price.effective_at for price in coming), default=None)
    return Figures(
        f"{len(alive) - len(coming):,}",
        f"{len(coming):,}",
        f"The next one on {first:%-d %B %Y}" if first else "None is planned",
        f"{sum(not _is_there(found.there.get(price.id, ())) for price in alive):,}",
        f"{sum(any(row.drift for row in found.there.get(price.id, ())) for price in alive):,}",
        min(checked).isoformat() if checked else "",
    )


def _version(one: Listed, there: Mapping[str, Sequence[ProviderPrice]], at: datetime) -> VersionRow:
    alive = {price.id for price in _alive(one.prices, at)}
    ordered = sorted(one.prices, key=lambda price: (*_place(price), price.effective_at))
    past = [
        _price(price, there.get(price.id, ()), at, past=True) for price in ordered if price.id not in alive
    ]
    addon = one.plan.kind == "addon"
    return VersionRow(
        one.version.id,
        one.plan.name,
        f"Version {one.version.number}{', add-on' if addon else ''}{', retired' if one.plan.retired_at else ''}",
        one.version.for_tenant or "",
        [_price(price, there.get(price.id, ()), at) for price in ordered if price.id in alive],
        past[::-1],
        words.some_of(len(past), "earlier price", "earlier prices") if past else "",
        addon,
        one.prices[0].currency if one.prices else "",
    )


def _alive(listed: Sequence[Price], at: datetime) -> list[Price]:
    held = {price.id for price in prices.current(listed, at).values()}
    return [price for price in listed if price.id in held or price.effective_at > at]


def _place(price: Price) -> tuple[int, int, str]:
    return prices.PERIODS.index(price.period), prices.KINDS.index(price.kind), price.meter


def _price(price: Price, there: Sequence[ProviderPrice], at: datetime, *, past: bool = False) -> PriceRow:
    state, tone = ("Coming", "wait") if price.effective_at > at else ("", "")
    differs = [
        Change(what if len(there) < 2 else f"{what}, {row.account_id}", *sides)
        for row in there
        for what, sides in row.drift.items()
    ]
    if differs:
        stands, stands_tone = "Differs", "bad"
    elif _is_there(there):
        stands, stands_tone = "Pushed", "ok"
    else:
        stands, stands_tone = ("", "") if past else ("Not pushed", "warn")
    return PriceRow(
        price.id,
        prices.title(price),
        prices.cost(price),
        price.effective_at.isoformat(),
        state,
        tone,
        f"{price.created_by}: {price.reason}",
        stands,
        stands_tone,
        differs,
    )


def _is_there(there: Sequence[ProviderPrice]) -> bool:
    return bool(there) and all(row.external_id for row in there)


# ── a new price ──────────────────────────────────────────────────────────────────────────────────────────────────

Short = Annotated[str, StringConstraints(max_length=40)]


class PriceForm(Form):
    part: Short
    period: Short
    currency: Short
    price: Short
    included: Short = ""
    effective_at: Short = ""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


def meant(form: PriceForm) -> dict[str, Any]:
    """The arguments of `prices.set_price`. Raises Invalid."""
    if form.part not in PARTS:
        raise Invalid("This is not one of the choices.", "Reload the page and try again.")
    kind, _, meter = form.part.partition("_")
    amount = money.typed(form.price, form.currency, "price")
    if form.included and not meter:
        raise Invalid(
            "Only what is metered includes something for free.",
            "Leave it empty.",
            fields={"included": "Only for what is metered"},
        )
    included = form.included.replace(",", "")
    free = a_number("included", included, 0, MOST_INCLUDED) if included else 0
    return {
        "period": form.period,
        "kind": kind,
        "meter": meter,
        "currency": form.currency,
        "amount": 0 if free else amount,
        "tiers": (Tier(free, 0), Tier(None, amount)) if free else (),
        "effective_at": a_moment("effective_at", form.effective_at),
        "reason": form.reason,
    }
