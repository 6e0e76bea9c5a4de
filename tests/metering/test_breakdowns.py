"""Usage by a dimension or by sender, and the dashboard that shows it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.metering import breakdowns, rollups, usage, usage_reports
from shared.metering.usage_reports import Step, UsageQuery, forecast_month
from shared.ui import breakdown_panel
from tenant_app.pages.usage.state import UsageState
from tenant_app.pages.usage.view import usage_page
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.sizes import size

METER = "usage_events"
OLD_HOUR = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=48)
SPAN: dict[str, datetime] = {"since": OLD_HOUR, "until": OLD_HOUR + timedelta(hours=1)}


async def record(person: Person, key: str, quantity: int, *, meter: str = METER, **values: Any) -> None:
    async with person.ctx() as ctx:
        await usage.record(ctx, meter, key, quantity=quantity, occurred_at=OLD_HOUR, **values)


async def test_parts_of_a_dimension_add_up_to_the_total_of_the_report(cast: Cast) -> None:
    for number, region in enumerate(("eu", "us", "eu", "")):
        await record(cast.ann, f"k{number}", 10 + number, dimensions={"region": region} if region else None)
    await record(cast.gil, "k0", 1_000, dimensions={"region": "eu"})
    async with cast.ann.ctx() as ctx:
        await rollups.roll_up(ctx)
        breakdown = await breakdowns.get_breakdown(ctx, METER, "region", **SPAN)
        (meter_usage,) = (
            await usage_reports.get_report(
                ctx, UsageQuery(meter=METER, step=Step.HOUR, since=SPAN["since"], until=SPAN["until"])
            )
        ).meters
    assert [(row.value, row.quantity, row.event_count) for row in breakdown.rows] == [
        ("eu", 22, 2),
        ("", 13, 1),
        ("us", 11, 1),
    ]
    assert sum(row.quantity for row in breakdown.rows) == meter_usage.total


async def test_dimension_with_many_values_shows_the_largest_and_one_line_for_the_others(cast: Cast) -> None:
    count = size("metering.dimension_values")
    async with cast.ann.ctx() as ctx:
        for first in range(0, count, 1_000):
            items = [
                {
                    "meter": METER,
                    "idempotency_key": f"k{number}",
                    "quantity": number + 1,
                    "occurred_at": OLD_HOUR.isoformat(),
                    "dimensions": {"customer": f"customer-{number}"},
                }
                for number in range(first, min(first + 1_000, count))
            ]
            await usage.ingest(ctx, items)
        breakdown = await breakdowns.get_breakdown(ctx, METER, "customer", **SPAN)
    assert len(breakdown.rows) == breakdowns.SHOWN_VALUES
    assert breakdown.rows[0].value == f"customer-{count - 1}"
    assert breakdown.other_values == count - breakdowns.SHOWN_VALUES
    shown = sum((row.quantity for row in breakdown.rows), Decimal(0))
    assert breakdown.other_quantity == count * (count + 1) // 2 - shown


async def test_parts_of_a_largest_value_have_no_sum(cast: Cast) -> None:
    for number, region in enumerate(("eu", "eu", "us")):
        await record(
            cast.ann, f"k{number}", 5 + number, meter="stored_gigabytes", dimensions={"region": region}
        )
    async with cast.ann.ctx() as ctx:
        breakdown = await breakdowns.get_breakdown(ctx, "stored_gigabytes", "region", **SPAN)
    assert [(row.value, row.quantity) for row in breakdown.rows] == [("us", 7), ("eu", 6)]
    assert breakdown.other_quantity is None


async def test_voided_event_is_in_no_part(cast: Cast) -> None:
    await record(cast.ann, "k", 5)
    database.connect().execute("update usage_event set voided_by = 'ucr_x' where tenant_id = %s", [cast.acme])
    async with cast.ann.ctx() as ctx:
        assert (await breakdowns.get_breakdown(ctx, METER, breakdowns.SENDER, **SPAN)).rows == []


@pytest.mark.parametrize(
    ("meter", "by", "days", "error"),
    [("unknown", "region", 1, NotFound), (METER, "colour", 1, Invalid), (METER, "region", 93, Invalid)],
)
async def test_impossible_breakdown_is_refused(
    cast: Cast, meter: str, by: str, days: int, error: type[Exception]
) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(error):
            await breakdowns.get_breakdown(
                ctx, meter, by, since=OLD_HOUR, until=OLD_HOUR + timedelta(days=days)
            )


@pytest.mark.parametrize(
    ("at", "forecast"),
    [
        (datetime(2026, 4, 1, 12, tzinfo=UTC), None),
        (datetime(2026, 4, 11, tzinfo=UTC), 300),
        (datetime(2026, 2, 15, tzinfo=UTC), 200),
    ],
)
def test_forecast_is_the_rate_of_the_month_so_far(at: datetime, forecast: int | None) -> None:
    assert forecast_month(Decimal(100), at) == forecast


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


async def test_filters_of_the_page_are_in_its_address(cast: Cast) -> None:
    await record(cast.ann, "k", 5, dimensions={"region": "eu"})
    page: Any = cast.ann.opens(UsageState, path=f"usage?range=quarter&step=month&meter={METER}&by=region")
    await send_event(page, "load")
    assert (page.range_key, page.step, [panel.key for panel in page.meters]) == ("quarter", "month", [METER])
    assert [(part.value, part.quantity, part.share) for part in page.parts] == [("eu", "5", "100.0%")]
    answer = str(await send_event(page, "choose_by", "source"))
    assert f"range=quarter&step=month&meter={METER}&by=source" in answer
    assert page._export_filter()["meter"] == METER
    usage_page()


async def test_address_with_unknown_filters_shows_the_page_without_them(cast: Cast) -> None:
    page: Any = cast.ann.opens(UsageState, path="usage?range=ages&step=second&meter=nothing&by=colour")
    await send_event(page, "load")
    assert (page.range_key, page.step, page.meter, page.by) == ("month", "day", "", "")
    assert breakdown_panel.by_choices("") == []
