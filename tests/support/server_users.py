"""The test server stops when the last process that uses it ends: each one holds a shared lock until then."""

import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from shared.dev.postgres import EmbeddedPostgres

_held_files: dict[Path, IO[str]] = {}  # by path


def hold(server: EmbeddedPostgres) -> None:
    """Call it before `server.start()`, so that nobody stops the server in between."""
    path = _lock_path(server)
    if path not in _held_files:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held_files[path] = file


def stop_if_unused(server: EmbeddedPostgres) -> bool:
    """Release the lock of this process, and stop the server unless another process holds one. Whether it stopped."""
    path = _lock_path(server)
    if held_file := _held_files.pop(path, None):
        held_file.close()
    if not server.is_running():
        return False
    with path.open("w") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        server.stop()
        return True
    return False


def _lock_path(server: EmbeddedPostgres) -> Path:
    return server.requested_root.with_suffix(".users")  # beside it: its start may move the directory
