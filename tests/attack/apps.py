"""An app of the product in a process of its own, and what one sends to it without a browser."""

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

ROOT = Path(__file__).parents[2]
URLS = {"tenant": "http://localhost:3201", "admin": "http://localhost:3202"}
NAMESPACE = "/_event"
QUIET, PATIENCE = 0.08, 0.6  # seconds: after the last answer, and for the first


@contextmanager
def serving(which: str, *holes: str) -> Iterator["App"]:
    """Ready to answer. Raises RuntimeError when it does not start, or when somebody else holds its port."""
    app = App(which)
    if app.answers():
        raise RuntimeError(f"{app.url} answers before it was started: it is not ours")
    command = [sys.executable, "-m", "tests.attack.serve", which, *holes]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not app.answers():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the {which} app does not start")
            time.sleep(0.1)
        yield app
    finally:
        process.terminate()
        process.wait(20)


def listing(which: str, *holes: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.attack.serve", which, "--list", *holes]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=dict(os.environ))
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@dataclass(frozen=True)
class App:
    which: str

    @property
    def url(self) -> str:
        return URLS[self.which]

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def ask(
        self, method: str, path: str, cookie: str = "", *, origin: str | None = "", **more: Any
    ) -> httpx.Response:
        """`origin`: the app's own unless given; None sends none."""
        headers = {"accept": "text/html", **more.pop("headers", {})}
        if cookie:
            headers["cookie"] = cookie
        if origin is not None:
            headers["origin"] = origin or self.url
        return httpx.request(method, self.url + path, headers=headers, timeout=20, **more)

    async def opens(
        self, cookie: str, *, token: str = "", origin: str | None = "", transport: str = "websocket"
    ) -> bool:
        """Whether a socket would be given."""
        try:
            async with self.socket(cookie, token=token, origin=origin, transport=transport):
                return True
        except (WebSocketException, OSError, TimeoutError):
            return False

    @asynccontextmanager
    async def socket(
        self, cookie: str, *, token: str = "", origin: str | None = "", transport: str = "websocket"
    ) -> AsyncIterator["Socket"]:
        """Raises WebSocketException where it is refused."""
        token = token or str(uuid.uuid4())
        address = f"{self.url.replace('http', 'ws')}{NAMESPACE}/?EIO=4&transport={transport}&token={token}"
        headers = {"cookie": cookie} if cookie else {}
        given = self.url if origin == "" else origin
        async with connect(
            address, additional_headers=headers, origin=given, max_size=None, proxy=None
        ) as wire:  # type: ignore[arg-type]
            await asyncio.wait_for(wire.recv(), 5)  # engine.io says hello
            await wire.send(f"40{NAMESPACE},")
            await asyncio.wait_for(wire.recv(), 5)
            yield Socket(wire, token)


@dataclass
class Socket:
    wire: ClientConnection
    token: str

    async def send(self, name: str, payload: dict[str, Any], path: str) -> str:
        """An event of the page at `path`; everything that comes back until it is quiet."""
        return await self.send_all([(name, payload)], path)

    async def send_all(self, events: list[tuple[str, dict[str, Any]]], path: str) -> str:
        for name, payload in events:
            data = {
                "name": name,
                "payload": payload,
                "router_data": {"pathname": path, "asPath": path, "query": {}},
                "token": self.token,
            }
            await self.wire.send(f"42{NAMESPACE},{json.dumps(['event', data])}")
        return await self._hear()

    async def _hear(self) -> str:
        said: list[str] = []
        wait = PATIENCE
        while True:
            try:
                message = str(await asyncio.wait_for(self.wire.recv(), wait))
            except TimeoutError:
                return "\n".join(said)
            if message == "2":
                await self.wire.send("3")
                continue
            said.append(message)
            wait = QUIET
