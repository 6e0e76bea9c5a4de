"""Exports of a tenant's lists: start one, follow it, cancel it. `export_runs` does the work in a job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import policy
from shared.access.file_kinds import EXPORT_KINDS, ExportKind
from shared.core import live_events, rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.files import export_repository, export_writers, file_repository, files
from shared.files.actions import EXPORT_CANCEL, EXPORT_CREATE, EXPORT_READ
from shared.files.models import OPEN_STATES, ExportFormat, ExportJob, ExportState, StoredFile
from shared.jobs import queue

RUN_TASK = "files.run_export"
SEQUENCE = "exports"  # one at a time in a tenant, so that none takes all slots
MAX_OPEN = 10  # exports of a tenant that wait or run
MAX_LISTED = 3
MAX_VALUE_LENGTH = 200  # characters of one value of a filter


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportView:
    id: str
    kind: str
    is_signed: bool
    format: ExportFormat
    state: ExportState
    row_count: int
    expected_rows: int
    percent: int  # of the expected rows; 100 only when it is ready
    problem: str  # why it failed
    decision_id: str  # of what refused it, "" for other problems
    created_at: datetime
    finished_at: datetime | None
    file_id: str  # "" until it is ready
    file_name: str
    file_size: int  # bytes
    expires_at: datetime | None
    download_path: str  # the signed link of the actor, "" until it is ready


async def begin(ctx: Ctx, kind_name: str, export_format: str, export_filter: Mapping[str, str]) -> ExportView:
    """Start an export. Its owner is the person, or the holder of the key.

    Raises Refused, including after too many exports; Invalid for an unknown kind, format or filter; Conflict for too many open
    exports and for a format that this installation can't write.
    """
    policy.require(ctx, EXPORT_CREATE)
    kind, chosen_format = _get_kind(kind_name), _parse_format(export_format)
    files.require_kind(ctx, kind)
    if not ctx.person_id and not ctx.key_holder_id:
        policy.require_person(ctx)
    export_writers.require_format(chosen_format)
    if kind.source.signer is not None:
        export_writers.require_signable(chosen_format)
    clean_filter = _clean_filter(kind, export_filter)
    await export_repository.lock_open_exports(ctx)
    if await export_repository.count_open_exports(ctx) >= MAX_OPEN:
        raise Conflict(
            f"{MAX_OPEN} exports of this organisation are waiting or running.",
            "Wait until one is ready, or cancel one.",
        )
    expected_rows = await kind.source.start(ctx, clean_filter)
    export = ExportJob(
        tenant_id=ctx.tenant_id,
        kind=kind.name,
        format=chosen_format,
        filter=clean_filter,
        expected_rows=expected_rows,
        owner_id=ctx.holder_id,
        key_id=ctx.actor_id if ctx.key_holder_id else "",
        created_by_name=ctx.actor.name,
    )
    ctx.session.add(export)
    await queue.put(ctx, RUN_TASK, sequence=SEQUENCE, export_id=export.id)
    await publish_change(ctx, export)
    return _build_view(ctx, export, None)


async def get(ctx: Ctx, export_id: str) -> ExportView:
    """Raises NotFound, including for another owner's export."""
    policy.require(ctx, EXPORT_READ)
    export = await export_repository.get_export(ctx, export_id)
    if export is None or export.owner_id != ctx.holder_id:
        raise _not_found()
    file = await file_repository.get_file(ctx, export.file_id) if export.file_id else None
    return _build_view(ctx, export, file)


async def list_recent(ctx: Ctx, kind_name: str) -> Sequence[ExportView]:
    """The actor's own exports of this kind, the newest first, at most three."""
    policy.require(ctx, EXPORT_READ)
    exports = await export_repository.list_exports(ctx, ctx.holder_id, kind=kind_name, limit=MAX_LISTED)
    return [_build_view(ctx, export, file) for export, file in exports]


async def cancel(ctx: Ctx, export_id: str) -> ExportView:
    """The job stops within about a second, and nothing is stored. Raises NotFound, Conflict for one that has ended."""
    policy.require(ctx, EXPORT_CANCEL)
    export = await rows.lock(ctx, ExportJob, export_id)
    if export is None or export.owner_id != ctx.holder_id:
        raise _not_found()
    if export.state not in OPEN_STATES:
        raise Conflict("This export has ended already.", "Reload the page.")
    export.state, export.finished_at = ExportState.CANCELLED, now()
    ctx.session.add(export)
    await publish_change(ctx, export)
    return _build_view(ctx, export, None)


async def publish_change(ctx: Ctx, export: ExportJob) -> None:
    """Open pages of its owner load again."""
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, build_topic(export.owner_id))


def build_topic(owner_id: str) -> str:
    """The topic of one owner's exports."""
    return f"exports:{owner_id}"


def _build_view(ctx: Ctx, export: ExportJob, file: StoredFile | None) -> ExportView:
    expires_at = file.expires_at if file is not None else None
    is_ready = export.state is ExportState.READY and expires_at is not None and expires_at > now()
    path = ""
    if is_ready and file is not None and expires_at is not None:
        path = files.build_link(ctx, file, expires_at=expires_at).path
    percent = min(99, 100 * export.row_count // max(export.expected_rows, 1))
    return ExportView(
        id=export.id,
        kind=export.kind,
        is_signed=_is_signed(export.kind),
        format=export.format,
        state=export.state,
        row_count=export.row_count,
        expected_rows=export.expected_rows,
        percent=100 if export.state is ExportState.READY else percent,
        problem=export.problem,
        decision_id=export.decision_id,
        created_at=export.created_at,
        finished_at=export.finished_at,
        file_id=file.id if is_ready and file is not None else "",
        file_name=file.name if file is not None else "",
        file_size=file.size if file is not None else 0,
        expires_at=expires_at,
        download_path=path,
    )


def _get_kind(name: str) -> ExportKind:
    kind = EXPORT_KINDS.get(name)
    if kind is None:
        text = f"There is no export of this kind. Choose one of {', '.join(sorted(EXPORT_KINDS))}."
        raise Invalid(text, "Correct the kind.", fields={"kind": text})
    return kind


def _is_signed(kind_name: str) -> bool:
    kind = EXPORT_KINDS.get(kind_name)
    return kind is not None and kind.source.signer is not None


def _parse_format(text: str) -> ExportFormat:
    try:
        return ExportFormat(text)
    except ValueError:
        problem = f"Choose one of {', '.join(ExportFormat)}."
        raise Invalid(problem, "Correct the format.", fields={"format": problem}) from None


def _clean_filter(kind: ExportKind, export_filter: Mapping[str, str]) -> dict[str, str]:
    """Without empty fields. Raises Invalid for unknown ones and for values that can't be stored."""
    field_names = kind.source.filter_fields
    if unknown := sorted(set(export_filter) - set(field_names)):
        text = f"There is no filter {unknown[0][:60]}."
        raise Invalid(text, "Remove it.", fields={"filter": text})
    values = {name: value for name, value in export_filter.items() if value}
    if any(len(value) > MAX_VALUE_LENGTH or "\0" in value for value in values.values()):
        raise Invalid("This filter is too long.", "Shorten it.", fields={"filter": "Too long."})
    return values


def _not_found() -> NotFound:
    return NotFound("This export doesn’t exist.", "It may have expired. Start it again.")
