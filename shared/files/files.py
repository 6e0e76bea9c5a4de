"""Files of a tenant: open one by its signed link, and delete those that have expired.

A file belongs to whoever asked for it. Its bytes are streamed by us after the decision, never by the storage's own link.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import policy
from shared.access.file_kinds import EXPORT_LIFETIME, FILE_KINDS, FileKind, FilePurpose
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import DomainError, NotFound
from shared.files import file_repository, links, storage_registry
from shared.files.actions import FILE_READ
from shared.files.links import FileLink
from shared.files.models import FileState, StoredFile
from shared.files.storage import FilePath, MissingFile
from shared.tenancy.models import TenantState

LINK_LIFETIME = timedelta(hours=1)
WRITING_LIFETIME = timedelta(hours=1)  # of a file that nobody finishes
DELETE_BATCH = 100
REFERENCE_PREFIX = "files/"  # in the stored address of a notification


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLink:
    path: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A file that its holder may read."""

    path: FilePath
    name: str
    content_type: str
    size: int  # bytes


async def create_link(ctx: Ctx, file_id: str) -> SignedLink:
    """A link for the actor: the person, or the API key. It works for an hour, or until the file expires.

    Raises NotFound, including for another owner's file; Refused for an actor who may no longer read files of this kind.
    """
    policy.require(ctx, FILE_READ)
    file = await _get_readable_file(ctx, file_id)
    require_kind(ctx, FILE_KINDS[file.kind])
    expires_at = now() + LINK_LIFETIME
    return build_link(ctx, file, expires_at=min(expires_at, file.expires_at or expires_at))


def build_link(ctx: Ctx, file: StoredFile, *, expires_at: datetime) -> SignedLink:
    """For services that have read the file for its owner."""
    link = FileLink(
        tenant_id=ctx.tenant_id,
        file_id=file.id,
        purpose=file.purpose,
        holder_id=ctx.actor_id,
        expires_at=expires_at,
    )
    return SignedLink(path=links.build_path(link), expires_at=expires_at)


def build_reference(file: StoredFile) -> str:
    """What a notification stores about the file: no link, because the database holds none."""
    return REFERENCE_PREFIX + file.id


def build_referenced_path(ctx: Ctx, reference: str, made_at: datetime) -> str:
    """The actor's link to the export that a notification of `made_at` refers to; "" for no file and an expired one."""
    file_id = reference.removeprefix(REFERENCE_PREFIX)
    expires_at = made_at + EXPORT_LIFETIME
    if file_id == reference or expires_at <= now():
        return ""
    link = FileLink(
        tenant_id=ctx.tenant_id,
        file_id=file_id,
        purpose=FilePurpose.EXPORT.value,
        holder_id=ctx.actor_id,
        expires_at=expires_at,
    )
    return links.build_path(link)


def is_reference(text: str) -> bool:
    return text.startswith(REFERENCE_PREFIX)


async def open_link(ctx: Ctx, link: FileLink) -> Download:
    """What the link names, where the actor is its holder and may still read it.

    Raises NotFound for anything else, so that a good signature tells a stranger nothing.
    """
    try:
        policy.require(ctx, FILE_READ)
        if (ctx.tenant_id, ctx.actor_id) != (link.tenant_id, link.holder_id):
            raise no_such_file()
        file = await _get_readable_file(ctx, link.file_id)
        if file.purpose != link.purpose:
            raise no_such_file()
        require_kind(ctx, FILE_KINDS[file.kind])
    except DomainError:
        raise no_such_file() from None
    return Download(
        path=FilePath(ctx.tenant_id, file.id), name=file.name, content_type=file.content_type, size=file.size
    )


async def read(download: Download) -> AsyncGenerator[bytes, None]:
    """Its bytes. Raises NotFound where the storage has lost them, StorageUnavailable."""
    try:
        async with aclosing(storage_registry.get_storage().read(download.path)) as chunks:
            async for chunk in chunks:
                yield chunk
    except MissingFile:
        raise no_such_file() from None


async def list_ended(ctx: Ctx) -> list[FilePath]:
    """Files whose time is over, and all of a deleted tenant, at most 100. For the round that deletes them."""
    at = None if ctx.tenant_state == TenantState.DELETED else now()
    file_ids = await file_repository.list_ended_files(ctx, at, limit=DELETE_BATCH)
    return [FilePath(ctx.tenant_id, file_id) for file_id in file_ids]


def no_such_file() -> NotFound:
    return NotFound("This file doesn’t exist.", "It may have expired or been deleted.")


def require_kind(ctx: Ctx, kind: FileKind) -> None:
    """What making a file of this kind needs, reading it needs too. Raises Refused."""
    for action in (kind.action, *kind.further_actions):
        policy.require(ctx, action)


async def _get_readable_file(ctx: Ctx, file_id: str) -> StoredFile:
    """Of the actor's own, or of a kind that all share. Raises NotFound."""
    file = await file_repository.get_file(ctx, file_id)
    kind = FILE_KINDS.get(file.kind) if file is not None else None
    if file is None or kind is None or not is_ready(file):
        raise no_such_file()
    if not kind.is_shared and file.owner_id != ctx.holder_id:
        raise no_such_file()
    return file


def is_ready(file: StoredFile) -> bool:
    """Whether it is whole, and its time isn't over."""
    return file.state is FileState.READY and (file.expires_at is None or file.expires_at > now())


def build_file(ctx: Ctx, kind: FileKind, *, owner_id: str, created_by_name: str, name: str) -> StoredFile:
    """The row of a file that is going to be written. It ends within the hour unless it is finished."""
    return StoredFile(
        tenant_id=ctx.tenant_id,
        kind=kind.name,
        purpose=kind.purpose.value,
        name=name,
        owner_id=owner_id,
        created_by_name=created_by_name,
        expires_at=now() + (kind.lifetime or WRITING_LIFETIME),
    )
