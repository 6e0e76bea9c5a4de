"""The signed export of the audit log: the chain with every event in it, and a signature of the installation.

Whoever gets the file verifies it offline with docs/verify_audit_export.py: each event's hash, its place in the chain, the
signature of the whole file, and the newest anchor. An event outside of the dates or of the plan's retention is
represented by its hash alone, so that the chain has no gap.
"""

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.access.file_kinds import (
    ColumnType,
    ExportColumn,
    ExportedRows,
    ExportFilter,
    ExportKind,
    ExportProof,
    ExportRow,
    ExportSigner,
    ExportSource,
)
from shared.audit import audit_log, filters, sealing
from shared.audit.audit_filter import AuditFilter
from shared.core import installation_keys
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.evidence import anchors
from shared.evidence import chain_repository as repository
from shared.evidence.anchors import ForgedAnchor
from shared.evidence.chain_repository import ChainLink
from shared.tenancy import audit_reader

EXPORT_FORMAT = "bulkhead-audit-export/1"
BATCH_SIZE = 2_000  # events
FILTER_FIELDS = ("since", "until")
COLUMNS = (
    ExportColumn("Number", ColumnType.NUMBER),
    ExportColumn("Previous hash"),
    ExportColumn("Event hash"),
    ExportColumn("Chain hash"),
    ExportColumn("Record"),
    ExportColumn("Id"),
    ExportColumn("Time", ColumnType.TIME),
    ExportColumn("Actor type"),
    ExportColumn("Actor id"),
    ExportColumn("Actor"),
    ExportColumn("Action"),
    ExportColumn("Object"),
    ExportColumn("Reason"),
    ExportColumn("Before", ColumnType.JSON),
    ExportColumn("After", ColumnType.JSON),
    ExportColumn("Details", ColumnType.JSON),
    ExportColumn("Request"),
)


async def start_export(ctx: Ctx, export_filter: ExportFilter) -> int:
    """Record the export. Returns how many events the chain has between its ends. Raises Refused, Invalid."""
    policy.require(ctx, actions.AUDIT_READ)
    policy.require(ctx, actions.AUDIT_EXPORT)
    event_filter = filters.parse_filter(export_filter)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    await sealing.seal_tenant(ctx)
    dates: dict[str, Any] = {
        f"{name}_filter": export_filter[name] for name in FILTER_FIELDS if export_filter.get(name)
    }
    audit_log.record(ctx, "audit.exported", ctx.tenant_id, signed=True, **dates)
    after, last = await _find_ends(ctx, audit_reader.limit_to_retention(ctx, event_filter))
    return await repository.count_links(ctx, after=after, last=last)


async def list_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:
    """The next events in the order of the chain. The first batch decides where the export ends. Raises Refused, Invalid."""
    policy.require(ctx, actions.AUDIT_READ, counted=False)
    policy.require(ctx, actions.AUDIT_EXPORT, counted=False)
    event_filter = audit_reader.limit_to_retention(ctx, filters.parse_filter(export_filter))
    start, last = _parse_cursor(after) if after else await _find_ends(ctx, event_filter)
    links = await repository.list_links(ctx, after=start, last=last, limit=BATCH_SIZE)
    has_more = len(links) == BATCH_SIZE and links[-1].number < last
    return Page(
        rows=[_build_row(link, event_filter) for link in links],
        next_cursor=f"{links[-1].number}-{last}" if has_more else "",
    )


async def sign_export(ctx: Ctx, written: ExportedRows) -> ExportProof:
    """The last line: what the file holds, signed. With the newest anchor of the chain. Raises Refused."""
    policy.require(ctx, actions.AUDIT_EXPORT, counted=False)
    head_number, head_hash = await repository.get_head(ctx)
    statement = json.dumps(
        {
            "format": EXPORT_FORMAT,
            "tenant_id": ctx.tenant_id,
            "export_id": written.export_id,
            "at": now().isoformat(),
            "rows": written.count,
            "sha256": written.sha256,
            "first": _read_number(written.first),
            "last": _read_number(written.last),
            "last_hash": written.last[3] if written.last is not None else "",
            "head": {"number": head_number, "hash": head_hash.hex()},
            "key_id": installation_keys.get_signing_key_id(),
        },
        sort_keys=True,
    )
    signature = installation_keys.sign(statement)
    return ExportProof(
        statement=statement,
        signature=signature.signature,
        public_key=signature.public_key,
        anchor=written.anchor,
    )


async def read_anchor(tenant_id: str) -> str:
    """ "" without one, and for one that isn't ours: the verification of the chain reports that."""
    try:
        anchor = await anchors.read_anchor(tenant_id)
    except ForgedAnchor:
        return ""
    return anchor.text if anchor is not None else ""


async def _find_ends(ctx: Ctx, event_filter: AuditFilter) -> tuple[int, int]:
    """The number before the first event, and that of the last one."""
    head, _ = await repository.get_head(ctx)
    first: int | None = 1
    last: int | None = head
    if event_filter.since is not None:
        first = await repository.find_first_number(ctx, event_filter.since)
    if event_filter.until is not None:
        last = await repository.find_last_number(ctx, event_filter.until)
    return (head, head) if first is None or last is None else (first - 1, last)


def _parse_cursor(cursor: str) -> tuple[int, int]:
    """Raises Invalid."""
    after, _, last = cursor.partition("-")
    if not (after.isdecimal() and last.isdecimal() and len(cursor) < 40):
        raise Invalid("This page of the export doesn’t exist.", "Start the export again.")
    return int(after), int(last)


def _build_row(link: ChainLink, event_filter: AuditFilter) -> ExportRow:
    hashes = (link.number, link.previous_hash.hex(), link.event_hash.hex(), link.chain_hash.hex())
    if link.at is None or not _is_shown(link.at, event_filter):
        return (*hashes, *([""] * 2), None, *([""] * 6), None, None, None, "")
    return (
        *hashes,
        *(
            base64.b64encode(link.record.encode()).decode(),
            link.id,
            link.at,
            link.actor_type,
            link.actor_id,
            link.actor_name,
            link.action,
        ),
        *(link.object_id, link.reason, link.before, link.after, link.details, link.request_id),
    )


def _is_shown(at: datetime, event_filter: AuditFilter) -> bool:
    is_early = event_filter.since is not None and at < event_filter.since
    return not is_early and (event_filter.until is None or at < event_filter.until)


def _read_number(row: Sequence[object] | None) -> int:
    number = row[0] if row is not None else 0
    return number if isinstance(number, int) else 0


SIGNED_AUDIT_LOG = ExportKind(
    name="audit_signed",
    title="Signed audit log",
    action=actions.AUDIT_EXPORT,
    further_actions=(actions.AUDIT_READ,),
    page="audit",
    source=ExportSource(
        columns=COLUMNS,
        filter_fields=FILTER_FIELDS,
        start=start_export,
        list_batch=list_batch,
        signer=ExportSigner(read_anchor=read_anchor, sign=sign_export),
    ),
)
