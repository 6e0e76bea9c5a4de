"""What the usage page and the operators' tab make of a report."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from admin_app.pages.tenant_usage.rows import comparison_row
from shared.access.meters import METERS
from shared.core.db import now
from shared.core.errors import Invalid
from shared.metering import reconciliation, rollups, usage, usage_reports
from shared.metering.usage_reports import MeterUsage, Step, UsagePoint, UsageQuery
from shared.tenancy import entry
from shared.test_mode import test_tenants
from shared.ui import charts, usage_panels
from tenant_app.pages.usage.state import UsageState
from tests.conftest import Cast


async def test_page_shows_the_numbers_of_the_report_and_what_changed(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        at = now() - timedelta(days=2)
        for key, quantity in (("in time", 1_200), ("late", 300)):
            await usage.record(ctx, "usage_events", key, quantity=quantity, occurred_at=at)
            await rollups.roll_up(ctx)
    page = cast.ann.opens(UsageState, path="usage")
    async with cast.ann.ctx() as ctx:
        page._show_report(*await page._read_report(ctx))
        page._show_changes(await page._read_changes(ctx))
    (panel,) = [meter for meter in page.meters if meter.key == "usage_events"]
    assert panel.total == "1,500 events in total"
    assert sum(int(row.quantity.replace(",", "")) for row in panel.rows) == 1_500
    assert (page.rows[0].before, page.rows[0].after, page.rows[0].events) == ("1,200", "1,500", "late")
    assert page._export_filter()["step"] == "day"


async def test_operators_see_that_closed_usage_and_billing_are_equal(cast: Cast) -> None:
    at = now() - timedelta(hours=3)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, "usage_events", "k", quantity=2_500, occurred_at=at)
        await rollups.roll_up(ctx)
        rows = [comparison_row(row) for row in await reconciliation.compare_month(ctx, at)]
    assert {row.label for row in rows} == {"Equal"}
    assert [(row.closed, row.carried, row.units) for row in rows if row.meter == "Usage events"] == [
        ("2,500", "500", "2 of 2")
    ]


async def test_operators_see_that_usage_of_a_test_organisation_is_not_billed(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        test_mode = await test_tenants.turn_on(ctx)
    async with entry.enter_job(test_mode.tenant_id, rollups.TASK, "") as ctx:
        at = now() - timedelta(hours=3)
        await usage.record(ctx, "usage_events", "k", quantity=2_500, occurred_at=at)
        await rollups.roll_up(ctx)
        rows = [comparison_row(row) for row in await reconciliation.compare_month(ctx, at)]
    assert {(row.label, row.units) for row in rows} == {("Equal", "none, a test")}


@pytest.mark.parametrize(
    ("range_key", "step", "count"),
    [("day", "hour", 24), ("days", "day", 3), ("month", "day", 28), ("quarter", "day", 91), ("year", "", 12)],
)
async def test_range_has_as_many_bars_as_its_name_says(
    cast: Cast, range_key: str, step: str, count: int
) -> None:
    async with cast.ann.ctx() as ctx:
        report = await usage_reports.get_report(ctx, usage_panels.build_query(range_key, step))
    assert {len(meter.points) for meter in report.meters} == {count}


async def test_running_time_is_compared_with_the_same_part_of_the_time_before(cast: Cast) -> None:
    start = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    async with cast.ann.ctx() as ctx:
        for key, hours_ago in (("now", 0), ("before", 24), ("before, but later", 20)):
            at = start - timedelta(hours=hours_ago)
            await usage.record(ctx, "usage_events", key, quantity=10, occurred_at=at)
        await rollups.roll_up(ctx)
        query = UsageQuery(
            since=start,
            until=start + timedelta(hours=24),
            step=Step.HOUR,
            meter="usage_events",
            compares=True,
        )
        (meter_usage,) = (await usage_reports.get_report(ctx, query)).meters
    assert (meter_usage.total, meter_usage.previous_total) == (10, 10)
    assert sum(point.quantity for point in meter_usage.previous_points) == 20


async def test_subjects_are_not_compared_with_a_time_whose_events_are_gone(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        query = usage_panels.build_query("year", "")
        report = await usage_reports.get_report(ctx, query)
        (users,) = [meter for meter in report.meters if meter.meter.key == "active_users"]
        since = now() - timedelta(days=500)
        early = UsageQuery(since=since, until=since + timedelta(days=9), meter="active_users")
        with pytest.raises(Invalid, match="kept for 434 days"):
            await usage_reports.get_report(ctx, early)
    panel = usage_panels.meter_panel(users, Step.MONTH)
    assert (panel.change, {row.previous for row in panel.rows}) == ("", {"—"})


@pytest.mark.parametrize("count", [1, 6, 24, 28, 91])
def test_labels_of_many_bars_are_few_and_at_places_that_a_phone_shows(count: int) -> None:
    labels = usage_panels.thin_labels([str(number) for number in range(count)])
    places = [index for index, label in enumerate(labels) if label]
    assert len(labels) == count
    assert 1 <= len(places) <= usage_panels.MAX_LABELS
    assert count <= usage_panels.MAX_LABELS or all(place % 2 for place in places)


@pytest.mark.parametrize(
    ("step", "count", "label"),
    [(Step.HOUR, 24, "07:00"), (Step.HOUR, 72, "1 Mar"), (Step.DAY, 28, "1 Mar"), (Step.MONTH, 12, "Mar")],
)
def test_labels_of_bars_are_short_enough_for_a_phone(step: Step, count: int, label: str) -> None:
    at = datetime(2026, 3, 1, 7, tzinfo=UTC)
    points = [UsagePoint(starts_at=at, quantity=Decimal(1))] * count
    assert usage_panels.format_labels(points, step) == [label] * count


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (4_000, ["0", "1,000", "2,000", "3,000", "4,000"]),
        (9_000, ["0", "5k", "10k"]),
        (280_000, ["0", "100k", "200k", "300k"]),
        (1_100_000, ["0", "0.5M", "1M", "1.5M"]),
        (4e15, ["0", "1000T", "2000T", "3000T", "4000T"]),
    ],
)
def test_numbers_beside_the_bars_are_short(highest: float, labels: list[str]) -> None:
    chart = charts.draw_bars([highest], [""], [""], "")
    assert [tick.label for tick in chart.ticks] == labels


def test_step_that_a_range_does_not_have_becomes_its_first_one() -> None:
    assert usage_panels.build_query("month", "hour").step is Step.DAY
    assert usage_panels.build_query("days", "day").step is Step.DAY


def test_limit_is_a_line_where_it_is_near_the_bars() -> None:
    points = [UsagePoint(starts_at=now(), quantity=Decimal(900_000))]
    for limit, is_drawn in ((1_000_000, True), (50_000_000, False), (None, False)):
        panel = usage_panels.meter_panel(
            MeterUsage(meter=METERS["api_calls"], points=points, total=Decimal(900_000), monthly_limit=limit),
            Step.MONTH,
        )
        assert bool(panel.chart.limit_position) is is_drawn
