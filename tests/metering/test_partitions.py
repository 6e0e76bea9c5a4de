"""Months of events: made ahead, and dropped with their keys when these have been kept long enough."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

from shared.core.db import now
from shared.metering import event_repository, history, months, rollups, usage, usage_reports
from shared.metering.items import UsageItem
from tests.conftest import Cast
from tests.support import database

PARTITIONS: LiteralString = "select c.relname from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'usage_event'::regclass"
OLD_MONTH = datetime(2024, 3, 1, tzinfo=UTC)


def list_partitions() -> set[str]:
    return {row[0] for row in database.connect().execute(PARTITIONS)}


async def test_months_ahead_are_made_and_keep_the_events_of_the_running_one(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, "api_calls", "before")
    await rollups.maintain_partitions()
    month = months.get_month(now())
    for _ in range(4):
        assert f"usage_event_{month:%Y_%m}" in list_partitions()
        month = months.get_next_month(month)
    async with cast.ann.ctx() as ctx:
        assert not await usage.record(ctx, "api_calls", "before")
        assert await usage.record(ctx, "api_calls", "after")
        since = now() - timedelta(hours=1)
        page = await usage_reports.list_events(ctx, "api_calls", since, until=now())
    assert [event.key for event in page.rows] == ["after", "before"]


def add_old_month(*tenant_ids: str) -> None:
    """With an event of each tenant, of the key "old"."""
    superuser = database.connect()
    superuser.execute(
        "create table usage_event_2024_03 partition of usage_event for values from ('2024-03-01Z') to ('2024-04-01Z')"
    )
    superuser.execute("alter table usage_event_2024_03 owner to bulkhead_owner")
    for tenant_id in tenant_ids:
        superuser.execute("insert into usage_key values (%s, 'api_calls:old', %s)", [tenant_id, OLD_MONTH])
        superuser.execute(
            "insert into usage_event (tenant_id, id, meter, occurred_at, quantity, batch_id, recorded_by)"
            " values (%s, 'api_calls:old', 'api_calls', %s, 1, 'ubt_x', 'usr_x')",
            [tenant_id, OLD_MONTH],
        )


async def test_old_month_is_dropped_with_its_keys_and_no_others(cast: Cast) -> None:
    add_old_month(cast.acme, cast.globex)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, "api_calls", "new")
    await rollups.maintain_partitions()
    assert "usage_event_2024_03" not in list_partitions()
    async with cast.ann.ctx() as ctx:
        assert not await usage.record(ctx, "api_calls", "new")
        assert await usage.record(ctx, "api_calls", "old")


async def test_old_history_is_deleted_from_the_default_partition_with_its_keys(cast: Cast) -> None:
    at = now()
    items = [
        UsageItem(meter="api_calls", key=key, quantity=Decimal(1), occurred_at=at - timedelta(days=days_ago))
        for key, days_ago in (("kept", 430), ("old", 440))
    ]
    async with cast.ann.ctx() as ctx:
        await history.add_history(ctx, items, is_billed=False)
    await rollups.maintain_partitions()
    async with cast.ann.ctx() as ctx:
        assert [await usage.record(ctx, "api_calls", key) for key in ("kept", "old")] == [False, True]


def test_partitions_are_granted_to_nobody(cast: Cast) -> None:
    """Policies of the parent don't protect them."""
    rows = database.connect().execute(
        "select c.relname from pg_class c where relispartition and relkind = 'r'"
        " and (relacl is not null or not relrowsecurity)"
    )
    assert [row[0] for row in rows] == []


async def test_key_that_was_used_again_stays_when_its_old_month_is_dropped(cast: Cast) -> None:
    """Deleting keys takes several rounds, so a program may use one again before its old month is gone."""
    add_old_month(cast.acme)
    superuser = database.connect()
    superuser.execute("delete from usage_key where tenant_id = %s", [cast.acme])
    async with cast.ann.ctx() as ctx:
        assert await usage.record(ctx, "api_calls", "old")
    await rollups.maintain_partitions()
    async with cast.ann.ctx() as ctx:
        assert not await usage.record(ctx, "api_calls", "old")


async def test_late_events_of_the_months_before_the_first_start_get_their_months(cast: Cast) -> None:
    """In the partition without a month they would be kept for ever."""
    at = months.get_month(now()) - timedelta(hours=1)
    item = UsageItem(meter="usage_events", key="late", quantity=Decimal(1), occurred_at=at)
    async with cast.ann.ctx() as ctx:
        await event_repository.add_events(ctx, [item])
    await rollups.maintain_partitions()
    count = "select count(*) from usage_event_default where tenant_id = %s"
    assert database.connect().execute(count, [cast.acme]).fetchone() == (0,)
    async with cast.ann.ctx() as ctx:
        page = await usage_reports.list_events(ctx, "usage_events", at, until=now())
    assert [event.key for event in page.rows] == ["late"]
