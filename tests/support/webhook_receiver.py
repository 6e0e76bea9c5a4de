"""A receiver of webhooks over real HTTP, which can be stopped and started on the same port, and a dispatcher for it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from standardwebhooks import Webhook

from shared.core.outbound import OutboundClient
from shared.outbound_webhooks.dispatcher import Dispatcher
from shared.outbound_webhooks.retries import RETRY_POLICY, RetryPolicy
from tests.support import database

HOST = "127.0.0.1"
# A day passes in about 40 seconds, and the first wait in 5 ms.
FAST = RetryPolicy(
    waits=RETRY_POLICY.waits,
    pause_after=RETRY_POLICY.pause_after,
    min_failures=RETRY_POLICY.min_failures,
    scale=0.0005,
)


@dataclass(frozen=True)
class ReceivedRequest:
    path: str
    headers: dict[str, str]
    body: str

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.body)
        return event

    def verify(self, secret: str) -> dict[str, Any]:
        """With the public library. Raises its WebhookVerificationError."""
        event: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return event


@dataclass
class Receiver:
    """`answer` gives the status of each request; `head` and `body` are the rest of the answer."""

    port: int = 0
    requests: list[ReceivedRequest] = field(default_factory=list)
    answer: Callable[[ReceivedRequest], int] = lambda _: 200
    headers: dict[str, str] = field(default_factory=dict)
    body: str = "ok"
    delay_s: float = 0.0
    delay_of: dict[str, float] = field(default_factory=dict)  # by path, in seconds
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    @property
    def target(self) -> tuple[str, int]:
        return HOST, self.port

    async def start(self) -> None:
        """On a free port; a second time on the same one."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Connections break, and new ones are refused."""
        assert self._server is not None
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                lines = (line.partition(": ") for line in head[1:] if line)
                headers = {name.lower(): value for name, _, value in lines}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = ReceivedRequest(head[0].split(" ")[1], headers, body.decode())
                self.requests.append(request)
                await asyncio.sleep(self.delay_of.get(request.path, self.delay_s))
                extra = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
                length = f"content-length: {len(self.body.encode())}\r\n"
                writer.write(f"HTTP/1.1 {self.answer(request)} X\r\n{length}{extra}\r\n{self.body}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()


@asynccontextmanager
async def run_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.kill()


@asynccontextmanager
async def open_dispatcher(
    allow: Collection[tuple[str, int]],
    *,
    retries: RetryPolicy = FAST,
    lease: timedelta = timedelta(minutes=1),
    timeout_s: float = 5.0,
) -> AsyncIterator[Dispatcher]:
    """That reaches these hosts and ports. What other tests have left to send is forgotten."""
    forget_queue()
    client = OutboundClient(allow, total_timeout_s=timeout_s)
    dispatcher = Dispatcher(client, retries=retries, lease=lease, poll_interval_s=0.02)
    try:
        yield dispatcher
    finally:
        await dispatcher.stop()
        await client.close()


def forget_queue() -> None:
    """No endpoint has anything to send, until the next event."""
    connection = database.connect()
    connection.execute("update webhook_endpoint set turn_at = null")
    connection.execute("update event_outbox set fanned_out_at = now() where fanned_out_at is null")
