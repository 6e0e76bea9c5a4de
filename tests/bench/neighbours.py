"""A quiet tenant beside a hundred that flood the platform together, at twenty times what the process serves.

`neighbour/requests`: p99 of the quiet tenant's transactions, from the time at which each was due, by the p99 without a flood.
Its control takes connections in the order of arrival and refuses nobody. `neighbour/jobs`: jobs that begin before the one of
the quiet tenant, by the number of flooding tenants and slots; its control takes jobs in the order in which they were added.

The flood is made in the same process: the figures name its share of the processor.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from procrastinate.manager import JobManager
from sqlalchemy import text

from shared.core import connection_shares, db, fair_gate, tenant_limits
from shared.core.context import Ctx
from shared.core.errors import DomainError
from shared.core.fair_gate import FairGate
from shared.core.ids import new_id
from shared.jobs import signatures, worker
from shared.jobs.fair_turns import FairJobManager
from shared.jobs.lanes import SLOTS, Lane
from tests.bench import databases
from tests.bench.audit import add_tenant
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result, counted, nearest, ratios, without_warm_up
from tests.support import database

QUIET_PER_SECOND = 60
TICK_SECONDS = 0.005
LIGHT, HEAVY = (
    text("select count(*) from generate_series(1, 500)"),
    text("select count(*) from generate_series(1, 20000)"),
)
ROWS = {"neighbour/requests": ("fair", "quiet", "fifo"), "neighbour/jobs": ("jobs", "turns", "jobs-fifo")}
TASK = "bench.nothing"
Hold = Callable[[str], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    tenants: int  # that flood
    factor: int  # of what the process serves
    samples: int  # of the quiet tenant
    control_samples: int  # each waits for the whole flood
    jobs: int  # of each flooding tenant


FULL = Size(tenants=100, factor=20, samples=1_100, control_samples=30, jobs=100)
TINY = Size(tenants=20, factor=5, samples=12, control_samples=4, jobs=5)


@dataclass
class NeighbourTimings:
    """p99 in ms, and jobs, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        ours, peer, control = ROWS[goal.control_of or goal.name]
        names = (control if goal.control_of else ours, peer)
        return Result(goal, ratios(*([timings[name] for timings in counted(self.rounds)] for name in names)))


def measure(options: Options) -> NeighbourTimings:
    size, timings = TINY if options.tiny else FULL, NeighbourTimings()
    with ExitStack() as stack:
        name = stack.enter_context(databases.built("neighbours"))
        quiet = add_tenant(name)
        flooding = [add_tenant(name) for _ in range(size.tenants)]
        for _ in options.numbered("neighbours"):
            timings.rounds.append(asyncio.run(_measure_round(name, size, quiet, flooding)))
    return timings


async def _measure_round(name: str, size: Size, quiet: str, flooding: list[str]) -> dict[str, float]:
    tenant_limits.clear()
    try:
        capacity = await _measure_capacity(flooding)
        figures = {"capacity": capacity, "quiet": await _measure_quiet(quiet, size.samples, _hold_fairly())}
        phases = (
            ("fair", _hold_fairly(), True, size.samples),
            ("fifo", _hold_in_order(), False, size.control_samples),
        )
        for kind, hold, is_checked, samples in phases:
            flood = Flood(hold, flooding, rate=capacity * size.factor, is_checked=is_checked)
            running = asyncio.create_task(flood.run())
            await asyncio.sleep(0.2)
            figures[kind] = await _measure_quiet(quiet, samples, hold, on_sent=running.cancel)
            await flood.stop(running)
            figures |= {f"{kind}-served": flood.served, f"{kind}-refused": flood.refused}
            figures[f"{kind}-generator-share"] = flood.busy_seconds / flood.seconds
        if size is FULL and not figures["fair-refused"]:
            raise Broken("nothing was refused: the flood did not saturate the process")
        figures["turns"] = size.tenants + SLOTS[Lane.WORK]
        figures["jobs"] = await _count_jobs_before(name, size, quiet, flooding)
        fair_fetch = FairJobManager.fetch_job
        FairJobManager.fetch_job = JobManager.fetch_job  # type: ignore[method-assign]  # the control
        try:
            figures["jobs-fifo"] = await _count_jobs_before(name, size, quiet, flooding)
        finally:
            FairJobManager.fetch_job = fair_fetch  # type: ignore[method-assign]
        return figures
    finally:
        await db.dispose()


def _hold_fairly() -> Hold:
    """The product's own, with a gate that no other phase has used."""
    connection_shares._gate = FairGate(tenant_slots=connection_shares.TENANT_SHARE)
    return connection_shares.hold_tenant_share


def _hold_in_order() -> Hold:
    slots = asyncio.Semaphore(fair_gate.SLOTS)

    @asynccontextmanager
    async def hold(tenant_id: str) -> AsyncIterator[None]:
        async with slots:
            yield

    return hold


async def _work(hold: Hold, tenant_id: str, *, is_light: bool) -> None:
    async with hold(tenant_id), db.transaction(tenant_id=tenant_id) as session:
        connection = await session.connection()
        await connection.execute(LIGHT if is_light else HEAVY)


async def _measure_capacity(tenant_ids: list[str]) -> float:
    """Transactions a second, as many at once as there are slots."""
    hold, seconds, count = _hold_in_order(), 0.5, 0

    async def repeat(tenant_id: str, until: float) -> None:
        nonlocal count
        while time.perf_counter() < until:
            await _work(hold, tenant_id, is_light=False)
            count += 1

    until = time.perf_counter() + seconds
    await asyncio.gather(
        *(repeat(tenant_ids[number % len(tenant_ids)], until) for number in range(fair_gate.SLOTS))
    )
    return count / seconds


async def _measure_quiet(
    tenant_id: str, samples: int, hold: Hold, *, on_sent: Callable[[], object] = lambda: None
) -> float:
    """p99 in ms. One that is refused counts as long as a request may wait. `on_sent`: called after the last one."""
    latencies = list[float]()

    async def send(due: float) -> None:
        try:
            await _work(hold, tenant_id, is_light=True)
        except DomainError:
            latencies.append(connection_shares.WAIT_SECONDS * 1e3)
            return
        latencies.append((time.perf_counter() - due) * 1e3)

    began, tasks = time.perf_counter(), list[asyncio.Task[None]]()
    for number in range(samples):
        due = began + number / QUIET_PER_SECOND
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(send(due)))
    on_sent()
    await asyncio.gather(*tasks)
    return nearest(without_warm_up(latencies), 0.99)


class Flood:
    """Open loop: requests of all flooding tenants in turn, at this rate, whatever becomes of them."""

    def __init__(self, hold: Hold, tenant_ids: list[str], *, rate: float, is_checked: bool) -> None:
        self._hold, self._tenant_ids, self._rate, self._is_checked = hold, tenant_ids, rate, is_checked
        self._tasks = set[asyncio.Task[None]]()
        self.served = self.refused = 0
        self.busy_seconds = self.seconds = 0.0

    async def run(self) -> None:
        began, sent = time.perf_counter(), 0
        while True:
            now = time.perf_counter()
            for number in range(sent, int((now - began) * self._rate)):
                self._send(self._tenant_ids[number % len(self._tenant_ids)])
                sent += 1
            self.busy_seconds += time.perf_counter() - now
            self.seconds = time.perf_counter() - began
            await asyncio.sleep(TICK_SECONDS)

    def _send(self, tenant_id: str) -> None:
        """What the API asks before it reads anything, then the transaction."""
        if self._is_checked:
            try:
                connection_shares.check_tenant_share(tenant_id)
            except DomainError:
                self.refused += 1
                return
        task = asyncio.create_task(self._serve(tenant_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, tenant_id: str) -> None:
        try:
            await _work(self._hold, tenant_id, is_light=False)
            self.served += 1
        except DomainError:
            self.refused += 1

    async def stop(self, running: asyncio.Task[None]) -> None:
        running.cancel()
        tasks = [running, *self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _count_jobs_before(name: str, size: Size, quiet: str, flooding: list[str]) -> float:
    """Jobs of others that begin before the one of the quiet tenant, which was added last."""
    begun, has_begun = list[str](), asyncio.Event()

    @asynccontextmanager
    async def enter(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
        begun.append(tenant_id)
        if tenant_id == quiet:
            has_begun.set()
        yield None  # type: ignore[misc]  # the jobs read nothing

    async def do_nothing(ctx: Ctx) -> None:
        await asyncio.sleep(0)

    _add_jobs(name, [*flooding * size.jobs, quiet])
    work: Awaitable[None] = worker.run({TASK: do_nothing}, {}, enter, wait=False)
    run = asyncio.ensure_future(work)
    ended = asyncio.create_task(has_begun.wait())
    await asyncio.wait({run, ended}, return_when=asyncio.FIRST_COMPLETED)
    run.cancel()
    ended.cancel()
    await asyncio.gather(run, ended, return_exceptions=True)
    if quiet not in begun:
        raise Broken("the job of the quiet tenant never began")
    return begun.index(quiet)


def _add_jobs(name: str, tenant_ids: list[str]) -> None:
    arguments = [
        json.dumps(signatures.sign(TASK, {"tenant_id": tenant_id, "request_id": new_id("req")}))
        for tenant_id in tenant_ids
    ]
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute("truncate procrastinate_jobs, procrastinate_events cascade")
        connection.execute(
            "insert into procrastinate_jobs (queue_name, task_name, args, priority)"
            " select %s, %s, a::jsonb, 0 from unnest(%s::text[]) as a",
            [Lane.WORK.value, TASK, arguments],
        )
