"""The boundary behind which bytes are stored: a local directory, or a bucket of an S3-compatible service.

A path is the tenant's id and the file's id, both made by us. A file is whole or absent: it is written beside the storage
first (`incoming.py`), then moved in by one step.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.core.errors import Unavailable
from shared.core.ids import is_id

CHUNK_SIZE = 256 * 1024  # bytes
ANCHORS, OPERATORS = "audit-anchors", "operators"  # the folder of anchors, and the chain of no tenant


@dataclass(frozen=True, slots=True)
class FilePath:
    """Where one file of one tenant is. Raises ValueError for anything but our own ids."""

    tenant_id: str
    file_id: str

    def __post_init__(self) -> None:
        if not (is_id("ten", self.tenant_id) and is_id("fil", self.file_id)):
            raise ValueError("a path consists of the id of a tenant and the id of a file")

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.file_id}"


@dataclass(frozen=True, slots=True)
class AnchorPath(FilePath):
    """Where the anchor of one audit chain is. `file_id`: the tenant's id, or the operators' chain."""

    def __post_init__(self) -> None:
        if self.tenant_id != ANCHORS or not (self.file_id == OPERATORS or is_id("ten", self.file_id)):
            raise ValueError("the path of an anchor names a tenant, or the operators")


class MissingFile(Exception):
    """The storage has no such file."""


class StorageUnavailable(Unavailable):
    """The storage can't be reached, refuses us or is full. Nothing was stored."""


class Storage(Protocol):
    async def put(self, path: FilePath, source: Path, *, sha256: str) -> None:
        """Store the whole file. `source` is ours and may be gone afterwards. Raises StorageUnavailable."""

    def read(self, path: FilePath) -> AsyncGenerator[bytes, None]:
        """Its bytes in chunks. Raises MissingFile before the first one, StorageUnavailable."""

    async def delete(self, path: FilePath) -> None:
        """Also when it is gone already. Raises StorageUnavailable."""

    async def close(self) -> None: ...


def storage_unavailable() -> StorageUnavailable:
    return StorageUnavailable(
        "The file storage can’t be reached. Nothing was stored.", "Try again in a minute.", retry_after=60
    )


def storage_full() -> StorageUnavailable:
    return StorageUnavailable(
        "The file storage is full. Nothing was stored.",
        "Contact support, or try again later.",
        retry_after=600,
    )
