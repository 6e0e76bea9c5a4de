"""Read the state of the queue, and change failed jobs. Successful jobs are deleted, so they are not counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.paging import Page, build_page, parse_number_cursor

STATUSES = ("waiting", "retrying", "running", "failed")
# Status for people: a waiting job that has failed before is "retrying".
STATUS_SQL = """
    case when j.status = 'doing' then 'running'
         when j.status = 'todo' and j.attempts > 0 then 'retrying'
         when j.status = 'todo' then 'waiting'
         when j.status in ('failed', 'aborted') then 'failed' else '' end
"""
COUNT_JOBS = text("select status, number from count_jobs()")  # the tenant app can't read the jobs
HEARTBEAT_AGE = text(
    "select extract(epoch from clock_timestamp() - max(last_heartbeat))::float8 from procrastinate_workers"
)
JOBS_SQL = f"""
    select j.id, j.task_name, coalesce(j.args ->> 'tenant_id', ''), coalesce(j.args ->> 'request_id', ''),
           {STATUS_SQL}, j.attempts, j.scheduled_at,
           (select max(e.at) from procrastinate_events e where e.job_id = j.id), coalesce(f.error, '')
    from procrastinate_jobs j left join job_failure f on f.job_id = j.id
    where j.status in ('todo', 'doing', 'failed', 'aborted')
"""  # noqa: S608
LIST_JOBS = text(f"""
    {JOBS_SQL}
      and (:status = '' or {STATUS_SQL} = :status) and (cast(:after as bigint) is null or j.id < :after)
    order by j.id desc limit :limit
""")
LIST_JOBS_OF_REQUEST = text(f"""
    {JOBS_SQL} and j.args ->> 'request_id' = :request_id
    order by j.id desc limit :limit
""")

HAS_UNFINISHED_JOB = text("""
    select exists (select from procrastinate_jobs
        where task_name = :task and args ->> 'tenant_id' = :tenant_id and status in ('todo', 'doing'))
""")
RETRY_JOB, DROP_JOB = text("select retry_job(:job_id)"), text("select drop_job(:job_id)")


@dataclass(frozen=True, slots=True)
class QueuedJob:
    id: int
    task: str
    tenant_id: str  # "" for a platform job
    request_id: str
    status: str
    attempts: int
    scheduled_at: datetime | None  # of its next attempt
    changed_at: datetime | None
    error: str  # of the last attempt that failed, "" for none


async def count_by_status(session: AsyncSession) -> dict[str, int]:
    connection = await session.connection()
    counts: dict[str, int] = {row[0]: row[1] for row in (await connection.execute(COUNT_JOBS)).all()}
    return {status: counts.get(status, 0) for status in STATUSES}


async def get_heartbeat_age_s(session: AsyncSession) -> float | None:
    """Seconds since a worker last said that it is alive; None where none is registered. Needs the app's role."""
    connection = await session.connection()
    age_s: float | None = (await connection.execute(HEARTBEAT_AGE)).scalar_one()
    return age_s


async def list_jobs(
    session: AsyncSession, status: str = "", *, after: str = "", limit: int = 50
) -> Page[QueuedJob]:
    """Newest first. Raises Invalid for a page that does not exist."""
    connection = await session.connection()
    values = {"status": status, "after": parse_number_cursor(after), "limit": limit + 1}
    jobs = [QueuedJob(*row) for row in (await connection.execute(LIST_JOBS, values)).all()]
    return build_page(jobs, limit=limit, cursor_of=lambda job: str(job.id))


async def list_jobs_of_request(session: AsyncSession, request_id: str, limit: int) -> Sequence[QueuedJob]:
    """Those that have not succeeded, the newest first."""
    connection = await session.connection()
    values = {"request_id": request_id, "limit": limit}
    return [QueuedJob(*row) for row in (await connection.execute(LIST_JOBS_OF_REQUEST, values)).all()]


async def has_unfinished_job(session: AsyncSession, tenant_id: str, task: str) -> bool:
    """Whether a job of this task and tenant waits or runs. Failed ones don't count. Needs the operator's role."""
    connection = await session.connection()
    values = {"tenant_id": tenant_id, "task": task}
    return bool((await connection.execute(HAS_UNFINISHED_JOB, values)).scalar_one())


async def retry_job(session: AsyncSession, job_id: int) -> str:
    """Make a job due that has failed or waits for its next attempt, with all attempts ahead of it.

    Returns its task, "" when there is no such job. Needs the operator's role, and so does `drop_job`.
    """
    return await _change_job(session, RETRY_JOB, job_id)


async def drop_job(session: AsyncSession, job_id: int) -> str:
    """Delete a job that has failed or waits for its next attempt. Returns its task, "" when there is no such job."""
    return await _change_job(session, DROP_JOB, job_id)


async def _change_job(session: AsyncSession, statement: TextClause, job_id: int) -> str:
    connection = await session.connection()
    return (await connection.execute(statement, {"job_id": job_id})).scalar_one() or ""
