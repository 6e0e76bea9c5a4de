"""The worker: every module's tasks in one registry, each job through the door of its tenant."""

import asyncio

from shared.access import evidence
from shared.billing import inbox, reconcile
from shared.billing import tasks as billing
from shared.cli import lifeline
from shared.core import log
from shared.identity import tasks as identity
from shared.jobs import worker
from shared.tenancy import entry
from shared.tenancy import tasks as tenancy


def run() -> None:
    log.configure()
    lifeline.end_with_supervisor()
    tasks = {**identity.TASKS, **tenancy.TASKS, **billing.TASKS}
    platform = {**identity.PLATFORM_TASKS, **tenancy.PLATFORM_TASKS, **billing.PLATFORM_TASKS}
    asyncio.run(_work(tasks, platform))


async def _work(tasks: dict[str, worker.Handler], platform: dict[str, worker.Handler]) -> None:
    beside = [asyncio.create_task(one) for one in (evidence.run(), inbox.run(), reconcile.run())]
    try:
        await worker.run(tasks, platform, entry.enter_job)
    finally:
        for one in beside:
            one.cancel()  # the counts of decisions write what is left
        await asyncio.gather(*beside, return_exceptions=True)
