"""The worker: every module's tasks in one registry, each job through the door of its tenant."""

import asyncio

from shared.access import evidence
from shared.billing import inbox, price_sync, providers, reconcile
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
    """The queue and what runs beside it. If one of them ends, all do: the supervisor starts them again."""
    queue = worker.run(tasks, platform, entry.enter_job)
    beside = (evidence.run(), inbox.run(), reconcile.run(), price_sync.run())
    parts = [asyncio.create_task(one) for one in (queue, *beside)]
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for one in ended:
            one.result()
    finally:
        for one in parts:
            one.cancel()  # the counts of decisions write what is left
        await asyncio.gather(*parts, return_exceptions=True)
        await providers.close()
