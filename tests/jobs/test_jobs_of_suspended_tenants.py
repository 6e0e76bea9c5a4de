"""Every job of a tenant asks at run time whether the tenant may work. Generated from the tasks of all manifests."""

import inspect

import psycopg

from shared.backoffice import (
    adjustments,
    billing_orders,
    duplicate_subscriptions,
    tenant_billing,
    tenant_directory,
    tenant_exports,
)
from shared.backoffice.reasons import state_reason
from shared.billing import dispute_pauses, trials, unpaid_taxes
from shared.core import db
from shared.files import retention
from shared.jobs import queue, worker
from tests.conftest import Cast
from tests.support import workers
from tests.support.database import admin_url

# What runs in whatever state the tenant is, and why.
MONEY = "What a suspended tenant pays, or gets back, is still made right at the provider."
RUNS_ANYWAY = {
    retention.TASK: "Files end on their day; it has no permission.",
    tenant_exports.TASK: "An operator’s copy of the data, which operators need of suspended tenants above all.",
    adjustments.TASK: MONEY,
    billing_orders.TASK: MONEY,
    dispute_pauses.TASK: MONEY,
    duplicate_subscriptions.TASK: MONEY,
    tenant_billing.RECONCILE_TASK: MONEY,
    trials.END_TASK: MONEY,
    unpaid_taxes.TASK: MONEY,
}


def build_arguments(task: str) -> dict[str, str]:
    """An id that names nothing, for each argument of its handler."""
    parameters = list(inspect.signature(worker.list_tenant_tasks()[task]).parameters.values())[1:]
    return {parameter.name: "x_none" for parameter in parameters}


async def test_every_job_of_a_suspended_tenant_is_skipped_with_the_reason(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    tasks = [task for task in worker.list_tenant_tasks() if task not in RUNS_ANYWAY]
    async with db.transaction() as session:
        for task in tasks:
            await queue.put_tenant_job(session, cast.acme, task, **build_arguments(task))
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason)
    await workers.run_due_jobs()
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        rows = connection.execute(
            "select task_name, status::text, scheduled_at > now(), coalesce(error, '')"
            " from procrastinate_jobs j left join job_failure f on f.job_id = j.id"
        ).fetchall()
    skipped = {
        task
        for task, status, waits, error in rows
        if (status, waits) == ("todo", True) and "suspended" in error
    }
    assert sorted(set(tasks) - skipped) == [], rows
    workers.clear_queue(schema)


def test_what_runs_anyway_is_a_task() -> None:
    assert set(RUNS_ANYWAY) <= set(worker.list_tenant_tasks())
