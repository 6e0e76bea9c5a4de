"""Aggregates: equal to their events, closed in time, and explained where they changed afterwards."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from shared.access.meters import Aggregation
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.metering import change_repository, months, rollups, usage, usage_reports
from shared.metering.models import UsageChange, UsageWindow, WindowSize
from shared.metering.rollup_repository import list_open_tenants, list_windows
from shared.metering.usage_reports import Step, UsageQuery
from tests.conftest import Cast, Person
from tests.support import database

METER = "usage_events"
HOUR = timedelta(hours=1)
OLD_HOUR = now().replace(minute=0, second=0, microsecond=0) - 48 * HOUR


async def record(
    person: Person,
    key: str,
    at: datetime,
    *,
    quantity: int = 1,
    meter: str = METER,
    subject: str | None = None,
) -> None:
    async with person.ctx() as ctx:
        assert await usage.record(ctx, meter, key, quantity=quantity, occurred_at=at, subject=subject)


async def roll_up(person: Person) -> None:
    async with person.ctx() as ctx:
        await rollups.roll_up(ctx)


async def get_total(person: Person, meter: str = METER, *, step: Step = Step.DAY) -> Decimal:
    async with person.ctx() as ctx:
        query = UsageQuery(since=OLD_HOUR - 24 * HOUR, until=now() + HOUR, step=step, meter=meter)
        report = await usage_reports.get_report(ctx, query)
    (meter_usage,) = report.meters
    return meter_usage.total


async def list_changes(person: Person) -> Sequence[UsageChange]:
    async with person.ctx() as ctx:
        return (await usage_reports.list_changes(ctx)).rows


async def test_total_is_that_of_the_events_by_the_kind_of_the_meter(cast: Cast) -> None:
    for number, (quantity, subject) in enumerate(((3, "a"), (9, "b"), (4, "a"))):
        at = OLD_HOUR + number * 7 * HOUR
        await record(cast.ann, f"s{number}", at, quantity=quantity)
        await record(cast.ann, f"m{number}", at, quantity=quantity, meter="stored_gigabytes")
        await record(cast.ann, f"u{number}", at, meter="active_users", subject=subject)
    await record(cast.gil, "s0", OLD_HOUR, quantity=100)
    await roll_up(cast.ann)
    meters = (METER, "stored_gigabytes", "active_users")
    assert [await get_total(cast.ann, meter) for meter in meters] == [16, 9, 2]


async def test_month_of_a_unique_count_is_exact_at_its_close(cast: Cast) -> None:
    month = months.get_month(now() - timedelta(days=29))
    at = max(month, now() - timedelta(days=29))
    for number, subject in enumerate(("a", "b", "a")):
        await record(cast.ann, f"u{number}", at + number * HOUR, meter="active_users", subject=subject)
    await roll_up(cast.ann)
    async with cast.ann.ctx() as ctx:
        windows = await list_windows(
            ctx, "active_users", WindowSize.MONTH, since=month, until=months.get_next_month(month)
        )
    assert [row.quantity for row in windows] == [2]


async def test_event_of_an_open_transaction_is_added_up_after_its_commit(cast: Cast) -> None:
    """The job takes the mark of the first event while the second one's transaction is open."""
    await record(cast.ann, "first", OLD_HOUR, quantity=5)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "second", quantity=7, occurred_at=OLD_HOUR)
        await roll_up(cast.ann)
    await roll_up(cast.ann)
    assert await get_total(cast.ann) == 12


async def test_recomputed_month_has_the_same_digest_and_leaves_others_alone(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        await record(person, "same id", OLD_HOUR, quantity=3)
        await roll_up(person)
    month = months.get_month(OLD_HOUR)
    async with cast.gil.ctx() as ctx:
        other_windows = [
            (row.id, row.revision, row.computed_at)
            for row in await list_windows(
                ctx, METER, WindowSize.HOUR, since=month, until=months.get_next_month(month)
            )
        ]
        other_digest = await rollups.get_digest(ctx, METER, month)
    digests = []
    for _ in range(2):
        async with cast.ann.ctx() as ctx:
            digests.append(await rollups.recompute_month(ctx, METER, month))
    assert digests[0] == digests[1] == other_digest
    async with cast.gil.ctx() as ctx:
        rows = await list_windows(
            ctx, METER, WindowSize.HOUR, since=month, until=months.get_next_month(month)
        )
        assert [(row.id, row.revision, row.computed_at) for row in rows] == other_windows
    assert len(await list_changes(cast.ann)) == 1  # of the first event, which came late


async def test_late_event_of_a_closed_hour_leaves_a_change_that_explains_itself(cast: Cast) -> None:
    await record(cast.ann, "in time", OLD_HOUR, quantity=40)
    await roll_up(cast.ann)
    await record(cast.ann, "late", OLD_HOUR, quantity=3)
    await roll_up(cast.ann)
    change, _ = await list_changes(cast.ann)
    assert (change.quantity_before, change.quantity_after, change.cause) == (40, 43, "late_events")
    assert (change.count_before, change.count_after) == (1, 2)
    assert (change.event_count, change.event_ids) == (1, [f"{METER}:late"])
    async with cast.ann.ctx() as ctx:
        events = await audit_log.list_events(ctx, AuditFilter(action="usage.changed"), limit=5)
    assert [event.before["quantity"] for event in events.rows] == ["40", "0"]


async def test_first_event_of_a_past_hour_is_a_change_of_it(cast: Cast) -> None:
    await record(cast.ann, "late", OLD_HOUR, quantity=3)
    await roll_up(cast.ann)
    assert [(change.quantity_before, change.quantity_after) for change in await list_changes(cast.ann)] == [
        (0, 3)
    ]


async def test_event_of_the_running_hour_changes_nothing_closed(cast: Cast) -> None:
    for key in ("a", "b"):
        await record(cast.ann, key, now())
        await roll_up(cast.ann)
    assert await list_changes(cast.ann) == []


async def test_checksum_finds_an_aggregate_that_is_not_that_of_its_events(cast: Cast) -> None:
    for number in range(3):
        await record(cast.ann, f"k{number}", OLD_HOUR + number * HOUR)
    await roll_up(cast.ann)
    span: dict[str, Any] = {"since": OLD_HOUR - HOUR, "until": now(), "aggregation": Aggregation.SUM}
    async with cast.ann.ctx() as ctx:
        assert await change_repository.list_differing_hours(ctx, METER, **span) == (3, [])
        (window, *_) = await list_windows(ctx, METER, WindowSize.HOUR, since=OLD_HOUR - HOUR, until=now())
        window.checksum += 1
        ctx.session.add(window)
        await ctx.session.flush()
        _, differing = await change_repository.list_differing_hours(ctx, METER, **span)
    assert [hour.astimezone(UTC) for hour in differing] == [OLD_HOUR]


async def test_as_of_is_the_time_of_the_oldest_event_that_is_not_added_up(cast: Cast) -> None:
    query = UsageQuery(since=OLD_HOUR, until=now(), meter=METER)
    before = now()
    await record(cast.ann, "k", OLD_HOUR)
    between = now()
    await record(cast.ann, "newer", OLD_HOUR)
    async with cast.ann.ctx() as ctx:
        assert before <= (await usage_reports.get_report(ctx, query)).as_of <= between
    await roll_up(cast.ann)
    async with cast.ann.ctx() as ctx:
        assert (await usage_reports.get_report(ctx, query)).as_of > between


async def test_roll_up_of_all_tenants_reaches_each_that_has_marks(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        await record(person, "k", OLD_HOUR, quantity=2)
    await rollups.roll_up_all()
    assert [await get_total(person) for person in (cast.ann, cast.gil)] == [2, 2]


def forget_open_usage() -> None:
    """Of earlier tests."""
    superuser = database.connect()
    superuser.execute("delete from usage_mark")
    superuser.execute("update usage_window set closed_at = now() where closed_at is null")


async def test_tenant_whose_roll_up_fails_stops_no_other_and_is_not_tried_again_at_once(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_open_usage()
    for person in (cast.ann, cast.gil):
        await record(person, "k", OLD_HOUR, quantity=2)
    roll_up_one, failing = rollups.roll_up, {cast.acme}

    async def fail_for_some(ctx: Ctx) -> bool:
        if ctx.tenant_id in failing:
            raise ZeroDivisionError
        return await roll_up_one(ctx)

    monkeypatch.setattr(rollups, "roll_up", fail_for_some)
    for tenants_at_once in (2, 1):
        monkeypatch.setattr(rollups, "TENANTS_AT_ONCE", tenants_at_once)
        left = await rollups.roll_up_all()
    assert [await get_total(person) for person in (cast.ann, cast.gil)] == [0, 2]
    assert left == 0


@pytest.mark.parametrize("state", ["suspended", "deleted"])
async def test_usage_from_before_a_suspension_or_deletion_is_added_up_and_billed(
    cast: Cast, state: str
) -> None:
    forget_open_usage()
    await record(cast.ann, "k", OLD_HOUR, quantity=2_500)
    superuser = database.connect()
    superuser.execute("update tenant set state = %s where id = %s", [state, cast.acme])
    async with db.transaction() as session:
        assert await list_open_tenants(session, now(), 5) == [cast.acme]
    await rollups.roll_up_all()
    rows = superuser.execute(
        "select quantity from billing_usage where tenant_id = %s", [cast.acme]
    ).fetchall()
    assert [row[0] for row in rows] == [2]
    async with db.transaction() as session:
        assert await list_open_tenants(session, now(), 5) == [], "nothing is left to do"


async def test_hour_stays_open_until_all_its_marks_are_taken(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage of the worker, events that came in time would be called late."""
    in_time = "update usage_event set recorded_at = occurred_at"
    await record(cast.ann, "before the outage", OLD_HOUR)
    superuser = database.connect()
    superuser.execute(in_time)
    await roll_up(cast.ann)
    superuser.execute("update usage_window set closed_at = null")
    monkeypatch.setattr(rollups, "MARKS_AT_ONCE", 2)
    for key, at in (("a", OLD_HOUR - HOUR), ("b", OLD_HOUR - HOUR), ("c", OLD_HOUR)):
        await record(cast.ann, key, at)
    superuser.execute(in_time)
    async with cast.ann.ctx() as ctx:
        assert await rollups.roll_up(ctx)
        assert not await rollups.roll_up(ctx)
    assert (await get_total(cast.ann), await list_changes(cast.ann)) == (4, [])


async def test_running_month_is_not_recomputed_with_every_batch_and_is_exact_at_its_close(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now()
    month = months.get_month(at)

    async def get_month_window() -> UsageWindow:
        async with cast.ann.ctx() as ctx:
            (window,) = await list_windows(
                ctx,
                "active_users",
                WindowSize.MONTH,
                since=month,
                until=months.get_next_month(month),
            )
        return window

    for subject in ("a", "b"):
        await record(cast.ann, subject, at, meter="active_users", subject=subject)
        await roll_up(cast.ann)
    assert (await get_month_window()).quantity == 1
    monkeypatch.setattr(rollups, "now", lambda: months.get_next_month(month) + HOUR)
    await roll_up(cast.ann)
    window = await get_month_window()
    assert window.quantity == 2
    assert window.closed_at is not None
    assert await list_changes(cast.ann) == []


async def test_roll_up_does_not_wait_for_another_one_of_the_tenant(cast: Cast) -> None:
    await record(cast.ann, "k", OLD_HOUR)
    async with cast.ann.ctx() as ctx:
        await rollups.roll_up(ctx)
        async with asyncio.timeout(1):
            async with cast.max.ctx() as other_ctx:
                assert not await rollups.roll_up(other_ctx)


async def test_month_whose_events_are_gone_is_not_recomputed(cast: Cast) -> None:
    """It would become nothing, and the organisation would get its usage for free."""
    old_month = months.get_month(now() - timedelta(days=500))
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid, match="are gone"):
            await rollups.recompute_month(ctx, METER, old_month)


@pytest.mark.parametrize(
    ("at", "next_month"),
    [(datetime(2026, 1, 31, 23, tzinfo=UTC), 2), (datetime(2026, 12, 1, tzinfo=UTC), 1)],
)
def test_next_month_begins_on_its_first_day(at: datetime, next_month: int) -> None:
    end = months.get_next_month(months.get_month(at))
    assert (end.month, end.day, end.hour) == (next_month, 1, 0)
