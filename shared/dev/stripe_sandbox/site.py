"""The whole sandbox under one address: the API, the hosted pages, the controls and the background tasks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.routing import Mount

from shared.dev.stripe_sandbox import (
    api,
    control,
    hosted_checkout,
    hosted_invoice,
    hosted_portal,
    pages,
    timeline,
)
from shared.dev.stripe_sandbox.deliveries import DeliveryQueue
from shared.dev.stripe_sandbox.outage import OutageMiddleware
from shared.dev.stripe_sandbox.request_rates import REQUESTS_PER_SECOND, RateLimitMiddleware
from shared.dev.stripe_sandbox.store import Sandbox

TICK_S = 1.0
log = structlog.get_logger()


def build_app(
    sandbox: Sandbox, deliveries: DeliveryQueue, *, requests_per_second: int = REQUESTS_PER_SECOND
) -> Starlette:
    """The application to mount at the address `sandbox.base_url`. `requests_per_second`: of an account's API."""
    stripe_api = RateLimitMiddleware(api.build_app(sandbox), requests_per_second)
    return Starlette(
        routes=[
            *pages.ASSET_ROUTES,
            *control.build_routes(sandbox, deliveries),
            *hosted_checkout.build_routes(sandbox),
            *hosted_portal.build_routes(sandbox),
            *hosted_invoice.build_routes(sandbox),
            Mount("/", OutageMiddleware(stripe_api, sandbox)),
        ]
    )


@asynccontextmanager
async def run_background_tasks(sandbox: Sandbox, deliveries: DeliveryQueue) -> AsyncIterator[None]:
    """Send deliveries and run due steps; at the end, write all changes."""
    tasks = [asyncio.create_task(deliveries.run()), asyncio.create_task(_tick_accounts(sandbox))]
    for task in tasks:
        task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await deliveries.close()
        sandbox.close()


async def _tick_accounts(sandbox: Sandbox) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        for account in list(sandbox.accounts.values()):
            timeline.run_due_steps(account)
        sandbox.save()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("stripe sandbox: its work beside requests ended", exc_info=task.exception())
