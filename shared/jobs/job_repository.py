"""SQL of the queue that only the worker needs."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.jobs.lanes import Lane

RECORD_FAILURE = text("""
    insert into job_failure (job_id, error) values (:job_id, :error)
    on conflict (job_id) do update set error = excluded.error, failed_at = now()
""")
MOVE_TO_LANE = text("""
    update procrastinate_jobs set queue_name = :lane, lock = nullif(lock, args ->> 'tenant_id')
    where status = 'todo' and queue_name = :first and :lane <> :first and task_name = any(:tasks)
""")


async def record_failure(session: AsyncSession, job_id: int, error: str) -> None:
    connection = await session.connection()
    await connection.execute(RECORD_FAILURE, {"job_id": job_id, "error": error})


async def move_to_lane(session: AsyncSession, lane: Lane, tasks: Sequence[str]) -> None:
    """Move waiting jobs of these tasks out of the first lane, and out of the sequence of their tenant."""
    connection = await session.connection()
    await connection.execute(MOVE_TO_LANE, {"lane": lane, "first": Lane.WORK, "tasks": list(tasks)})
