"""A server that answers as it is told, over real HTTP: for what no honest stand-in would do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True)
class StubResponse:
    status: int = 200
    body: Any = field(default_factory=lambda: {"id": "acct_1", "object": "account"})
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


def build_error(
    status: int,
    code: str = "",
    message: str = "No.",
    kind: str = "invalid_request_error",
    *,
    param: str = "",
    **headers: str,
) -> StubResponse:
    header_values = {name.replace("_", "-"): value for name, value in headers.items()}
    error = {"type": kind, "code": code, "message": message, **({"param": param} if param else {})}
    return StubResponse(status, {"error": error}, header_values)


@dataclass
class StubServer:
    """`script` is answered one by one, and then `usual`."""

    url: str = ""
    responses: list[StubResponse] = field(default_factory=list)
    default_response: Callable[[Request], StubResponse] = lambda _: StubResponse()
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    forms: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def reset(self) -> None:
        self.responses, self.default_response = [], lambda _: StubResponse()
        self.requests, self.forms = [], []

    async def handle_request(self, request: Request) -> Response:
        self.requests.append((request.method, request.url.path, dict(request.headers)))
        self.forms.append((request.url.path, dict(parse_qsl((await request.body()).decode()))))
        answer = self.responses.pop(0) if self.responses else self.default_response(request)
        await asyncio.sleep(answer.delay_s)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        return Response(text, answer.status, answer.headers, "application/json")


@asynccontextmanager
async def run_stub() -> AsyncIterator[StubServer]:
    stub_server = StubServer()
    route = Route("/{path:path}", stub_server.handle_request, methods=["GET", "POST", "DELETE"])
    async with serve_app(Starlette(routes=[route])) as url:
        stub_server.url = url
        yield stub_server


@asynccontextmanager
async def serve_app(app: Any) -> AsyncIterator[str]:
    """Its address, on a free port of this loop."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve())
    try:
        for _ in range(1_000):
            if server.started:
                break
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
