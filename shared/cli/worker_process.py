"""The worker: every module's tasks in one registry, each job through the door of its tenant."""

import asyncio

from shared.access import decision_counts
from shared.backoffice import tasks as backoffice
from shared.billing import provider_registry
from shared.billing import tasks as billing
from shared.billing.inbound_webhooks import processing
from shared.billing.pricing import price_sync
from shared.billing.sync import reconcile
from shared.cli import parent_watch
from shared.core import log
from shared.identity import tasks as identity
from shared.jobs import worker
from shared.tenancy import entry
from shared.tenancy import tasks as tenancy


def run() -> None:
    log.configure()
    parent_watch.end_with_supervisor()
    tasks = {**identity.TASKS, **tenancy.TASKS, **billing.TASKS, **backoffice.TASKS}
    platform_tasks = {**identity.PLATFORM_TASKS, **tenancy.PLATFORM_TASKS, **billing.PLATFORM_TASKS}
    asyncio.run(_run_tasks(tasks, platform_tasks))


async def _run_tasks(tasks: dict[str, worker.Handler], platform_tasks: dict[str, worker.Handler]) -> None:
    """The queue and what runs beside it. If one of them ends, all do: the supervisor starts them again."""
    queue_run = worker.run(tasks, platform_tasks, entry.enter_job)
    background_runs = (
        decision_counts.run_writer(),
        processing.run(),
        reconcile.run_hourly(),
        price_sync.run(),
    )
    running_tasks = [asyncio.create_task(coroutine) for coroutine in (queue_run, *background_runs)]
    try:
        finished_tasks, _ = await asyncio.wait(running_tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in finished_tasks:
            task.result()
    finally:
        for task in running_tasks:
            task.cancel()  # the counts of decisions write what is left
        await asyncio.gather(*running_tasks, return_exceptions=True)
        await provider_registry.close()
