"""An app of the product in a process of its own, and what one sends to it without a browser."""

import asyncio
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import IO, Any

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
MAIL_WEBHOOK_KEY = "a-key-of-the-attacked-apps"
PATIENCE = 60  # seconds for an answer; a busy machine is no refusal


def free_addresses() -> dict[str, str]:
    """One for each app. Held at the same time, so that they differ."""
    with ExitStack() as stack:
        return {name: stack.enter_context(held_address()) for name in ("tenant", "admin")}


@contextmanager
def held_address() -> Iterator[str]:
    """An address at which an app of ours may serve, and nothing else on this machine, in this context."""
    with socket.socket() as holder:
        holder.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as the server's own, which then listens
        holder.bind(("127.0.0.1", 0))
        yield f"http://localhost:{holder.getsockname()[1]}"


class Loaded:
    """A process that has loaded an app, and forks one for each use of it: loading takes seconds of the processor."""

    def __init__(self, app_name: str, addresses: dict[str, str]) -> None:
        """Begins to load. `addresses`: of every use."""
        self.app_name, self.addresses = app_name, addresses
        self._turn = threading.Lock()
        self._problems = tempfile.TemporaryFile("w+")  # noqa: SIM115  `close` closes it
        self._process = subprocess.Popen(
            _command(app_name, "--fork"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._problems,
            env=_environment(addresses),
            text=True,
        )

    def ask(self, **request: Any) -> Any:
        """The answer of the process, see `serve.fork_for_requests`. Raises RuntimeError when the app does not load in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = ""
        with self._turn, suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            if select.select([self._process.stdout], [], [], START)[0]:  # an answer is one line
                answer = self._process.stdout.readline()
        if not answer:
            self._problems.seek(0)
            raise RuntimeError(f"the {self.app_name} app does not load: {self._problems.read()[-2000:]}")
        return json.loads(answer)

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.communicate()
        self._problems.close()


@contextmanager
def loaded_app(app_name: str) -> Iterator[Loaded]:
    """At addresses of its own; `serving` forks it. Ends with the context."""
    with held_address() as tenant, held_address() as admin:
        loaded = Loaded(app_name, {"tenant": tenant, "admin": admin})
        try:
            yield loaded
        finally:
            loaded.close()


class Fork:
    """A process that a `Loaded` has forked, with the methods of `subprocess.Popen` that are used here."""

    def __init__(
        self, loaded: Loaded, words: Sequence[str], output: str, *, settings: Mapping[str, str]
    ) -> None:
        """`output`: path of the file for what it prints. `settings`: environment variables of this one."""
        self.loaded = loaded
        environment = {**_environment(loaded.addresses), **settings}
        self.process_id = loaded.ask(
            arguments=[loaded.app_name, *words], environment=environment, output=output
        )

    def poll(self) -> int | None:
        return 0 if self.loaded.ask(ended=self.process_id) else None

    def end(self) -> None:
        """Raises RuntimeError when it does not end by itself in time."""
        if not self.loaded.ask(end=self.process_id):
            raise RuntimeError(f"the {self.loaded.app_name} app did not end")


@asynccontextmanager
async def serving(
    app_name: str,
    addresses: dict[str, str],
    *holes: str,
    port: int = 0,
    loaded: Loaded | None = None,
    **settings: str,
) -> AsyncIterator["App"]:
    """Ready to answer. `port`: of this one of several processes. `loaded`: of the same app and addresses, to be forked.

    Raises RuntimeError when it does not start.
    """
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
        process: Fork | Started = (
            Started(app_name, words, output, _environment(addresses) | settings)
            if loaded is None
            else await asyncio.to_thread(Fork, loaded, words, output.name, settings=settings)
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
            await asyncio.to_thread(process.end)


class Started:
    """A process that loads the app for itself."""

    def __init__(
        self, app_name: str, words: Sequence[str], output: IO[str], environment: dict[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            _command(app_name, *words), cwd=ROOT, stdout=output, stderr=output, env=environment
        )

    def poll(self) -> int | None:
        return self._process.poll()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(20)


async def listing(
    app_name: str, addresses: dict[str, str], *holes: str, loaded: Loaded | None = None
) -> dict[str, Any]:
    """What there is to attack in an app that is not served. See `serve.listing`."""
    if loaded is not None:
        return await asyncio.to_thread(_list_in_fork, loaded, holes)
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


def _list_in_fork(loaded: Loaded, holes: Sequence[str]) -> dict[str, Any]:
    with tempfile.NamedTemporaryFile("r") as output:
        fork = Fork(loaded, ["--list", *holes], output.name, settings={})
        while fork.poll() is None:
            time.sleep(0.01)
        lines = output.read().splitlines()
    try:
        inventory: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise RuntimeError(f"the {loaded.app_name} app does not list: {' '.join(lines)[-2000:]}") from None
    return inventory


def _command(app_name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "tests.attack.serve", app_name, *words]


def _environment(addresses: dict[str, str]) -> dict[str, str]:
    """Without the folders of an app that this process, or one before it, has loaded."""
    environment = {
        name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("REFLEX_")
    }
    return environment | {
        "BULKHEAD_TENANT_URL": addresses["tenant"],
        "BULKHEAD_ADMIN_URL": addresses["admin"],
        # Attempts don't wait for each other.
        "BULKHEAD_CUSTOMERS_CAN_PAUSE": "1",  # or pausing is refused before any guard
        "BULKHEAD_MAIL_WEBHOOK_KEYS": MAIL_WEBHOOK_KEY,  # or its address is closed
        "BULKHEAD_API_KEY_REQUESTS_PER_MINUTE": "100000000",
        "BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE": "100000000",
        "BULKHEAD_TENANT_REQUESTS_PER_SECOND": "1000000",
        "BULKHEAD_EVENTS_PER_SECOND": "1000000",
        "BULKHEAD_REQUESTS_PER_SECOND": "1000000",
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
            address,
            additional_headers=headers,
            origin=origin_header,
            max_size=None,
            proxy=None,
            compression=None,  # browsers do compress; here it would only cost time
            host="127.0.0.1",  # what localhost means is asked in a thread each time
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
