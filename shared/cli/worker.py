"""The worker: every module's tasks in one registry, each job through the door of its tenant."""

import asyncio

from shared.access import evidence
from shared.billing import price_sync
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
    counting, pricing = asyncio.create_task(evidence.run()), asyncio.create_task(price_sync.run())
    try:
        await worker.run(tasks, platform, entry.enter_job)
    finally:
        counting.cancel()  # writes what is left
        pricing.cancel()
        await asyncio.gather(counting, pricing, return_exceptions=True)
