"""The queue as it stands, for looking at. Jobs that succeeded are not kept, so they are not counted here."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

STATUSES = ("waiting", "retrying", "running", "failed")
# What a person calls it: a job that has been tried waits for its next try.
STATUS = """
    case when j.status = 'doing' then 'running'
         when j.status = 'todo' and j.attempts > 0 then 'retrying'
         when j.status = 'todo' then 'waiting'
         when j.status in ('failed', 'aborted') then 'failed' else '' end
"""
COUNT = text(f"select {STATUS} as status, count(*) from procrastinate_jobs j group by 1")  # noqa: S608  our own words
LIST = text(f"""
    select j.id, j.task_name, coalesce(j.args ->> 'tenant_id', ''), coalesce(j.args ->> 'request_id', ''),
           {STATUS}, j.attempts, j.scheduled_at,
           (select max(e.at) from procrastinate_events e where e.job_id = j.id)
    from procrastinate_jobs j
    where j.status in ('todo', 'doing', 'failed', 'aborted')
      and (:status = '' or {STATUS} = :status) and (cast(:after as bigint) is null or j.id < :after)
    order by j.id desc limit :limit
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Job:
    id: int
    task: str
    tenant_id: str  # "" for the platform's own
    request_id: str
    status: str
    attempts: int
    scheduled_at: datetime | None  # of its next try
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. `after` is the id to go on from, None on the last page."""

    jobs: Sequence[Job]
    after: int | None = None


async def count(session: AsyncSession) -> dict[str, int]:
    connection = await session.connection()
    found: dict[str, int] = {row[0]: row[1] for row in (await connection.execute(COUNT)).all()}
    return {status: found.get(status, 0) for status in STATUSES}


async def list_jobs(
    session: AsyncSession, status: str = "", *, after: int | None = None, limit: int = 50
) -> Page:
    connection = await session.connection()
    values = {"status": status, "after": after, "limit": limit + 1}
    jobs = [Job(*row) for row in (await connection.execute(LIST, values)).all()]
    shown = jobs[:limit]
    return Page(shown, shown[-1].id if len(jobs) > limit else None)
