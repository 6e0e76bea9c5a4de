"""A database server of its own for tests that change what all databases of a server share, or stop the server."""

import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from shared.core import db
from shared.core.config import settings
from shared.dev.postgres import EmbeddedPostgres
from tests.support.database import WITHOUT_DISK


@contextmanager
def run_own_server() -> Iterator[EmbeddedPostgres]:
    """A new, empty server. It ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-pg-") as folder:
        Path(folder).chmod(0o711)  # the server's user is another one where tests run as root
        server = EmbeddedPostgres(Path(folder) / "postgres", conf=WITHOUT_DISK).start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)


@asynccontextmanager
async def using(server: EmbeddedPostgres, **variables: str) -> AsyncIterator[None]:
    """This process works on that server. `variables`: settings besides."""
    await db.dispose()
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in {"DATABASE_URL": server.url(database="bulkhead"), **variables}.items():
            monkeypatch.setenv(name, value)
        settings.cache_clear()
        try:
            yield
        finally:
            await db.dispose()
    settings.cache_clear()
    db.login_url.cache_clear()


@contextmanager
def stopped(server: EmbeddedPostgres) -> Iterator[None]:
    """Within the block, the server accepts connections and statements and answers none of them."""
    pid = int((server.pgdata_dir / "postmaster.pid").read_text().split()[0])
    stopped_pids = [pid, *_list_children(pid)]
    for each in stopped_pids:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in reversed(stopped_pids):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGCONT)


def kill_server(server: EmbeddedPostgres) -> None:
    """kill -9 of the server and of all its processes, which are gone when this returns. `server.start()` recovers it."""
    pid = int((server.pgdata_dir / "postmaster.pid").read_text().split()[0])
    killed_pids = [pid, *_list_children(pid)]
    for each in killed_pids:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    while server.is_running() or any(_is_alive(each) for each in killed_pids):
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    """A process that has ended and isn't waited for yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _list_children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]
