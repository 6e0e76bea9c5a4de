"""The whole stand-in under one address: the API, the pages people see, the levers; and what runs beside them."""

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
from shared.dev.stripe_sandbox.deliveries import Deliveries
from shared.dev.stripe_sandbox.outage import Outage
from shared.dev.stripe_sandbox.store import Sandbox

TICK_S = 1.0
log = structlog.get_logger()


def app(sandbox: Sandbox, deliveries: Deliveries) -> Starlette:
    """To be mounted where `sandbox.base_url` says."""
    return Starlette(
        routes=[
            *pages.ROUTES,
            *control.routes(sandbox, deliveries),
            *hosted_checkout.routes(sandbox),
            *hosted_portal.routes(sandbox),
            *hosted_invoice.routes(sandbox),
            Mount("/", Outage(api.app(sandbox), sandbox)),
        ]
    )


@asynccontextmanager
async def running(sandbox: Sandbox, deliveries: Deliveries) -> AsyncIterator[None]:
    """Deliveries go out and time passes; at the end everything is written."""
    work = [asyncio.create_task(deliveries.run()), asyncio.create_task(_time_passes(sandbox))]
    for one in work:
        one.add_done_callback(_not_silently)
    try:
        yield
    finally:
        for one in work:
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await deliveries.close()
        sandbox.close()


async def _time_passes(sandbox: Sandbox) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        for account in list(sandbox.accounts.values()):
            timeline.tick(account)
        sandbox.save()


def _not_silently(work: asyncio.Task[None]) -> None:
    if not work.cancelled() and work.exception() is not None:
        log.error("stripe sandbox: its work beside requests ended", exc_info=work.exception())
