"""Tenants that use most of a meter, how that grows, and who is near a monthly limit."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from admin_app.pages.usage import UsageOverviewState, top_tenant_row, usage_overview_page
from shared.backoffice import usage_overview
from shared.backoffice.usage_overview import TenantUsageLine
from shared.core.db import now
from shared.core.errors import NotFound
from shared.metering import rollups, usage, usage_reports
from shared.metering.usage_reports import UsageQuery
from tests.conftest import Cast, Person

METER = "usage_events"


async def use(person: Person, quantity: int, *, days_ago: int = 1) -> None:
    async with person.ctx() as ctx:
        at = now() - timedelta(days=days_ago)
        await usage.record(ctx, METER, f"{days_ago}", quantity=quantity, occurred_at=at)
        await rollups.roll_up(ctx)


async def test_top_tenants_have_the_numbers_that_they_see_themselves(cast: Cast) -> None:
    await use(cast.ann, 10**14)
    await use(cast.ann, 10**14 * 4 // 5, days_ago=29)
    await use(cast.gil, 10**14 // 2)
    async with cast.olga.octx() as octx:
        overview = await usage_overview.get_usage_overview(octx, METER)
    lines = {line.tenant_id: line for line in overview.tenants}
    assert [line.tenant_id for line in overview.tenants if line.tenant_id in (cast.acme, cast.globex)] == [
        cast.acme,
        cast.globex,
    ]
    assert (lines[cast.acme].growth, lines[cast.globex].growth) == (Decimal("0.25"), None)
    async with cast.ann.ctx() as ctx:
        query = UsageQuery(since=now() - timedelta(days=2), until=now(), meter=METER)
        (meter_usage,) = (await usage_reports.get_report(ctx, query)).meters
    assert lines[cast.acme].month_quantity == meter_usage.this_month
    assert lines[cast.acme].limit == meter_usage.monthly_limit


async def test_page_shows_the_meter_of_its_address(cast: Cast) -> None:
    await use(cast.ann, 10**14)
    page: Any = cast.olga.opens(UsageOverviewState, path=f"/usage?meter={METER}")
    await type(page).event_handlers["load"].fn(page)
    assert (page.meter, cast.acme in page.rows[0].href or cast.acme in str(page.rows)) == (METER, True)
    usage_overview_page()


@pytest.mark.parametrize(
    ("used", "limit", "label"), [(79, 100, "Below"), (80, 100, "Near"), (100, 100, "Over"), (5, None, "None")]
)
def test_tenant_near_its_limit_is_marked(used: int, limit: int | None, label: str) -> None:
    line = TenantUsageLine(
        tenant_id="ten_x",
        name="X",
        quantity=Decimal(used),
        growth=None,
        month_quantity=Decimal(used),
        limit=limit,
    )
    assert top_tenant_row(line).label == label


async def test_meter_whose_hours_do_not_add_up_has_no_overview(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        with pytest.raises(NotFound):
            await usage_overview.get_usage_overview(octx, "active_users")
