"""Run an export in a job: read batches with the present rights of whoever asked, write them, store the file.

Each batch is a transaction of its own. A killed worker's export starts again from the first row; its half file is never
stored.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

from shared.access import decision_counts, policy
from shared.access.file_kinds import EXPORT_KINDS, ExportedRows, ExportKind, ExportRow
from shared.access.refusal_codes import Reason
from shared.access.refusal_messages import build_refusal
from shared.core import log, rows
from shared.core.context import Actor, Ctx, Rights, get_key_actor_type
from shared.core.db import now
from shared.core.errors import DomainError, Refused, Unavailable
from shared.core.paging import Page
from shared.core.plurals import plural
from shared.fairness import heavy_reads
from shared.files import exports, files, storage_registry
from shared.files.actions import EXPORT_CREATE
from shared.files.export_writers import CONTENT_TYPES, open_writer
from shared.files.incoming import IncomingFile, open_incoming
from shared.files.models import OPEN_STATES, ExportJob, ExportState, FileState, StoredFile
from shared.files.storage import FilePath
from shared.jobs.worker import ExternalJob
from shared.tenancy import entry, notifications

READY_EVENT = "export_ready"  # stored kind of the notification
PROGRESS_SECONDS = 1.0  # between two times that open pages load the progress


class ExportEnded(Exception):
    """The export was cancelled, or it has ended already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asked for the export."""

    tenant_id: str
    holder_id: str
    key_id: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _FormerMember:
    """Who asked, and no longer has access."""

    tenant_id: str
    actor: Actor
    holder_id: str
    rights: Rights


async def run(job: ExternalJob, export_id: str) -> None:
    """Does nothing for an export that has ended. Raises what the storage raises while it is away, so that the job is retried."""
    requester = None
    try:
        requester, export, kind = await _start(job, export_id)
        with open_incoming(kind.max_bytes) as incoming:
            await _write_rows(requester, export, kind, incoming=incoming)
            sha256 = await asyncio.to_thread(incoming.finish)
            file_id = await _reserve_file(requester, export, kind)
            await _store(requester, export, file_id, incoming=incoming, sha256=sha256)
    except ExportEnded:
        return
    except Unavailable:
        raise
    except DomainError as refusal:
        if requester is None:
            raise
        await _fail(requester, export_id, refusal)


async def _start(job: ExternalJob, export_id: str) -> tuple[Requester, ExportJob, ExportKind]:
    """Raises ExportEnded."""
    async with entry.enter_job(job.tenant_id, exports.RUN_TASK, job.request_id) as ctx:
        export = await _lock_open_export(ctx, export_id)
        kind = EXPORT_KINDS.get(export.kind)
        if kind is None:
            raise ExportEnded
        export.state, export.row_count = ExportState.RUNNING, 0
        ctx.session.add(export)
        await exports.publish_change(ctx, export)
    requester = Requester(
        tenant_id=job.tenant_id,
        holder_id=export.owner_id,
        key_id=export.key_id,
        request_id=job.request_id,
    )
    return requester, export, kind


@asynccontextmanager
async def _enter(requester: Requester) -> AsyncIterator[Ctx]:
    """As whoever asked, with the rights of now. Raises Refused."""
    async with entry.enter_requester(
        requester.tenant_id,
        requester.holder_id,
        key_id=requester.key_id,
        request_id=requester.request_id,
    ) as ctx:
        policy.require(ctx, EXPORT_CREATE, counted=False)
        yield ctx


async def _write_rows(
    requester: Requester, export: ExportJob, kind: ExportKind, *, incoming: IncomingFile
) -> None:
    """Raises ExportEnded, FileTooLarge, StorageUnavailable; Refused when the right is gone, Invalid for too many rows."""
    writer = await asyncio.to_thread(open_writer, export.format, incoming, kind.source.columns)
    after, count, shown_at = "", 0, monotonic()
    first: ExportRow | None = None
    last: ExportRow | None = None
    while True:
        is_shown = monotonic() - shown_at >= PROGRESS_SECONDS
        page = await _read_batch(requester, export, kind, after=after, count=count, is_shown=is_shown)
        await asyncio.to_thread(writer.write_rows, page.rows)
        if page.rows:
            first, last = first or page.rows[0], page.rows[-1]
        count, after = count + len(page.rows), page.next_cursor
        heavy_reads.check_rows(requester.tenant_id, count)
        shown_at = monotonic() if is_shown else shown_at
        if not after:
            break
    if (signer := kind.source.signer) is not None:
        written = ExportedRows(
            export_id=export.id,
            count=count,
            sha256=incoming.compute_sha256(),
            first=first,
            last=last,
            anchor=await signer.read_anchor(requester.tenant_id),
        )
        async with _enter(requester) as ctx:
            proof = await signer.sign(ctx, written)
        await asyncio.to_thread(writer.write_proof, proof)
    await asyncio.to_thread(writer.finish)
    export.row_count = count


async def _read_batch(
    requester: Requester, export: ExportJob, kind: ExportKind, *, after: str, count: int, is_shown: bool
) -> Page[ExportRow]:
    """The next rows. `count`: rows before them. `is_shown`: whether open pages load the progress."""
    async with _enter(requester) as ctx:
        if is_shown:
            current = await _lock_open_export(ctx, export.id)
            current.row_count = count
            ctx.session.add(current)
            await exports.publish_change(ctx, current)
        return await kind.source.list_batch(ctx, export.filter, after)


async def _reserve_file(requester: Requester, export: ExportJob, kind: ExportKind) -> str:
    """The id of a file that is going to be stored. The row comes first, so that no stored file is unknown to us."""
    async with _enter(requester) as ctx:
        name = f"{ctx.slug}-{kind.name}-{now():%Y-%m-%d}.{export.format.value}"
        file = files.build_file(
            ctx, kind, owner_id=export.owner_id, created_by_name=export.created_by_name, name=name
        )
        file.content_type = CONTENT_TYPES[export.format]
        ctx.session.add(file)
    return file.id


async def _store(
    requester: Requester, export: ExportJob, file_id: str, *, incoming: IncomingFile, sha256: str
) -> None:
    """Store the file, or nothing of it where the export ends meanwhile. Raises as `_finish`, StorageUnavailable."""
    storage, path = storage_registry.get_storage(), FilePath(requester.tenant_id, file_id)
    await storage.put(path, incoming.path, sha256=sha256)
    try:
        await _finish(requester, export, file_id, size=incoming.size, sha256=sha256)
    except (ExportEnded, DomainError):
        await storage.delete(path)
        raise


async def _finish(requester: Requester, written: ExportJob, file_id: str, *, size: int, sha256: str) -> None:
    """`written`: with its number of rows. Raises ExportEnded, Refused: its file is never ready then."""
    async with _enter(requester) as ctx:
        export = await _lock_open_export(ctx, written.id)
        file = await rows.lock(ctx, StoredFile, file_id)
        assert file is not None
        file.state, file.size, file.sha256 = FileState.READY, size, sha256
        export.state, export.finished_at, export.file_id = ExportState.READY, now(), file_id
        export.row_count = written.row_count
        ctx.session.add(file)
        await ctx.session.flush()
        ctx.session.add(export)
        await exports.publish_change(ctx, export)
        if ctx.person_id and not ctx.key_holder_id:
            await _notify_ready(ctx, export, file)


async def _notify_ready(ctx: Ctx, export: ExportJob, file: StoredFile) -> None:
    kind, expires_at = EXPORT_KINDS[export.kind], file.expires_at
    assert expires_at is not None
    await notifications.add(
        ctx,
        ctx.person_id,
        READY_EVENT,
        f"Your export is ready: {kind.title}",
        f"{file.name}, {plural(export.row_count, 'row')}. It is deleted on {expires_at:%-d %B %Y}.",
        href=files.build_reference(file),
        dedupe=f"export:{export.id}",
    )


async def _fail(requester: Requester, export_id: str, refusal: DomainError) -> None:
    """Record why. Nothing is stored."""
    async with entry.enter_job(requester.tenant_id, exports.RUN_TASK, requester.request_id) as ctx:
        export = await rows.lock(ctx, ExportJob, export_id)
        if export is None or export.state not in OPEN_STATES:
            return
        log.bind_logger(ctx, __name__).warning("export_failed", reason=refusal.reason)
        export.state, export.finished_at = ExportState.FAILED, now()
        export.problem = f"{refusal.detail} {refusal.next_step}".strip()
        if isinstance(refusal, Refused):
            export.decision_id = refusal.decision_id or await _record_ended_access(ctx, requester, export)
        ctx.session.add(export)
        await exports.publish_change(ctx, export)


async def _record_ended_access(ctx: Ctx, requester: Requester, export: ExportJob) -> str:
    """For a requester who could not even enter, such as a former member. Returns the id of the record."""
    refusal = build_refusal(Reason.MISSING_PERMISSION, EXPORT_CREATE)
    actor = Actor("user", requester.holder_id, export.created_by_name)
    if requester.key_id:
        actor = Actor(get_key_actor_type(requester.holder_id), requester.key_id, export.created_by_name)
    principal = _FormerMember(
        tenant_id=ctx.tenant_id,
        actor=actor,
        holder_id=requester.holder_id,
        rights=ctx.rights,
    )
    await decision_counts.record_refused(principal, refusal, requester.request_id, surface="job")
    return refusal.decision_id


async def _lock_open_export(ctx: Ctx, export_id: str) -> ExportJob:
    """Raises ExportEnded."""
    export = await rows.lock(ctx, ExportJob, export_id)
    if export is None or export.state not in OPEN_STATES:
        raise ExportEnded
    return export
