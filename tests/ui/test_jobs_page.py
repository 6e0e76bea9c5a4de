"""The Jobs page: a row of a failed job opens a dialog, whose reason retries or drops it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from admin_app.pages.jobs import JobsState
from shared.core.errors import NotFound
from shared.jobs import queue
from tests.conftest import Cast
from tests.support import example_tasks, workers

REASON = "the mail server is back"


@pytest.fixture
async def failed_job(schema: str, cast: Cast) -> AsyncIterator[int]:
    """The id of a job of Acme that is out of retries."""
    workers.clear_queue(schema)
    example_tasks.attempts_by_key.clear()
    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "tests.tell_late", user_id=ctx.actor_id, key="late")
    yield await workers.run_until_failed(schema)
    workers.clear_queue(schema)


def handler(name: str) -> Any:
    return JobsState.event_handlers[name].fn


async def open_page(cast: Cast, dialog: str, job_id: int) -> JobsState:
    page = cast.olga.opens(JobsState, path="/jobs")
    async with page._ctx() as octx:
        page._show(await page._read(octx))
    await handler("open_dialog")(page, dialog, str(job_id))
    return page


@pytest.mark.parametrize(("dialog", "submit"), [("retry", "retry_job"), ("drop", "drop_job")])
async def test_dialog_changes_the_job_of_its_row(
    cast: Cast, schema: str, failed_job: int, dialog: str, submit: str
) -> None:
    page = await open_page(cast, dialog, failed_job)
    assert page.chosen == f"tests.tell_late, job {failed_job}"
    assert [(row.error, row.can_change) for row in page.rows] == [("ZeroDivisionError: late", True)]
    await handler(submit)(page, {"reason": REASON})
    assert page.dialog == ""
    states = [status for _, status in workers.list_jobs(schema)]
    assert states == (["todo"] if dialog == "retry" else [])


async def test_dialog_for_a_job_that_is_gone_is_refused(cast: Cast, schema: str, failed_job: int) -> None:
    page = await open_page(cast, "drop", failed_job)
    workers.clear_queue(schema)
    with pytest.raises(NotFound):
        await handler("drop_job").__wrapped__(page, {"reason": REASON})
