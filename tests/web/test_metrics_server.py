"""`/metrics` at an address of its own, and no longer at the apps' then."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

import httpx

from shared.core.config import settings
from shared.web import metrics_server
from tests.support.http_visitor import browser


async def test_metrics_have_an_address_of_their_own(environment: Callable[[str, str], None]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1] - metrics_server.PORTS_ABOVE["admin"]
    environment("BULKHEAD_METRICS_ADDRESS", f"127.0.0.1:{port}")
    assert settings().metrics_target == ("127.0.0.1", port)
    serving = asyncio.create_task(metrics_server.run("admin"))
    try:
        await asyncio.sleep(0)
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{port + 1}/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert "bulkhead_requests_total" in answer.text
        async with browser() as visitor:
            assert (await visitor.get("/metrics")).status_code == 404
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
