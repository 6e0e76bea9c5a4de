"""Three plans in USD, EUR, JPY and KWD over three periods, to the smallest unit, against an oracle of our own.

Every customer buys on 1 January, gets a credit on the 20th, changes the subscription on 11 February, has a coupon of a
quarter for the invoice of 1 March, and gets a part of February's invoice back on 10 March. Tax is on top in USD and JPY,
within the prices in EUR, and nothing is collected in Kuwait. The oracle below knows the published rules and the amounts; it
shares no code with the product or with the stand-in:

- unused and remaining time are charged to the second, each rounded half away from zero
- a coupon takes its part of what isn't a proration, and the tax is on what is left
- tax is rounded for each line; in dinars everything is rounded to ten fils, because the last digit of a payment is 0
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest

from shared.billing import usage
from shared.billing.pricing import price_sync
from shared.billing.pricing.prices import Tier
from shared.billing.provider_values import Invoice
from shared.dev.stripe_sandbox import changes, taxes
from shared.dev.stripe_sandbox.buyer_details import BuyerDetails
from tests.billing.test_billed_to_the_cent import Buyer, World, _as_cast, at, open_world
from tests.support import factories
from tests.support.billing import sold_plans

ADDON = "plv_support_1"
FREE_UNITS = 100
FREE_EVENTS = 5_000
USED = (250, 130, 400)  # units in each month, and 5,000 events more
SHARE = Fraction(18, 28)  # of February is left on the 11th
QUARTER = Fraction(1, 4)


@dataclass(frozen=True)
class Currency:
    """Prices in the smallest unit, and how they are taxed where the customer is."""

    code: str
    seat: int
    unit: int  # above the free ones
    flat: int
    event: int
    addon: int
    credit: int
    refund: int
    behavior: str
    rate: Fraction
    details: BuyerDetails
    step: int = 1

    def round(self, value: Fraction) -> int:
        """Half of a step away from zero."""
        steps = abs(value) / self.step
        whole = (2 * steps.numerator + steps.denominator) // (2 * steps.denominator)
        return whole * self.step * (1 if value >= 0 else -1)


CURRENCIES = [
    Currency(
        *("usd", 1_996, 12, 19_904, 8, 9_000, 500, 700),
        *("exclusive", Fraction(8875, 100_000), BuyerDetails(country="US", postal_code="10001")),
    ),
    Currency(
        *("eur", 1_788, 12, 17_904, 8, 8_100, 444, 613),
        *("inclusive", Fraction(19, 100), BuyerDetails(country="DE")),
    ),
    Currency(
        *("jpy", 2_980, 16, 29_804, 12, 13_332, 700, 1_001),
        *("exclusive", Fraction(10, 100), BuyerDetails(country="JP")),
    ),
    Currency(
        *("kwd", 6_120, 40, 61_240, 40, 27_720, 1_500, 2_010),
        *("exclusive", Fraction(0), BuyerDetails(country="KW")),
        step=10,
    ),
]


@dataclass(frozen=True)
class Line:
    amount: int
    proration: bool = False


@dataclass(frozen=True)
class Bill:
    subtotal: int
    discount: int
    tax: int
    included_tax: int
    total: int


def bill(currency: Currency, lines: Sequence[Line], coupon: Fraction = Fraction(0)) -> Bill:
    """The amounts are chosen so that the coupon's part of every line is whole."""
    discounts = [Fraction(0) if line.proration else line.amount * coupon for line in lines]
    assert all(discount % currency.step == 0 for discount in discounts)
    bases = [line.amount - discount for line, discount in zip(lines, discounts, strict=True)]
    if currency.behavior == "inclusive":
        included_tax = sum(currency.round(base * currency.rate / (1 + currency.rate)) for base in bases)
        tax, added_tax = included_tax, 0
    else:
        included_tax = 0
        tax = added_tax = sum(currency.round(base * currency.rate) for base in bases)
    subtotal, discount = sum(line.amount for line in lines), int(sum(discounts))
    return Bill(subtotal, discount, tax, included_tax, subtotal - discount + added_tax)


def expect(currency: Currency, plan: str) -> list[Bill]:
    """The invoices of 1 January, February, March and April."""

    def prorate(amount: int) -> Line:
        return Line(currency.round(amount * SHARE), proration=True)

    def credit(amount: int) -> Line:
        return Line(-currency.round(amount * SHARE), proration=True)

    seat, flat, addon = currency.seat, currency.flat, currency.addon
    units = [Line((used - FREE_UNITS) * currency.unit) for used in USED]
    events = [Line(used * currency.event) for used in USED]
    if plan == "seat":  # 5 seats, then 8
        months = [
            [Line(5 * seat)],
            [Line(5 * seat)],
            [Line(8 * seat), credit(5 * seat), prorate(8 * seat)],
            [Line(8 * seat)],
        ]
    elif plan == "usage":  # then with an add-on
        months = [
            [],
            [units[0]],
            [units[1], Line(addon), prorate(addon)],
            [units[2], Line(addon)],
        ]
    else:  # 10 seats, then 7
        months = [
            [Line(flat), Line(10 * seat)],
            [Line(flat), Line(10 * seat), events[0]],
            [Line(flat), Line(7 * seat), events[1], credit(10 * seat), prorate(7 * seat)],
            [Line(flat), Line(7 * seat), events[2]],
        ]
    coupons = (Fraction(0), Fraction(0), QUARTER, Fraction(0))
    return [bill(currency, lines, coupon) for lines, coupon in zip(months, coupons, strict=True) if lines]


@pytest.fixture
async def world(schema: str) -> AsyncIterator[World]:
    async with open_world(schema, automatic_tax=True) as made:
        taxes.set_up(made.account, country="DE")
        await _sell(made)
        yield made


async def _sell(world: World) -> None:
    """The same three plans in every currency."""
    parts: dict[str, list[dict[str, Any]]] = {"seat": [], "usage": [], "hybrid": []}
    addon_prices = []
    for currency in CURRENCIES:
        shared = {"currency": currency.code, "tax_behavior": currency.behavior}
        seat = {"kind": "seat", "amount": currency.seat, **shared}
        units = {"kind": "metered", "meter": "api_calls", **shared}
        events = {"kind": "metered", "meter": "usage_events", **shared}
        parts["seat"].append(seat)
        parts["usage"].append({**units, "tiers": (Tier(FREE_UNITS, 0), Tier(None, currency.unit))})
        parts["hybrid"] += [
            {"amount": currency.flat, **shared},
            seat,
            {**events, "tiers": (Tier(FREE_EVENTS, 0), Tier(None, currency.event))},
        ]
        addon_prices.append({"amount": currency.addon, **shared})
    version_ids = {
        name: (await sold_plans.publish_with_prices(_as_cast(world), *plan_parts)).id
        for name, plan_parts in parts.items()
    }
    for price in addon_prices:
        await sold_plans.set_price(_as_cast(world), ADDON, **price)
    for currency in CURRENCIES:
        for name, version_id in version_ids.items():
            title = f"{name}-{currency.code}"
            tenant = await factories.create_tenant(await factories.create_account(title), title)
            world.buyers[f"{name}_{currency.code}"] = Buyer(
                world, tenant.id, version_id, currency=currency.code, details=currency.details
            )
    assert (await price_sync.push_prices()).failures == ()
    assert (await price_sync.compare_prices()).drifted_count == 0


def list_buyers(world: World) -> list[tuple[str, Currency, Buyer]]:
    return [
        (name, currency, world.buyers[f"{name}_{currency.code}"])
        for currency in CURRENCIES
        for name in ("seat", "usage", "hybrid")
    ]


async def report_usage(buyers: list[tuple[str, Currency, Buyer]], quantity: int) -> None:
    for name, _, buyer in buyers:
        if name != "seat":
            free = FREE_EVENTS if name == "hybrid" else 0
            await buyer.uses("usage_events" if name == "hybrid" else "api_calls", free + quantity)
    assert await usage.report() > 0


async def test_invoices_in_four_currencies_equal_the_amounts_of_the_oracle(world: World) -> None:
    buyers = list_buyers(world)
    for name, _, buyer in buyers:
        await buyer.buys(seats={"seat": 5, "usage": 1, "hybrid": 10}[name])
    world.now = at(1, 20)
    for _, currency, buyer in buyers:
        await world.gateway.add_credit(
            buyer.customer_id, currency.credit, currency.code, "Goodwill", f"credit-{buyer.tenant_id}"
        )
    await report_usage(buyers, USED[0])

    world.now = at(2, 1, 2)
    world.now = at(2, 11)
    for name, _, buyer in buyers:
        await buyer.changes(
            seats={"seat": 8, "usage": 1, "hybrid": 7}[name], addons={ADDON: 1} if name == "usage" else None
        )
    await report_usage(buyers, USED[1])
    world.now = at(2, 20)
    coupon = {"object": "coupon", "id": "QUARTER", "percent_off": 25.0, "duration": "once"}
    world.account.put({**coupon, "duration_in_months": None, "times_redeemed": 0} | COUPON_LIMITS)
    for _, _, buyer in buyers:
        subscription = world.account.objects["subscription"][(await buyer.subscription()).id]
        changes.apply_change(world.account, subscription, {"discounts": [{"coupon": "QUARTER"}]})

    world.now = at(3, 1, 2)
    world.now = at(3, 10)
    for name, currency, buyer in buyers:
        february = (await buyer.bills())[0 if name == "usage" else 1]
        await world.gateway.refund_invoice(february.id, currency.refund, f"refund-{buyer.tenant_id}")
    await report_usage(buyers, USED[2])

    world.now = at(4, 1, 2)
    for name, currency, buyer in buyers:
        bills, expected = await buyer.bills(), expect(currency, name)
        assert [read_bill(invoice) for invoice in bills] == expected, (name, currency.code)
        february = 0 if name == "usage" else 1
        credits = [currency.credit if index == february else 0 for index in range(len(expected))]
        assert [invoice.paid for invoice in bills] == [
            one.total - credit for one, credit in zip(expected, credits, strict=True)
        ]
        (refund,) = (await world.gateway.fetch_customer(buyer.customer_id)).refunds
        tax_share = Fraction(expected[february].tax * currency.refund, expected[february].total)
        assert (refund.amount, refund.tax) == (currency.refund, currency.round(tax_share))
        assert [invoice.credited for invoice in bills] == [
            currency.refund if index == february else 0 for index in range(len(expected))
        ]


COUPON_LIMITS = {"amount_off": None, "max_redemptions": None, "redeem_by": None}


def read_bill(invoice: Invoice) -> Bill:
    assert invoice.status == "paid"
    return Bill(invoice.subtotal or 0, invoice.discount, invoice.tax, invoice.included_tax, invoice.total)
