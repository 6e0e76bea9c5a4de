"""SQL of the queue that only the worker needs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.ids import new_id
from shared.jobs.lanes import Lane

RECORD_FAILURE = text("""
    insert into job_failure (job_id, error) values (:job_id, :error)
    on conflict (job_id) do update set error = excluded.error, failed_at = now()
""")
MOVE_TO_LANE = text("""
    update procrastinate_jobs set queue_name = :lane, lock = nullif(lock, args ->> 'tenant_id')
    where status = 'todo' and queue_name = :first and :lane <> :first and task_name = any(:tasks)
""")

# Jobs that were queued before the upgrade to signatures, with what they were queued with (migration 0007).
IS_ACCEPTED_UNSIGNED = text("""
    select exists (select from unsigned_job where job_id = :job_id and task_name = :task and args = cast(:args as jsonb))
        or exists (select from job_signing where unsigned_until > now())
""")
RECORD_FORGED_JOB = text("select record_security_event(:id, 'job_forged', :tenant_id, :task, :request_id)")
LIST_SIGNED_JOBS = text(
    "select id, task_name, args from procrastinate_jobs where args ? 'signature' order by id"
)
REPLACE_ARGUMENTS = text("""
    update procrastinate_jobs set args = cast(:args as jsonb) where id = :job_id and args = cast(:previous as jsonb)
""")
# For procrastinate's own connections, which take parameters in this form. One row, whose id is null without a job.
FETCH_JOB = """
    select j.id, j.status, j.task_name, j.priority, j.lock, j.queueing_lock, j.args, j.scheduled_at, j.queue_name,
        j.attempts, j.worker_id
    from (select) one left join lateral
        fetch_fair_job(%(lane)s, %(worker_id)s, %(first)s::text, %(after)s, %(skipped)s::text[]) j on true
"""
Arguments = Mapping[str, Any]


async def record_failure(session: AsyncSession, job_id: int, error: str) -> None:
    connection = await session.connection()
    await connection.execute(RECORD_FAILURE, {"job_id": job_id, "error": error})


async def move_to_lane(session: AsyncSession, lane: Lane, tasks: Sequence[str]) -> None:
    """Move waiting jobs of these tasks out of the first lane, and out of the sequence of their tenant."""
    connection = await session.connection()
    await connection.execute(MOVE_TO_LANE, {"lane": lane, "first": Lane.WORK, "tasks": list(tasks)})


async def is_accepted_unsigned(
    session: AsyncSession, job_id: int | None, task: str, arguments: Arguments
) -> bool:
    """True for a job from before the upgrade, and for all of them for one hour after it."""
    connection = await session.connection()
    values = {"job_id": job_id, "task": task, "args": json.dumps(arguments)}
    return bool((await connection.execute(IS_ACCEPTED_UNSIGNED, values)).scalar_one())


async def record_forged_job(session: AsyncSession, task: str, tenant_id: str, request_id: str) -> None:
    connection = await session.connection()
    values = {"id": new_id("sec"), "tenant_id": tenant_id, "task": task, "request_id": request_id}
    await connection.execute(RECORD_FORGED_JOB, values)


async def list_signed_jobs(session: AsyncSession) -> list[tuple[int, str, Arguments]]:
    """Id, task and arguments of every job that carries a signature, valid or not."""
    connection = await session.connection()
    return [(row[0], row[1], row[2]) for row in (await connection.execute(LIST_SIGNED_JOBS)).all()]


async def replace_arguments(
    session: AsyncSession, job_id: int, previous: Arguments, arguments: Arguments
) -> bool:
    """False for a job that is gone or has other arguments by now."""
    connection = await session.connection()
    values = {"job_id": job_id, "args": json.dumps(arguments), "previous": json.dumps(previous)}
    return (await connection.execute(REPLACE_ARGUMENTS, values)).rowcount == 1
