"""The daily comparison of aggregates with their events."""

from datetime import timedelta
from typing import LiteralString

import pytest
from structlog.testing import capture_logs

from shared.backoffice import tenant_directory, usage_corrections
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Refused
from shared.jobs import queue_status
from shared.metering import allowances, checks, rollups, usage
from tests.conftest import Cast, Person
from tests.support import database

HOUR = timedelta(hours=1)
OLD_HOUR = now().replace(minute=0, second=0, microsecond=0) - 48 * HOUR


async def use(person: Person) -> None:
    async with person.ctx() as ctx:
        for number in range(3):
            await usage.record(
                ctx, "usage_events", f"k{number}", quantity=5, occurred_at=OLD_HOUR + number * HOUR
            )
        await rollups.roll_up(ctx)


@pytest.mark.parametrize(
    "fault", ["quantity = quantity + 1", "event_count = event_count + 1", "checksum = 0"]
)
async def test_check_finds_the_hour_that_differs_and_raises_an_alarm(
    cast: Cast, fault: LiteralString
) -> None:
    await use(cast.ann)
    database.connect().execute(
        f"update usage_window set {fault} where tenant_id = %s and starts_at = %s", [cast.acme, OLD_HOUR]
    )
    with capture_logs() as logs:
        async with cast.ann.ctx() as ctx:
            check = await checks.run_check(ctx)
    assert (check.hour_count, check.differing_count) == (3, 1)
    assert check.differing_hours == [f"usage_events {OLD_HOUR:%Y-%m-%dT%H}"]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "usage_differs_from_events"
    ]
    async with cast.olga.octx() as octx:
        overview = await tenant_directory.get_overview(octx)
    assert [row.count for row in overview.differing_usage if row.tenant_id == cast.acme] == [1]


async def test_hour_that_is_being_added_up_does_not_differ(cast: Cast) -> None:
    await use(cast.ann)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, "usage_events", "new", occurred_at=OLD_HOUR)
        check = await checks.run_check(ctx)
    assert (check.hour_count, check.differing_count) == (2, 0)


async def test_roll_up_asks_for_a_check_once_a_day(cast: Cast) -> None:
    await use(cast.ann)
    await use(cast.ann)
    async with cast.olga.octx() as octx:
        jobs = (await queue_status.list_jobs(octx.session, limit=100)).rows
    assert [job.task for job in jobs if job.tenant_id == cast.acme].count(checks.TASK) == 1


async def test_check_by_an_operator_needs_the_right_for_it(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        with pytest.raises(Refused):
            await usage_corrections.start_usage_check(
                octx, cast.acme, state_reason(octx, "Ticket 4471, as agreed", tenant_id=cast.acme)
            )


async def test_check_is_asked_for_once_a_day_whatever_modules_bill(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "SOURCES", [])
    await use(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert await checks.find_latest(ctx) is not None
