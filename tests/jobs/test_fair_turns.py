"""Tenants take turns in each lane: a flood of one delays another by a few jobs, whatever its length."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
from procrastinate.manager import JobManager

from shared.core.context import Ctx
from shared.core.ids import new_id
from shared.jobs import fair_turns, queue, signatures, worker
from shared.jobs.fair_turns import FairJobManager, LaneTurns
from shared.jobs.lanes import SLOTS, Lane
from tests.conftest import Cast
from tests.support import sizes, workers
from tests.support.database import admin_url

TASK = "tests.note"


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    yield schema
    workers.clear_queue(schema)


def add_jobs(
    name: str, tenant_ids: Sequence[str], *, lane: Lane = Lane.WORK, sequence: Callable[[str], str | None]
) -> None:
    """One job for each of them, in this order, signed as ours are."""
    rows = [
        (lane.value, TASK, sequence(tenant_id), json.dumps(signatures.sign(TASK, {"tenant_id": tenant_id})))
        for tenant_id in tenant_ids
    ]
    with psycopg.connect(admin_url(name), autocommit=True) as connection:
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name, lock, args, priority)"
            " select q, t, l, a::jsonb, 0 from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) as x (q, t, l, a)",
            [list(column) for column in zip(*rows, strict=True)],
        )


@asynccontextmanager
async def enter_nothing(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    yield None  # type: ignore[misc]  # the jobs of these tests read nothing


async def run_jobs(until: str) -> list[str]:
    """Tenants in the order in which their jobs began, up to the first job of `until`, or all without it."""
    order = list[str]()
    is_done = asyncio.Event()

    @asynccontextmanager
    async def enter(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
        order.append(tenant_id)
        if tenant_id == until:
            is_done.set()
        async with enter_nothing(tenant_id, task, request_id) as ctx:
            yield ctx

    async def do_nothing(ctx: Ctx) -> None:
        await asyncio.sleep(0)

    workers_run = asyncio.create_task(worker.run({TASK: do_nothing}, {}, enter, wait=False))
    waiting = asyncio.create_task(is_done.wait())
    await asyncio.wait({workers_run, waiting}, return_when=asyncio.FIRST_COMPLETED)
    workers_run.cancel()
    waiting.cancel()
    await asyncio.gather(workers_run, waiting, return_exceptions=True)
    return order


@pytest.mark.parametrize("ordered", [False, True], ids=["unordered", "in sequence"])
async def test_one_job_of_a_quiet_tenant_runs_within_the_slots_of_the_lane(
    cast: Cast, empty_queue: str, ordered: bool
) -> None:
    flood = [cast.acme] * max(1_000, sizes.size("jobs.flood"))
    add_jobs(empty_queue, [*flood, cast.globex], sequence=lambda tenant_id: tenant_id if ordered else None)
    order = await run_jobs(until=cast.globex)
    assert order.index(cast.globex) <= SLOTS[Lane.WORK]


async def test_without_turns_a_quiet_tenant_waits_for_the_whole_flood(
    cast: Cast, empty_queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: jobs in the order in which they were enqueued."""
    monkeypatch.setattr(FairJobManager, "fetch_job", JobManager.fetch_job)
    flood = [cast.acme] * sizes.size("jobs.flood")
    add_jobs(empty_queue, [*flood, cast.globex], sequence=lambda _: None)
    order = await run_jobs(until=cast.globex)
    assert order.index(cast.globex) == len(flood)


async def test_each_of_many_flooding_tenants_delays_a_quiet_one_by_one_turn(
    cast: Cast, empty_queue: str
) -> None:
    flooding = [new_id("ten") for _ in range(20)]
    add_jobs(empty_queue, [*flooding * 30, cast.globex], sequence=lambda _: None)
    order = await run_jobs(until=cast.globex)
    assert order.index(cast.globex) <= len(flooding) + SLOTS[Lane.WORK]


async def test_jobs_of_the_platform_come_between_two_tenants(cast: Cast, empty_queue: str) -> None:
    add_jobs(empty_queue, [cast.acme] * 6, sequence=lambda _: None)
    lane_turns = LaneTurns(4)
    lane_turns.begin(cast.acme)
    assert lane_turns.find_first() == fair_turns.PLATFORM
    lane_turns.begin(fair_turns.PLATFORM)
    assert lane_turns.find_first() is None


async def test_all_jobs_run_once_and_those_of_a_sequence_in_their_order(cast: Cast, empty_queue: str) -> None:
    tenants = [cast.acme, cast.globex] * 10
    add_jobs(empty_queue, tenants, sequence=lambda tenant_id: tenant_id)
    add_jobs(empty_queue, tenants, sequence=lambda _: None)
    order = await run_jobs(until="")
    assert (order.count(cast.acme), order.count(cast.globex)) == (20, 20)
    assert workers.list_jobs(empty_queue) == []


async def test_one_tenant_leaves_a_slot_of_each_lane_to_others(cast: Cast, empty_queue: str) -> None:
    """Jobs that take long: those of one tenant run beside each other, but never in the last slot."""
    running, most = 0, 0
    gate = asyncio.Event()

    async def hold(ctx: Ctx) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    add_jobs(empty_queue, [cast.acme] * 8, sequence=lambda _: None)
    run = asyncio.create_task(worker.run({TASK: hold}, {}, enter_nothing, wait=False))
    for _ in range(300):
        await asyncio.sleep(0.01)
        if running == SLOTS[Lane.WORK] - 1:
            break
    add_jobs(empty_queue, [cast.globex], sequence=lambda _: None)
    for _ in range(300):
        await asyncio.sleep(0.01)
        if running == SLOTS[Lane.WORK]:
            break
    with psycopg.connect(admin_url(empty_queue), autocommit=True) as connection:
        running_jobs = (
            "select args ->> 'tenant_id', count(*) from procrastinate_jobs where status = 'doing' group by 1"
        )
        states = dict(connection.execute(running_jobs).fetchall())
    gate.set()
    await run
    assert states == {cast.acme: SLOTS[Lane.WORK] - 1, cast.globex: 1}
    assert most == SLOTS[Lane.WORK]


async def test_failing_jobs_delay_neither_others_nor_their_own_tenant(cast: Cast, empty_queue: str) -> None:
    """Each attempt of the failing ones is retried later; what was added after them runs at once."""
    finished = list[str]()

    async def fail_for_acme(ctx: Ctx, *, key: str = "") -> None:
        if not key:
            raise ZeroDivisionError
        finished.append(key)

    add_jobs(empty_queue, [cast.acme] * 40, sequence=lambda _: None)
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, TASK, ordered=False, key="acme")
    async with cast.gil.ctx() as ctx:
        await queue.put(ctx, TASK, key="globex")
    await worker.run({TASK: fail_for_acme}, {}, enter_nothing, wait=False)
    assert sorted(finished) == ["acme", "globex"]
    assert workers.list_jobs(empty_queue, due=True) == [(TASK, "todo")] * 40
