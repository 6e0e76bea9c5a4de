"""The outside services of development, on one port. Never imported in production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from shared.core.config import settings
from shared.dev.mailbox import Mailbox, build_routes, build_smtp_controller
from shared.dev.stripe_sandbox import pages, site
from shared.dev.stripe_sandbox.deliveries import DeliveryQueue
from shared.dev.stripe_sandbox.store import Sandbox


async def get_health(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"alive": True})


async def show_home(request: Request) -> Response:
    app_settings = settings()
    return pages.render_page(
        request, "stand_ins", look="/stripe", tenant=app_settings.tenant_url, admin=app_settings.admin_url
    )


def build_app() -> Starlette:
    settings().absolute_data_dir.mkdir(parents=True, exist_ok=True)
    mailbox = Mailbox(settings().absolute_data_dir / "mail.jsonl")
    sandbox = Sandbox(settings().absolute_data_dir / "stripe.sqlite", f"{settings().sandbox_url}/stripe")
    deliveries = DeliveryQueue(sandbox)

    @asynccontextmanager
    async def listening(_: Starlette) -> AsyncIterator[None]:
        controller = build_smtp_controller(mailbox)
        controller.server = await controller._create_server()  # `begin` would run a loop of its own
        async with site.run_background_tasks(sandbox, deliveries):
            yield
        controller.server.close()

    return Starlette(
        routes=[
            Route("/", show_home),
            Route("/healthz", get_health),
            *build_routes(mailbox),
            Mount("/stripe", site.build_app(sandbox, deliveries)),
        ],
        lifespan=listening,
    )
