"""Operators see failed jobs with their error, and retry or drop them with a reason.

The jobs are planted in a lane that no worker serves, so a retried one stays where the test can see it.
"""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, NewVisitor, connect_to_database
from tests.e2e.looks import open_page

REASON = "The mail server is back"
ERROR = "MailServerAway: The mail server does not answer (TimeoutError)."


@pytest.fixture
def job_ids(platform: Any) -> list[int]:
    """Two jobs that are out of retries."""
    with connect_to_database() as connection:
        rows = [
            connection.execute(
                "insert into procrastinate_jobs (queue_name, task_name, status, attempts)"
                " values ('nobody', 'platform.planted', 'failed', 78) returning id"
            ).fetchone()
            for _ in range(2)
        ]
        ids = [int(row[0]) for row in rows if row is not None]
        for job_id in ids:
            connection.execute("insert into job_failure (job_id, error) values (%s, %s)", [job_id, ERROR])
    return ids


def test_failed_jobs_are_retried_and_dropped_with_a_reason(
    new_visitor: type[NewVisitor], job_ids: list[int]
) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    problems = open_page(olga, "jobs-failed", f"{ADMIN}/jobs")
    to_retry, to_drop = job_ids
    row = olga.page.get_by_test_id("jobs").get_by_role("row").filter(has_text=f"Job {to_retry}")
    expect(row).to_contain_text(ERROR)
    expect(row).to_contain_text("Failed")

    row.get_by_role("button", name=f"Retry job {to_retry}").click()
    dialog = olga.page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"platform.planted, job {to_retry}")
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_role("button", name="Retry").click()
    olga.expect_text("Job queued again.")
    expect(row).to_contain_text("Waiting")

    dropped = olga.page.get_by_test_id("jobs").get_by_role("row").filter(has_text=f"Job {to_drop}")
    dropped.get_by_role("button", name=f"Drop job {to_drop}").click()
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_role("button", name="Drop job").click()
    olga.expect_text("Job dropped.")
    expect(dropped).to_have_count(0)
    assert problems == []
