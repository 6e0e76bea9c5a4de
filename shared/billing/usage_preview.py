"""What a correction of usage would change on invoices, before it is closed. Reads only.

Amounts are before discounts and taxes, and count what was reported to the provider so far.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from shared.access.meters import METERS
from shared.billing import customers, usage, usage_periods, usage_repository
from shared.billing.models import PrepaidGrant, Price
from shared.billing.prepaid import drawing, prepaid_repository
from shared.billing.pricing import prices_repository
from shared.billing.spending.costs import MeterPrice
from shared.billing.usage_periods import MeterTerm
from shared.core.context import Ctx
from shared.core.db import now
from shared.metering.correction_effects import BilledEffect

Period = tuple[datetime, datetime]


class InvoiceOutcome(StrEnum):
    """What becomes of corrected usage."""

    INVOICED = "invoiced"  # with a period that is open
    CREDITED = "credited"  # it became less: later usage of the running period is free
    FREE = "free"  # nothing charged for it at its time
    WAITING = "waiting"  # until its subscription goes on
    UNBILLED = "unbilled"  # its last invoice is final


OUTCOMES = {
    "send": InvoiceOutcome.FREE,  # the provider gets it, and no price is known that charges for it
    "free": InvoiceOutcome.FREE,
    "wait": InvoiceOutcome.WAITING,
    "ended": InvoiceOutcome.UNBILLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceEffect:
    """Of one meter. Amounts: of the meter's line of this period, in the smallest unit of the currency.

    `period`: of the invoice; None where nothing is invoiced, and `currency` is "" then.
    """

    meter: str
    outcome: InvoiceOutcome
    units: int  # of sale, more or less
    period: Period | None = None
    currency: str = ""
    drawn: int = 0  # units among them that prepaid credits pay for
    amount_before: int = 0
    amount_after: int = 0
    is_moved: bool = False  # it was used earlier, and the invoice of its time is final


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What charges for one meter. `grants`: copies, of which the preview takes."""

    meter: str
    terms: Sequence[MeterTerm]
    prices: Mapping[str, Price]
    grants: Sequence[PrepaidGrant]
    at: datetime


@dataclass(slots=True)
class _Line:
    """A meter's line of one period, as it grows."""

    meter: str
    price: Price
    period: Period
    position: int  # units that are billed already
    units: int = 0
    drawn: int = 0
    is_moved: bool = False

    def get_cost(self, units: int) -> int:
        per_unit = METERS[self.meter].per_unit
        price = MeterPrice(
            tiers=drawing.list_unit_tiers(self.price),
            is_volume=self.price.tiers_mode == "volume",
            per_unit=per_unit,
        )
        return price.get_cost(Decimal(units * per_unit))

    def add(self, units: int, grants: Sequence[PrepaidGrant], used_at: datetime) -> None:
        """Credits pay as they will when it is reported."""
        position = self.position + self.units - self.drawn
        split = drawing.split_usage(units, self.price, position, grants, used_at)
        amounts = {draw.grant_id: draw.amount for draw in split.draws}
        for grant in grants:
            grant.remaining -= amounts.get(grant.id, 0)
        self.units, self.drawn = self.units + units, self.drawn + split.drawn
        self.is_moved = self.is_moved or used_at < self.period[0]

    def build_effect(self) -> InvoiceEffect:
        return InvoiceEffect(
            meter=self.meter,
            outcome=InvoiceOutcome.INVOICED,
            units=self.units,
            period=self.period,
            currency=self.price.currency,
            drawn=self.drawn,
            amount_before=self.get_cost(self.position),
            amount_after=self.get_cost(self.position + self.units - self.drawn),
            is_moved=self.is_moved,
        )


async def list_invoice_effects(ctx: Ctx, billed: Sequence[BilledEffect]) -> list[InvoiceEffect]:
    """By meter, none for a test tenant. It checks no permission: `backoffice.usage_corrections` does."""
    if ctx.is_test or not billed:
        return []
    at = now()
    terms = await _read_terms(ctx, billed, at)
    price_ids = {term.price_id for meter_terms in terms.values() for term in meter_terms}
    prices = await prices_repository.get_prices_by_id(ctx.session, price_ids)
    stored_grants = await prepaid_repository.list_usable_grants(ctx.session, ctx.tenant_id)
    grants = [PrepaidGrant(**grant.model_dump()) for grant in stored_grants]
    effects = list[InvoiceEffect]()
    for each in billed:
        charged = _Terms(
            meter=each.meter, terms=terms.get(each.meter, ()), prices=prices, grants=grants, at=at
        )
        effects += await _list_additions(ctx, each, charged)
        effects += await _list_credits(ctx, each, charged)
    return effects


async def _read_terms(ctx: Ctx, billed: Sequence[BilledEffect], at: datetime) -> dict[str, list[MeterTerm]]:
    customer_id = await customers.find_id(ctx)
    terms = await usage.find_terms(ctx.session, ctx.tenant_id, customer_id, at)
    is_sold = all(
        usage_periods.is_sold(part.starts_at, terms.get(each.meter, ()))
        for each in billed
        for part in each.parts
    )
    if not is_sold:
        for meter, former_terms in (await usage.find_former_terms(ctx.session, ctx.tenant_id, at)).items():
            terms[meter] = [*terms.get(meter, ()), *former_terms]
    return terms


async def _list_additions(ctx: Ctx, billed: BilledEffect, charged: _Terms) -> list[InvoiceEffect]:
    lines, other_units = dict[Period, _Line](), dict[InvoiceOutcome, int]()
    for part in billed.parts:
        placement = usage_periods.place_usage(part.starts_at, charged.terms, charged.at)
        line = None
        if placement.outcome == "send" and placement.term is not None:
            line = await _find_line(ctx, charged, placement.term, placement.counted_at, lines=lines)
        if line is not None:
            line.add(part.units, charged.grants, part.starts_at)
        else:
            outcome = OUTCOMES[placement.outcome]
            other_units[outcome] = other_units.get(outcome, 0) + part.units
    return [line.build_effect() for line in lines.values()] + [
        InvoiceEffect(meter=billed.meter, outcome=outcome, units=units)
        for outcome, units in other_units.items()
    ]


async def _list_credits(ctx: Ctx, billed: BilledEffect, charged: _Terms) -> list[InvoiceEffect]:
    """What the next units would cost, at the price and the use of the running period. They are free then."""
    newly_free = max(Decimal(0), -billed.carried) - max(Decimal(0), -billed.carried_in)
    units = int(newly_free // METERS[billed.meter].per_unit)
    term = next((term for term in charged.terms if term.is_live), None)
    line = await _find_line(ctx, charged, term, charged.at, lines={}) if term is not None else None
    if units < 1 or line is None:
        return []
    return [
        InvoiceEffect(
            meter=billed.meter,
            outcome=InvoiceOutcome.CREDITED,
            units=-units,
            period=line.period,
            currency=line.price.currency,
            amount_before=line.get_cost(line.position + units),
            amount_after=line.get_cost(line.position),
        )
    ]


async def _find_line(
    ctx: Ctx, charged: _Terms, term: MeterTerm, counted_at: datetime, *, lines: dict[Period, _Line]
) -> _Line | None:
    """Of the period that contains this time. None where the price or the period isn't known."""
    price, period = charged.prices.get(term.price_id), term.get_period(counted_at)
    if price is None or period is None:
        return None
    if period not in lines:
        position = await usage_repository.sum_billed(
            ctx.session, ctx.tenant_id, charged.meter, *period, without=()
        )
        lines[period] = _Line(meter=charged.meter, price=price, period=period, position=position)
    return lines[period]
