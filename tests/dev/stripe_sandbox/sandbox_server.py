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
from shared.dev.stripe_sandbox.contract import build_skeleton
from shared.dev.stripe_sandbox.controls import DEMO_KEY
from shared.dev.stripe_sandbox.deliveries import DeliveryQueue
from shared.dev.stripe_sandbox.store import Account, Object, Sandbox, new_id


@asynccontextmanager
async def serve_app(app: Any) -> AsyncIterator[str]:
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
class ReceivedWebhook:
    body: bytes
    signature: str


@dataclass
class WebhookReceiver:
    """Answers with the next status of `answers`, then always 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[ReceivedWebhook] = field(default_factory=list)
    slow_answers: int = 0  # so many answers come later than anybody waits
    answering: asyncio.Event = field(default_factory=asyncio.Event)  # until it is set, nobody is answered

    def __post_init__(self) -> None:
        self.answering.set()

    async def receive_webhook(self, request: Request) -> Response:
        self.received.append(ReceivedWebhook(await request.body(), request.headers["stripe-signature"]))
        await self.answering.wait()
        if self.slow_answers:
            self.slow_answers -= 1
            await asyncio.sleep(1)
        status = self.statuses.pop(0) if self.statuses else 200
        return PlainTextResponse("taken" if status == 200 else "not now", status)

    def verify_events(self, secret: str) -> list[stripe.Event]:
        return [
            stripe.Webhook.construct_event(webhook.body, webhook.signature, secret)
            for webhook in self.received
        ]

    def list_types(self) -> list[str]:
        return [json.loads(webhook.body)["type"] for webhook in self.received]

    async def wait_for(self, count: int, *, seconds: float = 15) -> None:
        await wait_until(lambda: len(self.received) >= count, seconds=seconds)


@dataclass
class RunningSandbox:
    """Seen from one account; many tests share a stand-in, each with a key of its own."""

    url: str
    sandbox: Sandbox
    deliveries: DeliveryQueue
    http: httpx.AsyncClient
    key: str = DEMO_KEY

    def with_new_key(self) -> "RunningSandbox":
        return replace(self, key=new_id("sk_test"))

    @property
    def account(self) -> Account:
        return self.sandbox.get_account(self.key)

    def build_client(self, key: str = "") -> stripe.StripeClient:
        bases: Any = dict.fromkeys(("api", "connect", "files", "meter_events"), self.url)
        return stripe.StripeClient(key or self.key, base_addresses=bases)

    async def call_sdk(self, call: Callable[..., Any], *args: Any) -> Any:
        """A call of the SDK, which blocks, while the stand-in answers it in this loop."""
        return await asyncio.to_thread(call, *args)

    async def apply_control(self, control: str, **fields: Any) -> Any:
        response = await self.http.post(f"{self.url}/_control/{control}", json={"account": self.key} | fields)
        assert response.status_code == 200, response.text
        return response.json()

    def add_endpoint(self, url: str, *events: str, account: Account | None = None) -> Object:
        account = account or self.account
        endpoint = build_skeleton("webhook_endpoint", id=new_id("we"), url=url, status="enabled")
        return account.put(
            endpoint
            | {"enabled_events": list(events or ("*",)), "api_version": None, "_secret": new_id("whsec")}
        )

    def emit_event(
        self, kind: str = "customer.updated", account: Account | None = None, **subject: Any
    ) -> Object:
        """An event of this kind, and whatever follows from it."""
        return (account or self.account).emit(kind, build_skeleton("customer", id="cus_1", **subject))


UNLIMITED = 1_000_000  # requests of a second: tests ask without a pause, and limits are tested by themselves


@asynccontextmanager
async def run_sandbox(
    path: Path | None = None, *, requests_per_second: int = UNLIMITED
) -> AsyncIterator[RunningSandbox]:
    sandbox = Sandbox(path)
    deliveries = DeliveryQueue(sandbox)
    app = Starlette(
        routes=[
            Mount("/stripe", site.build_app(sandbox, deliveries, requests_per_second=requests_per_second))
        ]
    )
    async with (
        site.run_background_tasks(sandbox, deliveries),
        serve_app(app) as origin,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        sandbox.base_url = f"{origin}/stripe"
        yield RunningSandbox(sandbox.base_url, sandbox, deliveries, http)


@asynccontextmanager
async def run_receiver() -> AsyncIterator[WebhookReceiver]:
    endpoint = WebhookReceiver()
    async with serve_app(
        Starlette(routes=[Route("/hook", endpoint.receive_webhook, methods=["POST"])])
    ) as origin:
        endpoint.url = f"{origin}/hook"
        yield endpoint


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def wait_until(condition: Callable[[], bool], *, seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  what is waited for is on the other side of a socket
            await asyncio.sleep(0.005)
