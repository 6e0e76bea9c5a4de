"""Write a file beside the storage, bounded in size, before it is stored.

A file that is not finished is removed, and what a killed process left is removed a day later.
"""

import errno
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shared.core.config import settings
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.files.storage import storage_full

LEFT_OVER_SECONDS = 24 * 3600
FULL_DISK = (errno.ENOSPC, errno.EDQUOT)


class FileTooLarge(Invalid):
    """More bytes than the kind of file allows. Nothing was stored."""

    status = 413
    default_reason = "file_too_large"


class IncomingFile:
    """A file that is being written. Its methods block: call them in a thread where they write much."""

    def __init__(self, path: Path, target: BinaryIO, max_bytes: int) -> None:
        self.path = path
        self.size = 0  # bytes
        self._target, self._max_bytes, self._digest = target, max_bytes, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Raises FileTooLarge, StorageUnavailable for a full disk."""
        if self.size + len(data) > self._max_bytes:
            raise FileTooLarge(
                f"The file would be larger than {self._max_bytes / 1e6:,.0f} MB.",
                "Narrow the filter, or choose a smaller file.",
            )
        with _full_disk_refused():
            self._target.write(data)
        self._digest.update(data)
        self.size += len(data)
        return len(data)

    def compute_sha256(self) -> str:
        """Of what is written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def finish(self) -> str:
        """Writes everything to the disk. Returns the SHA-256 in hex. Raises StorageUnavailable."""
        with _full_disk_refused():
            self._target.flush()
            os.fsync(self._target.fileno())
        return self._digest.hexdigest()


@contextmanager
def open_incoming(max_bytes: int) -> Iterator[IncomingFile]:
    """A new file, which is removed at the end unless it was moved into the storage. Raises StorageUnavailable."""
    folder = settings().absolute_files_dir / "incoming"
    with _full_disk_refused():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_left_over(folder)
        path = folder / new_id("inc")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield IncomingFile(path, target, max_bytes)
    finally:
        path.unlink(missing_ok=True)


def _remove_left_over(folder: Path) -> None:
    oldest = time.time() - LEFT_OVER_SECONDS
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:  # another process has removed it
            continue


@contextmanager
def _full_disk_refused() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        if problem.errno in FULL_DISK:
            raise storage_full() from problem
        raise
