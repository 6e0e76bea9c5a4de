"""Workers for tests: one in this process that empties the queue, and real child processes that die by kill -9.

A child runs the platform's own worker until it kills itself, as a lost machine would. DEATH says where: "step:KEY:WHEN" in
a step of provisioning, or "task:NAME:WHEN" in a job; WHEN is "before" the work, "inside" (done, not yet written down), or
"committed" (written down, but the queue does not know).
"""

import asyncio
import dataclasses
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from shared.billing import provider_registry
from shared.billing.models import PLATFORM
from shared.core import db, log
from shared.core.context import Ctx
from shared.jobs import worker
from shared.tenancy import entry, provisioning
from tests.support import database, example_tasks, forked
from tests.support.billing.scripted_provider import FakeProvider

CRASH_MOMENTS = ("before", "inside", "committed")
MAX_CONNECTIONS = 2  # a run is over in moments: opening more takes longer than waiting for one
Handler = Callable[..., Awaitable[None]]


def clear_queue(name: str) -> None:
    """Delete the jobs of other tests."""
    database.connect(name).execute("truncate procrastinate_jobs, procrastinate_events cascade")


def list_jobs(name: str, *, due: bool = False) -> list[tuple[str, str]]:
    """Task and status of every job; with `due`, without jobs that wait for their next attempt."""
    rows = database.connect(name).execute(
        "select task_name, status::text from procrastinate_jobs"
        " where not %s or scheduled_at is null or scheduled_at <= now() + interval '10 minutes' order by id",
        [due],
    )
    return rows.fetchall()


def make_jobs_due(name: str) -> None:
    """Make the jobs due that wait for their next attempt."""
    database.connect(name).execute("update procrastinate_jobs set scheduled_at = null where status = 'todo'")


async def run_until_killed(death: str) -> None:
    """Run the queue in a child process, which must kill itself at `death`."""
    child = await asyncio.to_thread(forked.run, _run_until_death, death, environment={})
    assert child.returncode == -signal.SIGKILL, child.output[-2000:]
    _age_heartbeats()


def _age_heartbeats() -> None:
    """Make every heartbeat an hour old, so that the queue treats the killed worker as lost at once."""
    database.connect().execute("update procrastinate_workers set last_heartbeat = now() - interval '1 hour'")


async def run_until_done(name: str) -> None:
    """Run jobs until none is left, including those of killed workers."""
    for _ in range(60):
        await run_due_jobs()
        if not [task for task, status in list_jobs(name, due=True) if status in ("todo", "doing")]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not finished: {list_jobs(name)}")


async def run_due_jobs(tasks: dict[str, Handler] | None = None) -> None:
    """Run the jobs that are due."""
    worker.HEARTBEAT_SECONDS, worker.MAX_CONNECTIONS = 0.5, MAX_CONNECTIONS
    tenant_tasks = tasks or {**worker.list_tenant_tasks(), **example_tasks.TASKS}
    await worker.run(tenant_tasks, worker.list_platform_tasks(), entry.enter_job, wait=False)


async def run_until_failed(name: str) -> int:
    """Run the one job of the queue with a single attempt, which must fail. Returns the job's id."""
    retry = worker.RETRY
    worker.RETRY = worker.JobRetryPolicy(max_attempts=1, wait=0)
    try:
        await run_until_done(name)
    finally:
        worker.RETRY = retry
    rows = database.connect(name).execute("select id, status::text from procrastinate_jobs")
    ((job_id, status),) = rows.fetchall()
    assert status == "failed"
    return int(job_id)


def _kill_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wrap_deadly(work: Handler, when: str) -> Handler:
    async def deadly(ctx: Ctx, **ids: Any) -> None:
        if when == "before":
            _kill_process()
        await work(ctx, **ids)
        if when == "inside":
            await ctx.session.flush()
            _kill_process()
        if when == "committed":
            ctx.session.info["deadly"] = True

    return deadly


@asynccontextmanager
async def _enter_deadly_job(tenant_id: str, task: str, request_id: str) -> AsyncIterator[Ctx]:
    info: dict[Any, Any] = {}
    async with entry.enter_job(tenant_id, task, request_id) as ctx:
        info = ctx.session.info
        yield ctx
    if info.get("deadly"):
        _kill_process()


def _run_until_death(death: str) -> None:
    log.configure("ERROR")
    db.log_in_as_worker()
    worker.HEARTBEAT_SECONDS, worker.MAX_CONNECTIONS = 0.5, MAX_CONNECTIONS
    provider_registry.register(PLATFORM, FakeProvider())
    tasks: dict[str, Handler] = {**worker.list_tenant_tasks(), **example_tasks.TASKS}
    kind, key, when = death.split(":")
    if kind == "step":
        step = provisioning._STEPS_BY_KEY[key]
        provisioning._STEPS_BY_KEY[key] = dataclasses.replace(step, run=_wrap_deadly(step.run, when))
    else:
        tasks[key] = _wrap_deadly(tasks[key], when)

    async def work() -> None:
        for _ in range(20):  # a worker that does not wait leaves what its last job promised
            await worker.run(tasks, worker.list_platform_tasks(), _enter_deadly_job, wait=False)

    asyncio.run(work())
