"""Requests that never end, over real connections: each is closed in time, and the app answers meanwhile."""

import asyncio
import time

import pytest

from shared.cli import http_protocol
from shared.web import request_middleware
from tests.attack import slow
from tests.attack.apps import App, Loaded, serving

HEAD = b"POST /auth/sign-in HTTP/1.1\r\nhost: localhost\r\n"
BODY_HEAD = HEAD + b"content-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\n"
SLACK = 10.0  # seconds, on a busy machine


async def wait_for_close(app: App, begin: bytes, more: bytes = b"") -> tuple[float, bytes]:
    """Seconds until the app closes a connection that sends `begin` and then a byte of `more` now and then, and its answer."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("localhost", int(app.url.rpartition(":")[2]))
    writer.write(begin)

    async def trickle() -> None:
        for byte in more:
            await asyncio.sleep(0.2)
            writer.write(bytes([byte]))

    trickling, answer = asyncio.create_task(trickle()), b""
    try:
        async with asyncio.timeout(slow.BODY_SECONDS + slow.HEAD_SECONDS + SLACK):
            while chunk := await reader.read(65_536):
                answer += chunk
    except ConnectionResetError:
        pass  # closed as well: with bytes that the server has not read
    finally:
        trickling.cancel()
        writer.close()
    return time.monotonic() - began, answer


async def test_requests_that_never_end_are_closed_while_the_app_answers(tenant_app: Loaded) -> None:
    async with serving("tenant", tenant_app.addresses, slow.HOLE, loaded=tenant_app) as app:
        endless = {
            "nothing": wait_for_close(app, b""),
            "half a line": wait_for_close(app, b"GET /heal"),
            "half a head": wait_for_close(app, HEAD),
            "a head that trickles": wait_for_close(app, HEAD, b"x-a: b\r\n" * 100),
            "a body that trickles": wait_for_close(app, BODY_HEAD, b"x" * 99),
            "half a body": wait_for_close(app, BODY_HEAD + b"email=a"),
            "half a second head": wait_for_close(
                app, b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /h"
            ),
            "a huge head": wait_for_close(app, HEAD + b"x-a: " + b"a" * 100_000),
        }
        many = [wait_for_close(app, HEAD) for _ in range(200)]
        closing = asyncio.gather(*endless.values(), *many)
        await asyncio.sleep(0.5)
        assert (await app.ask("GET", "/healthz")).status_code == 200
        results = dict(zip(endless, await closing, strict=False))
        assert (await app.ask("GET", "/healthz")).status_code == 200
    for name, (seconds, answer) in results.items():
        limit = slow.BODY_SECONDS if "body" in name else slow.HEAD_SECONDS
        assert seconds < limit + SLACK, name
        assert answer.startswith(b"HTTP/1.1 408") is ("body" in name), name
        assert (b"200 OK" in answer) is (name == "half a second head"), name


@pytest.mark.parametrize(
    ("seconds", "most"), [(http_protocol.HEAD_SECONDS, 15), (request_middleware.BODY_SECONDS, 60)]
)
def test_limits_leave_time_for_honest_clients_and_not_much_more(seconds: float, most: int) -> None:
    assert 5 <= seconds <= most
