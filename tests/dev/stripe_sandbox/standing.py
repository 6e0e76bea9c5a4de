"""A stand-in that really listens, with the clock, the pages and the network of its own; and an endpoint it delivers to."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import stripe
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from shared.dev.stripe_sandbox import site
from shared.dev.stripe_sandbox.contract import skeleton
from shared.dev.stripe_sandbox.deliveries import Deliveries
from shared.dev.stripe_sandbox.levers import DEMO_KEY
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[str]:
    """The origin at which it answers."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off", ws="none"))
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.force_exit = True
        await server.shutdown()


@dataclass
class Received:
    body: bytes
    signature: str


@dataclass
class Endpoint:
    """Answers with the next status of `answers`, then always 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[Received] = field(default_factory=list)
    silences: int = 0  # so many answers come later than anybody waits
    open: asyncio.Event = field(default_factory=asyncio.Event)  # until it is set, nobody is answered

    def __post_init__(self) -> None:
        self.open.set()

    async def take(self, request: Request) -> Response:
        self.got.append(Received(await request.body(), request.headers["stripe-signature"]))
        await self.open.wait()
        if self.silences:
            self.silences -= 1
            await asyncio.sleep(1)
        status = self.answers.pop(0) if self.answers else 200
        return PlainTextResponse("taken" if status == 200 else "not now", status)

    def verified(self, secret: str) -> list[stripe.Event]:
        return [stripe.Webhook.construct_event(one.body, one.signature, secret) for one in self.got]

    def types(self) -> list[str]:
        return [json.loads(one.body)["type"] for one in self.got]

    async def has(self, count: int, *, seconds: float = 15) -> None:
        await until(lambda: len(self.got) >= count, seconds=seconds)


@dataclass
class Standing:
    """Seen from one account; many tests share a stand-in, each with a key of its own."""

    url: str
    sandbox: Sandbox
    deliveries: Deliveries
    http: httpx.AsyncClient
    key: str = DEMO_KEY

    def another(self) -> "Standing":
        return replace(self, key=new_id("sk_test"))

    @property
    def account(self) -> Account:
        return self.sandbox.account(self.key)

    def stripe(self, key: str = "") -> stripe.StripeClient:
        bases: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), self.url)
        return stripe.StripeClient(key or self.key, base_addresses=bases)

    async def ask(self, call: Callable[..., Any], *args: Any) -> Any:
        """A call of the SDK, which blocks, while the stand-in answers it in this loop."""
        return await asyncio.to_thread(call, *args)

    async def pull(self, lever: str, **fields: Any) -> Any:
        answer = await self.http.post(f"{self.url}/_control/{lever}", json={"account": self.key} | fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def endpoint(self, url: str, *events: str, account: Account | None = None) -> Object:
        account = account or self.account
        one = skeleton("webhook_endpoint", id=new_id("we"), url=url, status="enabled")
        return account.put(
            one | {"enabled_events": list(events or ("*",)), "api_version": None, "_secret": new_id("whsec")}
        )

    def happens(
        self, kind: str = "customer.updated", account: Account | None = None, **subject: Any
    ) -> Object:
        """An event of this kind, and whatever follows from it."""
        return (account or self.account).emit(kind, skeleton("customer", id="cus_1", **subject))


@asynccontextmanager
async def standing(path: Path | None = None) -> AsyncIterator[Standing]:
    sandbox = Sandbox(path)
    deliveries = Deliveries(sandbox)
    app = Starlette(routes=[Mount("/stripe", site.app(sandbox, deliveries))])
    async with (
        site.running(sandbox, deliveries),
        listening(app) as origin,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        sandbox.base_url = f"{origin}/stripe"
        yield Standing(sandbox.base_url, sandbox, deliveries, http)


@asynccontextmanager
async def receiving() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    async with listening(Starlette(routes=[Route("/hook", endpoint.take, methods=["POST"])])) as origin:
        endpoint.url = f"{origin}/hook"
        yield endpoint


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(holds: Callable[[], bool], *, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110  what is waited for is on the other side of a socket
            await asyncio.sleep(0.005)
