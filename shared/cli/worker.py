"""The worker: every module's tasks in one registry, each job through the door of its tenant."""

import asyncio

from shared.access import evidence
from shared.cli import lifeline
from shared.core import log
from shared.identity import tasks as identity
from shared.jobs import worker
from shared.tenancy import entry
from shared.tenancy import tasks as tenancy


def run() -> None:
    log.configure()
    lifeline.end_with_supervisor()
    tasks = {**identity.TASKS, **tenancy.TASKS}
    platform = {**identity.PLATFORM_TASKS, **tenancy.PLATFORM_TASKS}
    asyncio.run(_work(tasks, platform))


async def _work(tasks: dict[str, worker.Handler], platform: dict[str, worker.Handler]) -> None:
    counting = asyncio.create_task(evidence.run())
    try:
        await worker.run(tasks, platform, entry.enter_job)
    finally:
        counting.cancel()  # writes what is left
        await asyncio.gather(counting, return_exceptions=True)
