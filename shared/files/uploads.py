"""Files that programs upload. All who may read files of the organisation read them, until they are deleted.

A row is reserved first. Then the bytes arrive, bounded in size, and are judged and stored outside of any transaction. At
last the row is finished. What is not finished is deleted by the round of `retention`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from shared.access import policy
from shared.access.endpoints import ReceivedFile
from shared.access.file_kinds import FileType, UploadKind
from shared.audit import audit_log
from shared.core import rows
from shared.core.config import settings
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, DomainError, Invalid, Refused
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.files import file_repository, file_types, files, image_encoding, storage_registry
from shared.files.actions import FILE_DELETE, FILE_LIST, FILE_UPLOAD
from shared.files.incoming import FileTooLarge, IncomingFile, open_incoming
from shared.files.models import FileState, StoredFile
from shared.files.storage import CHUNK_SIZE, FilePath

MAX_NAME_LENGTH = 200  # characters
MEGABYTE = 1_000_000  # bytes
MAX_AT_ONCE, MAX_AT_ONCE_IN_ALL = 4, 16  # uploads of one tenant, and of all, in this process
UPLOADS = UploadKind(name="upload", title="Files", action=FILE_LIST, types=tuple(FileType))
_running = Counter[str]()  # uploads by tenant


class UnsupportedFile(DomainError):
    """A file of a type that isn't accepted."""

    status = 415
    default_reason = "unsupported_file_type"


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadView:
    id: str
    name: str
    content_type: str
    size: int  # bytes
    sha256: str  # in hex
    created_by_name: str
    created_at: datetime


@contextmanager
def hold_place(tenant_id: str) -> Iterator[None]:
    """For the time of an upload. Raises Refused while too many arrive."""
    if _running[tenant_id] >= MAX_AT_ONCE or _running.total() >= MAX_AT_ONCE_IN_ALL:
        raise Refused(
            "Too many files are being uploaded.",
            "Upload one after another, and try again in a moment.",
            reason="rate_limited",
            retry_after=5,
        )
    _running[tenant_id] += 1
    try:
        yield
    finally:
        _running[tenant_id] -= 1
        if not _running[tenant_id]:
            del _running[tenant_id]


async def reserve(ctx: Ctx) -> FilePath:
    """Where the bytes go. Raises Refused, including after too many uploads; Conflict when nothing more fits."""
    policy.require(ctx, FILE_UPLOAD)
    await enforce_rate_limit(RateLimit.FILE_TENANT, ctx.tenant_id)
    await _require_room(ctx, 1)
    file = files.build_file(
        ctx, UPLOADS, owner_id=ctx.holder_id, created_by_name=ctx.actor.name, name="upload"
    )
    ctx.session.add(file)
    return FilePath(ctx.tenant_id, file.id)


async def receive(path: FilePath, chunks: AsyncIterator[bytes], *, length: int | None) -> ReceivedFile:
    """Write, judge and store the bytes. `length`: that the client has announced. Call it outside of a transaction.

    Raises FileTooLarge as soon as the limit is passed, UnsupportedFile, Invalid for an image that can't be read,
    StorageUnavailable. Nothing is stored then.
    """
    max_bytes = settings().upload_max_mb * MEGABYTE
    if length is not None and length > max_bytes:
        raise FileTooLarge(
            f"A file can have at most {settings().upload_max_mb:,} MB.", "Choose a smaller file."
        )
    with open_incoming(max_bytes) as incoming:
        await _write(incoming, chunks)
        await asyncio.to_thread(incoming.finish)
        file_type = await asyncio.to_thread(file_types.detect_type, incoming.path)
        if file_type is None or file_type not in UPLOADS.types:
            raise UnsupportedFile(
                "Files of this type aren’t accepted.",
                "Upload a JPEG, PNG or WebP image, a PDF, a ZIP archive, or plain text in UTF-8.",
            )
        if file_type not in file_types.IMAGE_TYPES:
            return await _store(path, incoming, file_type)
        with open_incoming(max_bytes) as encoded:
            await image_encoding.encode_image(incoming.path, encoded, file_type)
            return await _store(path, encoded, file_type)


async def finish(ctx: Ctx, received: ReceivedFile, name: str) -> UploadView:
    """Show the file under this name. Raises Refused, Invalid for a name that is none, Conflict when it doesn't fit."""
    policy.require(ctx, FILE_UPLOAD)
    name = _clean_name(name)
    await file_repository.lock_kind(ctx, UPLOADS.name)
    await _require_room(ctx, received.size)
    file = await rows.lock(ctx, StoredFile, received.file_id)
    if file is None or file.state is not FileState.WRITING:
        raise files.no_such_file()
    file.name, file.content_type = name, received.type.value
    file.size, file.sha256 = received.size, received.sha256
    file.state, file.expires_at = FileState.READY, None
    ctx.session.add(file)
    after = {"name": name, "type": file.content_type, "size": file.size, "sha256": file.sha256}
    audit_log.record(ctx, "file.uploaded", file.id, after=after, file=name)
    return _build_view(file)


async def drop(path: FilePath) -> None:
    """The bytes of an upload that was not finished. Its row ends within the hour. Raises StorageUnavailable."""
    await storage_registry.get_storage().delete(path)


async def list_uploads(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[UploadView]:
    """Newest first. Raises Invalid for an unknown page."""
    policy.require(ctx, FILE_LIST)
    limit = clamp_limit(limit)
    stored = await file_repository.list_files(ctx, UPLOADS.name, after=after, limit=limit + 1)
    return map_page(build_page(stored, limit=limit, cursor_of=file_repository.get_cursor), _build_view)


async def get(ctx: Ctx, file_id: str) -> UploadView:
    """Raises NotFound."""
    policy.require(ctx, FILE_LIST)
    return _build_view(_require_upload(await file_repository.get_file(ctx, file_id)))


async def delete(ctx: Ctx, file_id: str) -> None:
    """It can't be read from now on; its bytes go within minutes. Raises NotFound."""
    policy.require(ctx, FILE_DELETE)
    file = _require_upload(await rows.lock(ctx, StoredFile, file_id))
    file.expires_at = now()
    ctx.session.add(file)
    audit_log.record(ctx, "file.deleted", file.id, before={"name": file.name}, file=file.name)


async def _write(incoming: IncomingFile, chunks: AsyncIterator[bytes]) -> None:
    """In threads, and in larger parts than those that arrive. Raises FileTooLarge, StorageUnavailable."""
    waiting = bytearray()
    async for chunk in chunks:
        waiting += chunk
        if len(waiting) >= CHUNK_SIZE:
            await asyncio.to_thread(incoming.write, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(incoming.write, bytes(waiting))


async def _store(path: FilePath, incoming: IncomingFile, file_type: FileType) -> ReceivedFile:
    sha256 = await asyncio.to_thread(incoming.finish)
    await storage_registry.get_storage().put(path, incoming.path, sha256=sha256)
    return ReceivedFile(file_id=path.file_id, type=file_type, size=incoming.size, sha256=sha256)


async def _require_room(ctx: Ctx, size: int) -> None:
    """Raises Conflict."""
    used, room = await file_repository.count_bytes(ctx, UPLOADS.name), settings().upload_tenant_max_mb
    if used + size > room * MEGABYTE:
        raise Conflict(
            f"The files of this organisation would take more than {room:,} MB.",
            "Delete some that are no longer needed.",
        )


def _require_upload(file: StoredFile | None) -> StoredFile:
    if file is None or file.kind != UPLOADS.name or not files.is_ready(file):
        raise files.no_such_file()
    return file


def _clean_name(text: str) -> str:
    """A name is shown, and never part of a path. Raises Invalid."""
    name = clean_line(
        text, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )
    if "/" in name or "\\" in name or name in (".", ".."):
        problem = "A file name can’t be a path."
        raise Invalid(problem, "Send only its last part.", fields={"name": problem})
    return name


def _build_view(file: StoredFile) -> UploadView:
    return UploadView(
        id=file.id,
        name=file.name,
        content_type=file.content_type,
        size=file.size,
        sha256=file.sha256,
        created_by_name=file.created_by_name,
        created_at=file.created_at,
    )
