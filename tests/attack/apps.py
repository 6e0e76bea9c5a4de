"""An app of the product in a process of its own, and what one sends to it without a browser."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake

from tests.attack.canary import CLIENT_TOKEN, canary
from tests.attack.serve import DONE

ROOT = Path(__file__).parents[2]
NAMESPACE = "/_event"
OVER = f'42{NAMESPACE},["{DONE}"]'
RELOAD = "window.location.reload"
START = 90  # seconds for an app to come up
TOKEN_LENGTH = 36  # of a UUID, in characters
PATIENCE = 60  # seconds for an answer; a busy machine is no refusal


def free_addresses() -> dict[str, str]:
    """One for each app. Held at the same time, so that they differ."""
    with socket.socket() as tenant_socket, socket.socket() as admin_socket:
        addresses = {}
        for name, probe in (("tenant", tenant_socket), ("admin", admin_socket)):
            probe.bind(("127.0.0.1", 0))
            addresses[name] = f"http://localhost:{probe.getsockname()[1]}"
        return addresses


@asynccontextmanager
async def serving(
    app_name: str, addresses: dict[str, str], *holes: str, port: int = 0, **settings: str
) -> AsyncIterator["App"]:
    """Ready to answer. `port`: of this one of several processes. Raises RuntimeError when it does not start."""
    with (
        tempfile.NamedTemporaryFile("w+") as output,
        tempfile.NamedTemporaryFile("r") as listing_file,
        tempfile.NamedTemporaryFile("r") as issued_file,
    ):
        app = App(app_name, addresses, port, log_path=output.name, issued_path=issued_file.name)
        words = [
            *("--write-list", listing_file.name, "--write-issued", issued_file.name),
            *(["--port", str(port)] if port else []),
            *holes,
        ]
        process = subprocess.Popen(  # noqa: ASYNC220  it only begins here
            _command(app_name, *words),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            env=_environment(addresses) | settings,
        )
        try:
            until = time.monotonic() + START
            while not await app.answers():
                if process.poll() is not None or time.monotonic() > until:
                    output.seek(0)
                    raise RuntimeError(f"the {app_name} app does not start: {output.read()[-2000:]}")
                await asyncio.sleep(0.1)
            app.listing.update(json.load(listing_file))
            yield app
        finally:
            await app.client.aclose()
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


async def listing(app_name: str, addresses: dict[str, str], *holes: str) -> dict[str, Any]:
    """What there is to attack in an app that is not served. See `serve.listing`."""
    process = await asyncio.create_subprocess_exec(
        *_command(app_name, *holes),
        "--list",
        cwd=ROOT,
        env=_environment(addresses),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, problem = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the {app_name} app does not load: {problem.decode()[-2000:]}")
    inventory: dict[str, Any] = json.loads(output.splitlines()[-1])
    return inventory


def _command(app_name: str, *holes: str) -> list[str]:
    return [sys.executable, "-m", "tests.attack.serve", app_name, *holes]


def _environment(addresses: dict[str, str]) -> dict[str, str]:
    return os.environ | {
        "BULKHEAD_TENANT_URL": addresses["tenant"],
        "BULKHEAD_ADMIN_URL": addresses["admin"],
        "BULKHEAD_EVENTS_PER_SECOND": "1000000",  # attempts don't wait for each other
    }


@dataclass(frozen=True)
class App:
    name: str
    addresses: dict[str, str]
    port: int = 0
    log_path: str = ""
    issued_path: str = ""  # secrets that it has made
    listing: dict[str, Any] = field(default_factory=dict)  # what there is to attack, once it serves

    @property
    def url(self) -> str:
        """The public address, which is also the origin of its pages."""
        return self.addresses[self.name]

    @property
    def process_url(self) -> str:
        """Where this process itself answers."""
        return f"http://localhost:{self.port}" if self.port else self.url

    @cached_property
    def client(self) -> httpx.AsyncClient:
        """Keeps connections and no cookies: every request says whose it is. Plain HTTP, so nothing is verified."""
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        limits = httpx.Limits(keepalive_expiry=1)  # sooner than the server closes what is idle
        return httpx.AsyncClient(
            timeout=PATIENCE, trust_env=False, verify=False, cookies=no_cookies, limits=limits
        )

    @property
    def others_url(self) -> str:
        return self.addresses["admin" if self.name == "tenant" else "tenant"]

    async def answers(self) -> bool:
        try:
            return (await self.ask("GET", "/healthz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def ask(
        self, method: str, path: str, cookie: str = "", *, origin: str | None = "", **more: Any
    ) -> httpx.Response:
        """`origin`: the app's own unless given; None sends none."""
        headers = {"accept": "text/html", **more.pop("headers", {})}
        if cookie:
            headers["cookie"] = cookie
        if origin is not None:
            headers["origin"] = origin or self.url
        answer = await self.client.request(method, self.process_url + path, headers=headers, **more)
        canary.add_cookies(cookie)
        for header in answer.headers.get_list("set-cookie"):
            canary.add_cookies(header.partition(";")[0])
        shown = [f"{name}: {value}" for name, value in answer.headers.items() if name != "set-cookie"]
        canary.search("answers", "\n".join([*shown, answer.text]), known=f"{path} {more}")
        return answer

    def read_log(self) -> str:
        return Path(self.log_path).read_text(errors="replace")

    async def opens(
        self, cookie: str, *, token: str = "", origin: str | None = "", transport: str = "websocket"
    ) -> bool:
        """Whether a socket would be given."""
        try:
            async with self.socket(cookie, token=token, origin=origin, transport=transport):
                return True
        except InvalidHandshake:  # an answer; a server that has gone is none
            return False

    @asynccontextmanager
    async def socket(
        self,
        cookie: str,
        *,
        token: str = "",
        origin: str | None = "",
        transport: str = "websocket",
        connects: bool = True,
    ) -> AsyncIterator["Socket"]:
        """Raises InvalidHandshake where it is refused. `connects`: to the namespace of events."""
        token = token or str(uuid.uuid4())
        canary.add_cookies(cookie)
        if (
            len(token) == TOKEN_LENGTH
        ):  # the others, "xxx…" say, are no secrets: other attempts send the same text
            canary.add(CLIENT_TOKEN, token)
        address = (
            f"{self.process_url.replace('http', 'ws')}{NAMESPACE}/?EIO=4&transport={transport}&token={token}"
        )
        headers = {"cookie": cookie} if cookie else {}
        origin_header: Any = self.url if origin == "" else origin
        async with connect(
            address, additional_headers=headers, origin=origin_header, max_size=None, proxy=None
        ) as wire:
            await asyncio.wait_for(wire.recv(), PATIENCE)  # engine.io says hello
            if connects:
                await wire.send(f"40{NAMESPACE},")
                await asyncio.wait_for(wire.recv(), PATIENCE)
            yield Socket(wire, token)


@dataclass
class Socket:
    """One browser tab. One caller at a time: what comes back belongs to what was sent last."""

    wire: ClientConnection
    token: str

    async def send(self, name: str, payload: dict[str, Any], path: str, *, waits_for: str = "") -> str:
        """An event of the page at `path`; everything that comes back, from the events it leads to as well.

        `waits_for`: words that end the answer to an event that no handler works off.
        """
        await self.wire.send(self.packet(name, payload, path))
        messages: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while (message := str(await self.wire.recv())) != OVER:
                if message == "2":
                    await self.wire.send("3")
                else:
                    messages.append(message)
                    if waits_for and waits_for in message:
                        break
        canary.search("frames", "\n".join(messages), known=f"{self.token} {payload} {path}")
        return "\n".join(messages)

    def packet(self, name: str, payload: dict[str, Any], path: str) -> str:
        data = {
            "name": name,
            "payload": payload,
            "router_data": {"pathname": path, "asPath": path, "query": {}},
            "token": self.token,
        }
        return f"42{NAMESPACE},{json.dumps(['event', data])}"
