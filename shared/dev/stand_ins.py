"""The outside services of development, on one port. Never imported in production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from shared.core.config import settings
from shared.dev.mailbox import Mailbox, routes, smtp
from shared.dev.stripe_sandbox import pages, site
from shared.dev.stripe_sandbox.deliveries import Deliveries
from shared.dev.stripe_sandbox.store import Sandbox


async def alive(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"alive": True})


async def home(request: Request) -> Response:
    ours = settings()
    return pages.show(request, "stand_ins", look="/stripe", tenant=ours.tenant_url, admin=ours.admin_url)


def app() -> Starlette:
    settings().root.mkdir(parents=True, exist_ok=True)
    box = Mailbox(settings().root / "mail.jsonl")
    sandbox = Sandbox(settings().root / "stripe.sqlite", f"{settings().sandbox_url}/stripe")
    deliveries = Deliveries(sandbox)

    @asynccontextmanager
    async def listening(_: Starlette) -> AsyncIterator[None]:
        controller = smtp(box)
        controller.server = await controller._create_server()  # `begin` would run a loop of its own
        async with site.running(sandbox, deliveries):
            yield
        controller.server.close()

    return Starlette(
        routes=[
            Route("/", home),
            Route("/healthz", alive),
            *routes(box),
            Mount("/stripe", site.app(sandbox, deliveries)),
        ],
        lifespan=listening,
    )
