"""Usage: events that count once, in batches, and a month that is added up again.

`usage/ingest` compares the product's statement (row security, keys, marks) with COPY into a table with the same key, one
transaction a batch; its control sends the events one by one. `usage/rollup` compares recomputing a month with one GROUP BY
over its events; its control recomputes each hour by itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import LiteralString

import psycopg

from shared.core import db
from shared.metering import event_repository, months, rollup_repository, rollups
from shared.metering.items import UsageItem
from shared.tenancy import entry
from tests.bench import databases
from tests.bench.audit import add_tenant
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.support import database

METER = "usage_events"
MONTH = datetime(2026, 7, 1, tzinfo=UTC)
ROWS = {  # what is measured, what it is compared with, and the control
    "usage/ingest": ("batches", "copy", "single"),
    "usage/rollup": ("month", "group-by", "by-hour"),
}
BARE: LiteralString = """
create table bare_event (tenant_id text collate "C", id text collate "C", meter text, occurred_at timestamptz,
    quantity numeric, primary key (tenant_id, id));
grant select, insert on bare_event to bulkhead_app
"""
COPY: LiteralString = "copy bare_event (tenant_id, id, meter, occurred_at, quantity) from stdin"
GROUP_BY: LiteralString = """
select date_trunc('hour', occurred_at, 'UTC'), sum(quantity), count(*) from usage_event
where tenant_id = %s and meter = %s and occurred_at >= %s and occurred_at < %s group by 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Batches and their events, events sent one by one, and events of the month."""

    batches: int
    batch: int
    single: int
    month: int


FULL = Size(batches=20, batch=1_000, single=300, month=1_000_000)
TINY = Size(batches=2, batch=20, single=5, month=200)


@dataclass
class UsageTimings:
    """Microseconds of an event, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        ours, peer, control = ROWS[goal.control_of or goal.name]
        names = (control if goal.control_of else ours, peer)
        return Result(goal, ratios(*([timings[name] for timings in counted(self.rounds)] for name in names)))


def measure(options: Options) -> UsageTimings:
    size, timings = TINY if options.tiny else FULL, UsageTimings()
    with ExitStack() as stack:
        name = stack.enter_context(databases.built("usage"))
        database.do_not_wait_for_disk(name)
        with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
            superuser.execute(BARE)
        month_tenant = add_tenant(name)
        asyncio.run(_in_loop(_fill_month(month_tenant, size)))
        with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
            superuser.execute("vacuum analyze usage_event, usage_window")
        for number in options.numbered("usage"):
            timings.rounds.append(asyncio.run(_in_loop(_measure_round(name, size, month_tenant, number))))
    return timings


async def _in_loop(work: Awaitable[dict[str, float]]) -> dict[str, float]:
    """Closes what this event loop has opened."""
    try:
        return await work
    finally:
        await db.dispose()


async def _measure_round(name: str, size: Size, month_tenant: str, number: int) -> dict[str, float]:
    tenant_id = add_tenant(name)
    batches = [_build_items(size.batch, f"b{part}") for part in range(size.batches)]
    singles = [_build_items(1, f"s{part}") for part in range(size.single)]
    timings = {
        "copy": await _time(lambda: _copy(tenant_id, batches), size.batches * size.batch),
        "batches": await _time(lambda: _ingest(tenant_id, batches), size.batches * size.batch),
        "single": await _time(lambda: _ingest(tenant_id, singles), size.single),
        "group-by": await _time(lambda: _group_by(month_tenant, size), size.month),
        "month": await _time(lambda: _recompute(month_tenant), size.month),
        "by-hour": await _time(lambda: _recompute_by_hour(month_tenant), size.month),
    }
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        repeated = await event_repository.add_events(ctx, batches[0])
    if repeated:
        raise Broken(f"round {number}: {len(repeated)} repeated events were counted again")
    return timings


async def _time(work: Callable[[], Awaitable[None]], count: int) -> float:
    """Microseconds of one event."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) / count * 1e6


def _build_items(count: int, name: str) -> list[UsageItem]:
    return [
        UsageItem(
            meter=METER,
            key=f"{name}-{number}",
            quantity=Decimal(number % 100),
            occurred_at=MONTH + timedelta(seconds=number * 7),
        )
        for number in range(count)
    ]


async def _ingest(tenant_id: str, batches: list[list[UsageItem]]) -> None:
    for batch in batches:
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            if len(await event_repository.add_events(ctx, batch)) != len(batch):
                raise Broken("new events were taken for repeated ones")


async def _copy(tenant_id: str, batches: list[list[UsageItem]]) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url("app")) as connection:
        for batch in batches:
            async with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                for item in batch:
                    await copy.write_row((tenant_id, item.id, item.meter, item.occurred_at, item.quantity))
            await connection.commit()


async def _fill_month(tenant_id: str, size: Size) -> dict[str, float]:
    seconds = (months.get_next_month(MONTH) - MONTH).total_seconds()
    for first in range(0, size.month, 5_000):
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            items = [
                UsageItem(
                    meter=METER,
                    key=f"m{number}",
                    quantity=Decimal(number % 100),
                    occurred_at=MONTH + timedelta(seconds=seconds * number / size.month),
                )
                for number in range(first, min(first + 5_000, size.month))
            ]
            await event_repository.add_events(ctx, items)
    await _recompute(tenant_id)
    return {}


async def _group_by(tenant_id: str, size: Size) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url("app")) as connection:
        await connection.execute("select set_config('app.tenant_id', %s, true)", [tenant_id])
        cursor = await connection.execute(GROUP_BY, [tenant_id, METER, MONTH, months.get_next_month(MONTH)])
        if sum(row[2] for row in await cursor.fetchall()) != size.month:
            raise Broken("the month doesn’t have its events")


async def _recompute(tenant_id: str) -> None:
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        await rollups.recompute_month(ctx, METER, MONTH)


async def _recompute_by_hour(tenant_id: str) -> None:
    """Each in a transaction of its own, as for a mark of each event."""
    hour = MONTH
    while hour < months.get_next_month(MONTH):
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            await rollup_repository.lock_rollup(ctx)
            windows = rollups.build_windows([(METER, hour)])
            await rollup_repository.recompute_windows(ctx, windows, rollups.METERS[METER].aggregation)
        hour += rollups.HOUR
