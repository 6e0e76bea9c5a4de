"""Months of events: made ahead, and dropped with their keys when these have been kept long enough."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

from shared.core.db import now
from shared.metering import history, rollups, usage, usage_reports
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
    month = rollups.get_month(now())
    for _ in range(4):
        assert f"usage_event_{month:%Y_%m}" in list_partitions()
        month = rollups.get_next_month(month)
    async with cast.ann.ctx() as ctx:
        assert not await usage.record(ctx, "api_calls", "before")
        assert await usage.record(ctx, "api_calls", "after")
        since = now() - timedelta(hours=1)
        page = await usage_reports.list_events(ctx, "api_calls", since, until=now())
    assert [event.key for event in page.rows] == ["after", "before"]


async def test_old_month_is_dropped_with_its_keys_and_no_others(cast: Cast) -> None:
    superuser = database.connect()
    superuser.execute(
        "create table usage_event_2024_03 partition of usage_event for values from ('2024-03-01Z') to ('2024-04-01Z')"
    )
    superuser.execute("alter table usage_event_2024_03 owner to bulkhead_owner")
    for tenant_id, key in ((cast.acme, "old"), (cast.globex, "old")):
        superuser.execute(
            "insert into usage_key values (%s, %s, %s)", [tenant_id, f"api_calls:{key}", OLD_MONTH]
        )
        superuser.execute(
            "insert into usage_event (tenant_id, id, meter, occurred_at, quantity, batch_id, recorded_by)"
            " values (%s, %s, 'api_calls', %s, 1, 'ubt_x', 'usr_x')",
            [tenant_id, f"api_calls:{key}", OLD_MONTH],
        )
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
