"""Limits: one event that is counted under a limit, and a counter that sixteen clients ask at once.

`quota/record` compares an event of our own code under a hard limit with one INSERT in the same kind of transaction; its
control adds up the month's events each time, as without a counter. `quota/hot` compares the leases of a hot counter with
an UPDATE of one row from as many clients; its control reserves each unit by itself.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import LiteralString

import psycopg
from sqlalchemy import text

from shared.core import db
from shared.core.context import Ctx, Limit
from shared.core.db import now
from shared.metering import allowances, call_counts, event_repository, quotas, reservations, rollups, usage
from shared.metering.allowances import Allowance
from shared.metering.items import UsageItem
from shared.tenancy import entry
from tests.bench import databases
from tests.bench.audit import add_tenant
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, ratios
from tests.support import database

METER, CALLS = "usage_events", call_counts.METER
CLIENTS = 16
RECORD_INTERVAL_S = 0.5  # in the product it is two seconds
AMOUNT = 1_000_000_000
ROWS = {  # what is measured, what it is compared with, and the control
    "quota/record": ("record", "insert", "recount"),
    "quota/hot": ("leased", "update", "unleased"),
}
BARE: LiteralString = """
create table bare_row (tenant_id text collate "C", id text collate "C", meter text, occurred_at timestamptz,
    quantity numeric, primary key (tenant_id, id));
create table bare_counter (id text primary key, used numeric not null) with (fillfactor = 50);
insert into bare_counter values ('hot', 0);
grant select, insert on bare_row to bulkhead_app;
grant select, update on bare_counter to bulkhead_app
"""
INSERT = text("insert into bare_row values (:tenant_id, :id, :meter, :occurred_at, :quantity)")
UPDATE: LiteralString = (
    "update bare_counter set used = used + 1 where id = 'hot' and used < 1e18 returning used"
)
SUM = text("""
    select sum(quantity) from usage_event
    where tenant_id = :tenant_id and meter = :meter and occurred_at >= :since and occurred_at < :until
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Events of our own code, those that the month has already, and calls of each client."""

    records: int
    month: int
    leased: int
    single: int


FULL = Size(records=300, month=50_000, leased=2_000, single=60)
TINY = Size(records=3, month=20, leased=20, single=2)


@dataclass
class QuotaTimings:
    """Microseconds of an event or a call, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        measured, peer, control = ROWS[goal.control_of or goal.name]
        name = control if goal.control_of else measured
        figures = [[timings[column] for timings in counted(self.rounds)] for column in (name, peer)]
        return Result(goal, ratios(*(figures[::-1] if goal.faster else figures)))


def measure(options: Options) -> QuotaTimings:
    size, timings = TINY if options.tiny else FULL, QuotaTimings()
    with ExitStack() as stack:
        name = stack.enter_context(databases.built("quotas"))
        database.do_not_wait_for_disk(name)
        with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
            superuser.execute(BARE)
        for number in options.numbered("quotas"):
            timings.rounds.append(asyncio.run(_measure_round(add_tenant(name), size, number)))
    return timings


async def _measure_round(tenant_id: str, size: Size, number: int) -> dict[str, float]:
    """Closes what this event loop has opened."""
    reservations.forget_all()
    try:
        await _fill_month(tenant_id, size)
        figures = {
            "insert": await _time(lambda: _insert(tenant_id, size.records), size.records),
            "record": await _time(lambda: _record(tenant_id, size.records), size.records),
            "recount": await _time(lambda: _recount(tenant_id, size.records), size.records),
            "update": await _measure_updates(size.single),
            "leased": await _time(lambda: _reserve(tenant_id, size.leased), size.leased * CLIENTS),
            "unleased": await _time(lambda: _reserve_singly(tenant_id, size.single), size.single * CLIENTS),
        }
        await _check_used(tenant_id, size, number)
    finally:
        await db.dispose()
    return figures


async def _time(work: Callable[[], Awaitable[None]], count: int) -> float:
    """Microseconds of one."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) / count * 1e6


async def _fill_month(tenant_id: str, size: Size) -> None:
    at = now()
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        items = [
            UsageItem(meter=METER, key=f"m{number}", quantity=Decimal(1), occurred_at=at)
            for number in range(size.month)
        ]
        for first in range(0, size.month, 5_000):
            await event_repository.add_events(ctx, items[first : first + 5_000])
        while await rollups.roll_up(ctx):
            pass
    for meter in (METER, CALLS):  # makes the counters
        await reservations.reserve(tenant_id, _build_allowance(meter), Decimal(1))


def _limit(ctx: Ctx) -> Ctx:
    """With a hard limit, whatever the plan has."""
    limits = {**ctx.rights.limits, METER: Limit(AMOUNT)}
    return replace(ctx, rights=replace(ctx.rights, limits=limits))


def _build_allowance(meter: str) -> Allowance:
    return Allowance(key=allowances.build_month_key(meter, now()), amount=Decimal(AMOUNT), is_hard=True)


async def _insert(tenant_id: str, count: int) -> None:
    for number in range(count):
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            values = {
                "tenant_id": tenant_id,
                "id": f"i{number}",
                "meter": METER,
                "occurred_at": now(),
                "quantity": 1,
            }
            await (await ctx.session.connection()).execute(INSERT, values)


async def _record(tenant_id: str, count: int) -> None:
    for number in range(count):
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            if not await usage.record(_limit(ctx), METER, f"r{number}"):
                raise Broken("a new event was taken for a repeated one")


async def _recount(tenant_id: str, count: int) -> None:
    month = allowances.build_month_key(METER, now())
    values = {"tenant_id": tenant_id, "meter": METER, "since": month.starts_at, "until": month.ends_at}
    for number in range(count):
        async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
            used = (await (await ctx.session.connection()).execute(SUM, values)).scalar_one()
            if used < AMOUNT:
                item = UsageItem(meter=METER, key=f"c{number}", quantity=Decimal(1), occurred_at=now())
                await event_repository.add_events(ctx, [item])


async def _measure_updates(count: int) -> float:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                await psycopg.AsyncConnection.connect(db.login_url("app"), autocommit=True)
            )
            for _ in range(CLIENTS)
        ]

        async def update(client: psycopg.AsyncConnection[tuple[Decimal]]) -> None:
            for _ in range(count):
                await client.execute(UPDATE)

        async def update_all() -> None:
            await asyncio.gather(*(update(client) for client in clients))

        return await _time(update_all, count * CLIENTS)


async def _reserve(tenant_id: str, count: int) -> None:
    """As calls of the API do: from a lease, or else one by one; what was handed out is recorded meanwhile."""
    allowance = _build_allowance(CALLS)

    async def take() -> None:
        for _ in range(count):
            hold = await reservations.reserve_leased(tenant_id, allowance, Decimal(1))
            if hold is None:
                hold = await reservations.reserve(tenant_id, allowance, Decimal(1), is_used=True)
            call_counts.add_call(tenant_id, now(), [hold])

    async def record() -> None:
        while True:
            await asyncio.sleep(RECORD_INTERVAL_S)
            await call_counts.record_calls()

    recording = asyncio.create_task(record())
    await asyncio.gather(*(take() for _ in range(CLIENTS)))
    recording.cancel()
    await asyncio.gather(recording, return_exceptions=True)
    for _ in range(2):  # what waited for a recording that was interrupted
        await call_counts.record_calls()


async def _reserve_singly(tenant_id: str, count: int) -> None:
    allowance = _build_allowance(METER)

    async def take() -> None:
        for _ in range(count):
            await reservations.reserve(tenant_id, allowance, Decimal(1), is_used=True)

    await asyncio.gather(*(take() for _ in range(CLIENTS)))


async def _check_used(tenant_id: str, size: Size, number: int) -> None:
    """What was recorded under the limit is in its counter."""
    async with entry.enter_job(tenant_id, "bench", "bench") as ctx:
        used = {quota.meter: quota.used for quota in await quotas.list_quotas(_limit(ctx), [METER, CALLS])}
    # Events that the control adds count in no counter.
    expected = {METER: size.month + size.records + size.single * CLIENTS, CALLS: size.leased * CLIENTS}
    if used != expected:
        raise Broken(f"round {number}: {used} were counted of {expected}")
