"""The queue for operators: counts and lists by status, newest first."""

import psycopg
import pytest

from shared.core import db
from shared.jobs import queue_status
from tests.support import workers
from tests.support.database import admin_url

STATES = {"todo": (0, "waiting"), "doing": (0, "running"), "failed": (6, "failed"), "aborted": (1, "failed")}


@pytest.fixture
async def job_ids(schema: str) -> list[int]:
    """One job in each status of the queue, and one that waits for its retry."""
    workers.clear_queue(schema)
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        rows = [(status, attempts) for status, (attempts, _) in STATES.items()]
        for status, attempts in [*rows, ("todo", 2), ("succeeded", 1)]:
            connection.execute(
                "insert into procrastinate_jobs (queue_name, task_name, args, status, attempts) values"
                " ('bulkhead', 'platform.any', '{\"tenant_id\": \"ten_a\"}', %s::procrastinate_job_status, %s)",
                [status, attempts],
            )
        return [row[0] for row in connection.execute("select id from procrastinate_jobs order by id desc")]


async def test_job_counts_equal_the_lists_by_status(job_ids: list[int]) -> None:
    async with db.transaction("operator") as session:
        counts = await queue_status.count_by_status(session)
        assert counts == {"waiting": 1, "retrying": 1, "running": 1, "failed": 2}
        for status in queue_status.STATUSES:
            page = await queue_status.list_jobs(session, status)
            assert {job.status for job in page.rows} == {status}
            assert len(page.rows) == counts[status]


async def test_pages_of_jobs_add_up_to_all_unfinished_jobs(job_ids: list[int]) -> None:
    shown, after = [], ""
    async with db.transaction("operator") as session:
        for _ in range(4):
            page = await queue_status.list_jobs(session, after=after, limit=2)
            shown += [job.id for job in page.rows]
            after = page.next_cursor
            if not after:
                break
    assert shown == job_ids[1:]
