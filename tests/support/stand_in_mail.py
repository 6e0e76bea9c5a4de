"""The mailbox stand-in inside a test: the same one as in development, on a port of its own."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.core.config import settings
from shared.dev.mailbox import Mailbox, build_smtp_controller
from shared.jobs import mail


@asynccontextmanager
async def run_mailbox() -> AsyncIterator[Mailbox]:
    """Every mail that is sent meanwhile. What failed before it was opened is forgotten."""
    mail.breaker.reset()
    before = os.environ.get("BULKHEAD_SANDBOX_URL")
    # Bound once and kept: a port that is asked for, given back and bound again may be taken by then.
    listener = socket.create_server(("127.0.0.1", 0))
    os.environ["BULKHEAD_SANDBOX_URL"] = f"http://localhost:{listener.getsockname()[1] - 23}"
    settings.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        box = Mailbox(Path(folder) / "mail.jsonl")
        controller = build_smtp_controller(box)
        server = await asyncio.get_running_loop().create_server(controller._factory_invoker, sock=listener)
        try:
            yield box
        finally:
            server.close()
            await server.wait_closed()
            os.environ.pop("BULKHEAD_SANDBOX_URL")
            if before is not None:
                os.environ["BULKHEAD_SANDBOX_URL"] = before
            settings.cache_clear()
