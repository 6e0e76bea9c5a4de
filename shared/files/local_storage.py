"""Files in a directory that all processes share."""

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from shared.core import log
from shared.files.incoming import FULL_DISK
from shared.files.storage import CHUNK_SIZE, FilePath, MissingFile, storage_full, storage_unavailable


class LocalStorage:
    """`Storage` in one folder for each tenant. Only our user of the machine may read it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def put(self, path: FilePath, source: Path, *, sha256: str) -> None:  # noqa: ARG002  the disk checks nothing
        await asyncio.to_thread(self._put, path, source)

    async def read(self, path: FilePath) -> AsyncGenerator[bytes, None]:
        try:
            file = await asyncio.to_thread(self._locate(path).open, "rb")
        except FileNotFoundError as problem:
            raise MissingFile(str(path)) from problem
        with file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_SIZE):
                yield chunk

    async def delete(self, path: FilePath) -> None:
        await asyncio.to_thread(self._locate(path).unlink, missing_ok=True)

    async def close(self) -> None:
        """Nothing is open."""

    def _put(self, path: FilePath, source: Path) -> None:
        target = self._locate(path)
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source.replace(target)  # one step: a reader finds the whole file or none
            _sync_folder(target.parent)
        except OSError as problem:
            log.get_tenant_logger(__name__).error("file_not_stored", problem=type(problem).__name__)
            raise (storage_full() if problem.errno in FULL_DISK else storage_unavailable()) from problem

    def _locate(self, path: FilePath) -> Path:
        return self._root / path.tenant_id / path.file_id


def _sync_folder(folder: Path) -> None:
    """Or the name of the file could be lost in a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
