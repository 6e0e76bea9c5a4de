"""The finance report: equal to the provider's sums to the cent, by currency, with every kind of change."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlmodel import select

from shared.backoffice import finance
from shared.billing import recurring_revenue
from shared.billing.models import RecurringRevenue, RevenueChange
from shared.billing.pricing import prices
from shared.billing.provider_values import Subscription, SubscriptionItem
from shared.core import db
from shared.core.errors import Refused
from shared.tenancy import entry
from tests.billing.test_billed_to_the_cent import World, _sell, at, open_world
from tests.conftest import Cast
from tests.support.billing import sold_plans

JANUARY = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture
async def world(schema: str) -> AsyncIterator[World]:
    async with open_world(schema) as opened:
        await _sell(opened)
        yield opened


async def test_report_equals_the_invoices_and_items_at_the_provider(world: World) -> None:
    seat, hybrid = world.buyers["seat"], world.buyers["hybrid"]
    await seat.buys(seats=5)
    await hybrid.buys(seats=10)
    await world.until(at(1, 11))
    await seat.changes(seats=8)
    await hybrid.uses("usage_events", 5_400)
    await world.until(at(1, 31))
    await world.until(at(2, 1, 2))
    for buyer in (seat, hybrid):
        await buyer.looked_at()
    async with world.operator.octx() as octx:
        report = await finance.get_report(octx)
        export = await finance.export_report(octx)
    (dollars,) = report.currencies
    expected = Counter[date]()
    for invoice in world.account.objects["invoice"].values():
        if invoice["status"] in ("open", "paid"):
            created_at = datetime.fromtimestamp(invoice["created"], UTC)
            expected[created_at.date().replace(day=1)] += invoice["total"]
    assert {row.month: row.total for row in dollars.invoices if row.total} == dict(+expected)
    for month, total in expected.items():
        assert sum(line.amount for line in dollars.lines if line.month == month) == total
    assert {line.name for line in dollars.lines} >= {"Startup"}
    assert "" not in {line.name for line in dollars.lines if line.amount}
    usage = [line.amount for line in dollars.lines if line.is_usage and line.amount]
    assert usage == [2_000]  # (5,400 − 5,000) × 5
    assert dollars.recurring == 8 * 2_000 + 19_900 + 10 * 1_500 == sum(await _list_item_amounts(world))
    assert f'"{dollars.movements[-1].month:%Y-%m}","USD","recurring","closing","509.00"' in export


async def _list_item_amounts(world: World) -> list[int]:
    """What the provider charges a month, apart from usage."""
    prices_by_id = world.account.objects["price"]
    return [
        (prices_by_id[line.external_price_id]["unit_amount"] or 0) * line.quantity
        for buyer in (world.buyers["seat"], world.buyers["hybrid"])
        for line in (await buyer.subscription()).lines
        if line.quantity
    ]


async def record(cast: Cast, moment: datetime, *lines: tuple[str, int], status: str = "active") -> None:
    items = tuple(
        SubscriptionItem(
            id=f"si_{price_id}",
            price_id=price_id,
            external_price_id="",
            quantity=quantity,
            starts_at=None,
            ends_at=None,
        )
        for price_id, quantity in lines
    )
    subscription = Subscription(id="sub_1", status=status, created_at=moment, lines=items)
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        priced_versions = await prices.list_with_versions(ctx.session)
        await recurring_revenue.record(ctx, [subscription], priced_versions, at=moment)


async def test_changes_of_recurring_revenue_have_a_kind_in_each_month(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast)
    seat = await sold_plans.set_price(cast, version.id, kind="seat", amount=1_000)
    yearly = await sold_plans.set_price(cast, version.id, "year", amount=1_000)
    months = [JANUARY + timedelta(days=31 * number) for number in range(7)]
    await record(cast, months[0], (seat.id, 2))
    await record(cast, months[0] + timedelta(days=1), (seat.id, 3))  # the same month
    await record(cast, months[1], (seat.id, 5))
    await record(cast, months[2], (seat.id, 1))
    await record(cast, months[3], (seat.id, 1), status="canceled")
    await record(cast, months[5], (yearly.id, 1))
    await record(cast, months[6], (yearly.id, 1))  # as before: no row
    async with db.transaction(tenant_id=cast.acme) as session:
        statement = select(RecurringRevenue).where(RecurringRevenue.tenant_id == cast.acme)
        rows = sorted((await session.exec(statement)).all(), key=lambda row: row.month)
    assert [(row.month.month, row.change, row.annual - row.previous_annual) for row in rows] == [
        (1, RevenueChange.NEW, 36_000),
        (2, RevenueChange.EXPANSION, 24_000),
        (3, RevenueChange.CONTRACTION, -48_000),
        (4, RevenueChange.CHURN, -12_000),
        (6, RevenueChange.REACTIVATION, 1_000),
    ]
    async with cast.olga.octx() as octx:
        report = await finance.get_report(octx)
    dollars = next(each for each in report.currencies if each.currency == "usd")
    closing = {
        movement.month.month: movement.closing
        for movement in dollars.movements
        if movement.month.year == 2026
    }
    assert [closing[month] - closing[4] for month in (1, 2, 3, 5, 6)] == [3_000, 5_000, 1_000, 0, 83]


async def test_currencies_are_never_added_up(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast)
    euro = await sold_plans.set_price(cast, version.id, amount=2_600, currency="chf")
    await record(cast, JANUARY, (euro.id, 1))
    async with cast.olga.octx() as octx:
        report = await finance.get_report(octx)
    francs = next(each for each in report.currencies if each.currency == "chf")
    assert francs.recurring == 2_600
    assert sum(row.annual for row in francs.plans) == 12 * 2_600


async def test_trial_pause_and_usage_are_no_recurring_revenue(cast: Cast) -> None:
    version = await sold_plans.publish_with_prices(cast)
    seat = await sold_plans.set_price(cast, version.id, kind="seat", amount=1_000)
    await record(cast, JANUARY, (seat.id, 2), status="trialing")
    async with db.transaction(tenant_id=cast.acme) as session:
        statement = select(RecurringRevenue).where(RecurringRevenue.tenant_id == cast.acme)
        assert (await session.exec(statement)).all() == []


async def test_support_sees_no_revenue(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        for read in (finance.get_report, finance.export_report):
            with pytest.raises(Refused):
                await read(octx)


@pytest.mark.parametrize(("annual", "monthly"), [(12, 1), (6, 1), (5, 0), (-6, -1), (1_000, 83)])
def test_twelfth_is_rounded_once(annual: int, monthly: int) -> None:
    assert finance.to_monthly(annual) == monthly
