"""Operators retry and drop failed jobs, each with a reason that is recorded."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from sqlmodel import col, select

from shared.audit.models import OperatorEvent
from shared.backoffice import failed_jobs, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.cli import queued_jobs as command
from shared.core import db, metric_catalog
from shared.core.errors import Invalid, NotFound, Refused
from shared.jobs import queue
from shared.jobs.queue_status import QueuedJob
from shared.web import metrics
from tests.conftest import Cast
from tests.support import example_tasks, workers

REASON = "the mail server is back"


@pytest.fixture
async def failed_job(schema: str, cast: Cast) -> AsyncIterator[QueuedJob]:
    """A job of Acme that is out of retries."""
    workers.clear_queue(schema)
    example_tasks.attempts_by_key.clear()
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell_late", user_id=ctx.actor_id, key="late")
    await workers.run_until_failed(schema)
    async with cast.olga.octx() as octx:
        (job,) = (await tenant_directory.list_jobs(octx, "failed")).page.rows
    yield job
    workers.clear_queue(schema)


async def list_events(action: str) -> list[OperatorEvent]:
    async with db.transaction("operator") as session:
        statement = select(OperatorEvent).where(col(OperatorEvent.action) == action)
        return list((await session.exec(statement)).all())


async def test_failed_job_shows_its_last_error(failed_job: QueuedJob) -> None:
    assert (failed_job.task, failed_job.error) == ("tests.tell_late", "ZeroDivisionError: late")


async def test_retried_job_runs_again_with_all_its_attempts(
    cast: Cast, schema: str, failed_job: QueuedJob
) -> None:
    async with cast.olga.octx() as octx:
        assert (
            await failed_jobs.retry_job(octx, failed_job.id, state_reason(octx, REASON)) == "tests.tell_late"
        )
    example_tasks.attempts_by_key["late"] = 2  # its third attempt succeeds
    await workers.run_until_done(schema)
    assert workers.list_jobs(schema) == []
    (event,) = [event for event in await list_events("job.retried") if event.object_id == str(failed_job.id)]
    assert (event.reason, event.details["task"]) == (REASON, "tests.tell_late")


async def test_dropped_job_is_gone(cast: Cast, schema: str, failed_job: QueuedJob) -> None:
    async with cast.olga.octx() as octx:
        await failed_jobs.drop_job(octx, failed_job.id, state_reason(octx, REASON))
    assert workers.list_jobs(schema) == []
    assert str(failed_job.id) in [event.object_id for event in await list_events("job.dropped")]


async def test_job_that_has_not_failed_can_be_neither_retried_nor_dropped(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="waiting")
    async with cast.olga.octx() as octx:
        (job,) = (await tenant_directory.list_jobs(octx)).page.rows
        for change in (failed_jobs.retry_job, failed_jobs.drop_job):
            with pytest.raises(NotFound):
                await change(octx, job.id, state_reason(octx, REASON))
    assert workers.list_jobs(schema) == [("tests.tell", "todo")]


async def test_change_needs_a_reason_and_the_permission(cast: Cast, failed_job: QueuedJob) -> None:
    for change in (failed_jobs.retry_job, failed_jobs.drop_job):
        async with cast.olga.octx() as octx:
            with pytest.raises(Invalid):
                await change(octx, failed_job.id, state_reason(octx, " "))
        async with cast.sam.octx() as octx:
            with pytest.raises(Refused):
                await change(octx, failed_job.id, state_reason(octx, REASON))


@pytest.mark.parametrize("statement", ["select retry_job(1)", "select drop_job(1)"])
async def test_tenant_apps_role_can_neither_retry_nor_drop(schema: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(db.login_url("app")) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


async def test_overview_and_metrics_count_failed_jobs(cast: Cast, failed_job: QueuedJob) -> None:
    async with cast.olga.octx() as octx:
        assert (await tenant_directory.get_overview(octx)).failed_jobs == 1
    await metrics._update_job_gauge()
    assert metric_catalog.jobs.read("failed") == 1


async def test_command_line_lists_retries_and_drops(cast: Cast, schema: str, failed_job: QueuedJob) -> None:
    listed = await command.list_jobs("failed", 10)
    assert "1 failed" in listed
    assert "ZeroDivisionError: late" in listed
    assert "queued again" in await command.retry_job(failed_job.id, REASON)
    workers.clear_queue(schema)
    with pytest.raises(NotFound):
        await command.drop_job(failed_job.id, REASON)
