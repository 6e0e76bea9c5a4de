"""The outside services of development, on one port. Never imported in production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.core.config import settings
from shared.dev.mailbox import Mailbox, routes, smtp


async def alive(request: Request) -> Response:  # noqa: ARG001
    return JSONResponse({"alive": True})


async def home(request: Request) -> Response:  # noqa: ARG001
    return RedirectResponse("/mail")


def app() -> Starlette:
    box = Mailbox(settings().root / "mail.jsonl")

    @asynccontextmanager
    async def listening(_: Starlette) -> AsyncIterator[None]:
        controller = smtp(box)
        controller.server = await controller._create_server()  # `begin` would run a loop of its own
        yield
        controller.server.close()

    return Starlette(routes=[Route("/", home), Route("/healthz", alive), *routes(box)], lifespan=listening)
