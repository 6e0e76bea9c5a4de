"""`/metrics` at an address of its own, which no visitor reaches: `BULKHEAD_METRICS_ADDRESS`. Each process has its port."""

import asyncio

from prometheus_client import start_http_server

from shared.core import log
from shared.core.config import settings
from shared.web import metrics

PORTS_ABOVE = {"tenant": 0, "admin": 1, "worker": 2}  # the setting's port, by process
REFRESH_INTERVAL_S = 15.0


async def run(process: str) -> None:
    """A lifespan task. `process`: a key of `PORTS_ABOVE`. Waits only where the setting is empty."""
    address = settings().metrics_target
    if address is None:
        await asyncio.Event().wait()
        return
    host, port = address
    try:
        server, _ = start_http_server(port + PORTS_ABOVE[process], addr=host)
    except OSError as problem:  # the app serves without it
        log.get_logger(__name__).error("metrics_not_served", problem=type(problem).__name__)
        await asyncio.Event().wait()
        return
    try:
        while True:
            if process != "admin":  # its role reads neither webhooks nor jobs
                await metrics.refresh_gauges()
            await asyncio.sleep(REFRESH_INTERVAL_S)
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
