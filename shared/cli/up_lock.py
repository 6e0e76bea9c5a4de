"""The lock of a data directory. `bulkhead up` holds it while it runs, and alone starts and stops the database then."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.core.config import ConfigurationError


@contextmanager
def hold(root: Path) -> Iterator[None]:
    """Raises ConfigurationError while another process holds it. A kill -9 of the holder frees it."""
    with _lock_path(root).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"Bulkhead is already running on {root}. Stop it, or give this one its own BULKHEAD_DATA_DIR."
            ) from None
        yield


def is_held(root: Path) -> bool:
    """Whether a `bulkhead up` runs on this data directory."""
    if not _lock_path(root).exists():
        return False
    with _lock_path(root).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _lock_path(root: Path) -> Path:
    return root / "up.lock"
