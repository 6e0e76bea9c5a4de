"""Export of all data of a tenant by an operator: the tables whose contract has `export`, as JSONL.

A job writes the file. Secrets never leave: sealed columns, digests and proofs of secrets are left out. The link is bound to the
operator who asked, in the admin app, and the permission is asked again for every download. The tenant's audit log shows the
request with its reason, and each download.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table

from shared.access import actions, decision, policy
from shared.access.file_kinds import EXPORT_LIFETIME, MAX_FILE_BYTES, ColumnType, ExportColumn, ExportRow
from shared.audit import audit_log
from shared.backoffice import tenant_exports_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core import live_events, registry, rows
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, DomainError, Unavailable
from shared.files import files, links, operator_exports, storage_registry
from shared.files.export_writers import CONTENT_TYPES, ExportWriter, open_writer
from shared.files.files import Download
from shared.files.incoming import IncomingFile, open_incoming
from shared.files.links import FileLink
from shared.files.models import OPEN_STATES, ExportFormat, ExportJob, ExportState, FileState, StoredFile
from shared.files.storage import FilePath
from shared.jobs import queue
from shared.tenancy import entry

TASK = "backoffice.export_tenant"
KIND = PURPOSE = "tenant_data"  # stored; members can neither make nor open a file of it
COLUMNS = (ExportColumn("Table"), ExportColumn("Row", ColumnType.JSON))
BATCH_SIZE = 1_000  # rows
SECRET_ENDINGS = ("_hash", "secret", "proof")  # names of columns with a digest or proof of a secret
CHAIN_COLUMNS = {"previous_hash"}  # of the audit log, which proves its order; an API key's is left out
MAX_LISTED = 3
DOWNLOAD_REASON = "Download of the export of all data"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantExport:
    id: str
    state: ExportState
    row_count: int
    problem: str
    created_at: datetime
    expires_at: datetime | None
    path: str  # the signed link in the admin app, "" until it is ready


async def request(octx: OperatorCtx, tenant_id: str, reason: Reason) -> str:
    """Returns the id of the export. Raises Invalid, NotFound, Conflict while the operator’s last one runs."""
    policy.require_operator(octx, actions.OP_TENANT_EXPORT)
    reason_text = use_reason(octx, reason, tenant_id)
    async with entry.enter_as_operator(octx, tenant_id, reason_text) as ctx:
        await operator_exports.lock_exports(ctx)
        newest = await operator_exports.list_newest(ctx, octx.actor_id, kind=KIND, limit=1)
        if newest and newest[0][0].state in OPEN_STATES:
            raise Conflict("Your export of this organisation is already running.", "Wait until it is ready.")
        export = ExportJob(
            tenant_id=tenant_id,
            kind=KIND,
            format=ExportFormat.JSONL,
            owner_id=octx.actor_id,
            created_by_name=octx.actor.name,
        )
        ctx.session.add(export)
        audit_log.record(ctx, "tenant.exported", tenant_id, reason=reason_text)
        await queue.put(ctx, TASK, ordered=False, export_id=export.id)
        await _refresh_pages(ctx)
        return export.id


async def list_exports(octx: OperatorCtx, tenant_id: str, reason: Reason) -> Sequence[TenantExport]:
    """The operator’s own, the newest first, at most three; none for operators who can’t export. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    if not decision.decide_operator(octx, actions.OP_TENANT_EXPORT).allowed:
        return []
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        exports = await operator_exports.list_newest(ctx, octx.actor_id, kind=KIND, limit=MAX_LISTED)
    return [_build_view(octx, export, file) for export, file in exports]


async def open_link(octx: OperatorCtx, link: FileLink) -> Download:
    """What the link names, for the operator who asked for it. Raises NotFound for anything else.

    The download is recorded in the tenant’s audit log.
    """
    try:
        policy.require_operator(octx, actions.OP_TENANT_EXPORT)
        if octx.actor_id != link.holder_id or link.purpose != PURPOSE:
            raise files.no_such_file()
        async with entry.enter_as_operator(octx, link.tenant_id, DOWNLOAD_REASON) as ctx:
            file = await operator_exports.get_file(ctx, link.file_id)
            if file is None or file.purpose != PURPOSE or file.owner_id != octx.actor_id:
                raise files.no_such_file()
            if not files.is_ready(file):
                raise files.no_such_file()
            audit_log.record(ctx, "tenant.export_downloaded", file.id, reason=DOWNLOAD_REASON)
            return Download(
                path=FilePath(ctx.tenant_id, file.id),
                name=file.name,
                content_type=file.content_type,
                size=file.size,
            )
    except DomainError:
        raise files.no_such_file() from None


async def execute(tenant_id: str, export_id: str, request_id: str) -> None:
    """Writes and stores the file; does nothing for an export that has ended. Raises what the storage raises while it is away."""
    if not await _set_running(tenant_id, export_id, request_id):
        return
    try:
        with open_incoming(MAX_FILE_BYTES) as incoming:
            count = await _write_tables(tenant_id, request_id, incoming)
            sha256 = await asyncio.to_thread(incoming.finish)
            await _store(tenant_id, export_id, request_id, incoming=incoming, sha256=sha256, count=count)
    except Unavailable:
        raise
    except DomainError as problem:
        async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
            export = await _lock_open(ctx, export_id)
            if export is not None:
                export.state, export.finished_at = ExportState.FAILED, now()
                export.problem = f"{problem.detail} {problem.next_step}".strip()
                ctx.session.add(export)
                await _refresh_pages(ctx)


def list_exported_tables() -> list[tuple[Table, frozenset[str]]]:
    """Tables whose contract says that a full export contains them, with their columns that stay here."""
    return [
        (model.__table__, _list_hidden(model.__table__, contract.sealed))
        for module in registry.list_modules()
        for model, contract in module.tables.items()
        if contract.export
    ]


def _list_hidden(table: Table, sealed: Sequence[str]) -> frozenset[str]:
    chain = CHAIN_COLUMNS if table.name.startswith("audit_") else set[str]()
    secrets = {name for name in table.columns.keys() if name.endswith(SECRET_ENDINGS)} - chain  # noqa: SIM118
    return frozenset(secrets.union(sealed))


async def _set_running(tenant_id: str, export_id: str, request_id: str) -> bool:
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        export = await _lock_open(ctx, export_id)
        if export is None:
            return False
        export.state = ExportState.RUNNING
        ctx.session.add(export)
        return True


async def _write_tables(tenant_id: str, request_id: str, incoming: IncomingFile) -> int:
    """The number of rows. Each batch is a transaction of its own."""
    writer, count = await asyncio.to_thread(open_writer, ExportFormat.JSONL, incoming, COLUMNS), 0
    for table, hidden in list_exported_tables():
        count += await _write_table(tenant_id, request_id, writer, table=table, hidden=hidden)
    await asyncio.to_thread(writer.finish)
    return count


async def _write_table(
    tenant_id: str, request_id: str, writer: ExportWriter, *, table: Table, hidden: frozenset[str]
) -> int:
    after, count = "", 0
    while True:
        async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
            batch = await repository.list_rows(ctx, table, hidden=hidden, after=after, limit=BATCH_SIZE)
        lines: list[ExportRow] = [(table.name, _to_plain(row)) for row in batch]
        await asyncio.to_thread(writer.write_rows, lines)
        count += len(batch)
        if len(batch) < BATCH_SIZE:
            return count
        after = batch[-1]["id"]


# `Any`: the values of a row of any table.
def _to_plain(row: dict[str, Any]) -> dict[str, Any]:
    """Times, numbers and words as text where JSON has no type for them."""
    plain: dict[str, Any] = json.loads(json.dumps(row, default=_to_text))
    return plain


def _to_text(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def _store(
    tenant_id: str, export_id: str, request_id: str, *, incoming: IncomingFile, sha256: str, count: int
) -> None:
    """The row comes first, so that no stored file is unknown to us. Nothing stays where the export has ended meanwhile."""
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        export = await _lock_open(ctx, export_id)
        if export is None:
            return
        file = StoredFile(
            tenant_id=tenant_id,
            kind=KIND,
            purpose=PURPOSE,
            name=f"{ctx.slug}-all-data-{now():%Y-%m-%d}.jsonl",
            content_type=CONTENT_TYPES[ExportFormat.JSONL],
            owner_id=export.owner_id,
            created_by_name=export.created_by_name,
            expires_at=now() + EXPORT_LIFETIME,
        )
        ctx.session.add(file)
    storage, path = storage_registry.get_storage(), FilePath(tenant_id, file.id)
    await storage.put(path, incoming.path, sha256=sha256)
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        export, stored = await _lock_open(ctx, export_id), await rows.lock(ctx, StoredFile, file.id)
        if export is not None and stored is not None:
            stored.state, stored.size, stored.sha256 = FileState.READY, incoming.size, sha256
            ctx.session.add(stored)
            await ctx.session.flush()
            export.state, export.finished_at, export.file_id = ExportState.READY, now(), stored.id
            export.row_count = export.expected_rows = count
            ctx.session.add(export)
            await _refresh_pages(ctx)
            return
    await storage.delete(path)


async def _lock_open(ctx: Ctx, export_id: str) -> ExportJob | None:
    export = await rows.lock(ctx, ExportJob, export_id)
    is_open = export is not None and export.kind == KIND and export.state in OPEN_STATES
    return export if is_open else None


def _build_view(octx: OperatorCtx, export: ExportJob, file: StoredFile | None) -> TenantExport:
    path = ""
    if file is not None and file.expires_at is not None and files.is_ready(file):
        path = links.build_path(
            FileLink(
                tenant_id=export.tenant_id,
                file_id=file.id,
                purpose=PURPOSE,
                holder_id=octx.actor_id,
                expires_at=file.expires_at,
            )
        )
    return TenantExport(
        id=export.id,
        state=export.state,
        row_count=export.row_count,
        problem=export.problem,
        created_at=export.created_at,
        expires_at=file.expires_at if file is not None else None,
        path=path,
    )


async def _refresh_pages(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "tenant")
