"""Enqueue jobs in the caller's transaction: a job exists only if the transaction commits. Each carries our signature."""

import json
from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import request_ids, tenant_load
from shared.core.context import Ctx
from shared.core.errors import NoTenant, Refused
from shared.core.tenant_weights import get_weight
from shared.jobs import signatures
from shared.jobs.lanes import Lane, lane_of_task

PLATFORM_PREFIX = "platform."
MAX_WAITING_JOBS = 1_000  # of a tenant of weight 1 in one lane
FULL_RETRY_AFTER_S = 30
REQUEST_SURFACES = ("page", "rest", "scim")  # what a job or an operator adds isn't refused
# The function that procrastinate's own `defer` calls, on the caller's connection.
DEFER_JOB = text("""
    select case when :enough > 0 and count_waiting_jobs(:queue, :enough) >= :enough then true
    else procrastinate_defer_jobs_v1(array[
        row(:queue, :task, 0, :lock, null, cast(:args as jsonb), cast(:at as timestamptz))::procrastinate_job_to_defer_v1
    ]) is null end
    where cast(:at as timestamptz) is null or not exists (
        select from procrastinate_jobs where task_name = :task and status = 'todo' and scheduled_at = :at
            and args ->> 'tenant_id' = cast(:args as jsonb) ->> 'tenant_id'
            and args - array['request_id', 'signature'] = cast(:args as jsonb) - array['request_id', 'signature'])
""")

# Jobs in the tenant's sequence, and others that were tried before: those of a suspended tenant. A job with a time keeps it.
WAKE_JOBS = text("""
    update procrastinate_jobs set scheduled_at = null
    where status = 'todo' and (lock = :tenant_id or attempts > 0 and args ->> 'tenant_id' = :tenant_id)
""")
DELETE_WAITING_JOBS = text("delete from procrastinate_jobs where task_name = :task and status = 'todo'")


class QueueFull(Refused):
    """As many jobs of the tenant wait as may wait."""

    def __init__(self, count: int) -> None:
        super().__init__(
            f"Your organisation has {count:,} tasks waiting, which is as many as may wait.",
            f"Try again in {FULL_RETRY_AFTER_S} seconds, when some of them are done.",
            reason="queue_full",
            retry_after=FULL_RETRY_AFTER_S,
        )


async def put(
    ctx: Ctx, task: str, *, at: datetime | None = None, ordered: bool = True, sequence: str = "", **ids: str
) -> None:
    """Enqueue `task`, a name in some module's TASKS, with the tenant and request id of `ctx`.

    Ordered jobs of one tenant run one after another, and a retried job delays the jobs behind it. Jobs with `at` or
    without `ordered` run independently, and so do all jobs that wait for an outside service: those of every lane but
    the first. A job with `at` runs at that time or later, once per tenant, time and `ids`. Jobs of this tenant with the same
    `sequence` run one after another in every lane. Raises NoTenant, QueueFull.
    """
    if not ctx.tenant_id:
        raise NoTenant(f"the job {task} has no tenant")
    args = {"tenant_id": ctx.tenant_id, "request_id": ctx.request_id, **ids}
    in_sequence = ordered and at is None and lane_of_task(task) is Lane.WORK
    lock = f"{ctx.tenant_id}:{sequence}" if sequence else ctx.tenant_id if in_sequence else None
    is_request = ctx.surface in REQUEST_SURFACES and ctx.actor.type not in ("job", "operator")
    enough = MAX_WAITING_JOBS * get_weight(ctx.tenant_id) if is_request else 0
    if await _defer_job(ctx.session, task, lock, args, at, enough=enough):
        tenant_load.count_refused(ctx.tenant_id)
        raise QueueFull(enough)


async def put_platform_job(
    session: AsyncSession, task: str, *, sequence: str = "", at: datetime | None = None, **ids: str
) -> None:
    """Enqueue a job that belongs to no tenant, for users. Its name begins with "platform."; the database checks it too.

    Jobs with the same `sequence` run one after another, in the order in which they were enqueued. A job with `at` runs
    at that time or later. Raises NoTenant.
    """
    if not task.startswith(PLATFORM_PREFIX):
        raise NoTenant(f"the job {task} has no tenant")
    await _defer_job(session, task, sequence or None, {"request_id": request_ids.current(), **ids}, at)


async def put_tenant_job(
    session: AsyncSession, tenant_id: str, task: str, *, sequence: str = "", **ids: str
) -> None:
    """Enqueue a job of one tenant from a platform job, which has entered none.

    Jobs of this tenant with the same `sequence` run one after another. Raises NoTenant.
    """
    if not tenant_id or task.startswith(PLATFORM_PREFIX):
        raise NoTenant(f"the job {task} has no tenant")
    lock = f"{tenant_id}:{sequence}" if sequence else None
    await _defer_job(
        session, task, lock, {"tenant_id": tenant_id, "request_id": request_ids.current(), **ids}
    )


async def wake_jobs(ctx: Ctx) -> None:
    """Make the jobs due that waited while this tenant was suspended."""
    connection = await ctx.session.connection()
    await connection.execute(WAKE_JOBS, {"tenant_id": ctx.tenant_id})


async def join_waiting_jobs(session: AsyncSession, task: str) -> None:
    """Deletes the waiting jobs of a platform task, because the calling one does their work as well.

    For tasks without arguments whose jobs have one `sequence`: none of them may be running beside the caller. Those who
    enqueue can't leave out a job themselves, because only the worker sees the queue. Procrastinate's queueing lock would
    be taken twice where a running job is retried while another one waits.
    """
    connection = await session.connection()
    await connection.execute(DELETE_WAITING_JOBS, {"task": task})


async def _defer_job(
    session: AsyncSession,
    task: str,
    lock: str | None,
    args: dict[str, str],
    at: datetime | None = None,
    *,
    enough: int = 0,
) -> bool:
    """Whether nothing was enqueued because `enough` jobs of the tenant wait already. 0: any number may wait."""
    await session.flush()  # rows that the job reads are written before it
    connection = await session.connection()
    args = signatures.sign(task, args)
    values = {
        "queue": lane_of_task(task),
        "task": task,
        "lock": lock,
        "args": json.dumps(args),
        "at": at,
        "enough": enough,
    }
    return bool((await connection.execute(DEFER_JOB, values)).scalar())
