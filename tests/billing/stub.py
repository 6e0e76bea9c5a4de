"""A server that answers as it is told, over real HTTP: for what no honest stand-in would do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = field(default_factory=lambda: {"id": "acct_1", "object": "account"})
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0


def refusal(
    status: int, code: str = "", said: str = "No.", kind: str = "invalid_request_error", **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"error": {"type": kind, "code": code, "message": said}}, named)


@dataclass
class Stub:
    """`script` is answered one by one, and then `usual`."""

    url: str = ""
    script: list[Answer] = field(default_factory=list)
    usual: Callable[[Request], Answer] = lambda _: Answer()
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def forget(self) -> None:
        self.script, self.usual, self.asked = [], lambda _: Answer(), []

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.method, request.url.path, dict(request.headers)))
        answer = self.script.pop(0) if self.script else self.usual(request)
        await asyncio.sleep(answer.after)
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        return Response(text, answer.status, answer.headers, "application/json")


@asynccontextmanager
async def stub() -> AsyncIterator[Stub]:
    one = Stub()
    route = Route("/{path:path}", one.answer, methods=["GET", "POST", "DELETE"])
    async with serving(Starlette(routes=[route])) as url:
        one.url = url
        yield one


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
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
