"""What tenancy exports: members and the audit log. `shared.files` runs the exports.

Each batch has a transaction of its own and checks the permission again, so a person who loses it gets no further rows.
"""

from collections.abc import Mapping
from typing import Any

from shared.access import actions, policy
from shared.access.file_kinds import (
    ColumnType,
    ExportColumn,
    ExportFilter,
    ExportKind,
    ExportRow,
    ExportSource,
)
from shared.audit import audit_log, filters, sealing
from shared.audit.audit_log import NumberedEvent
from shared.core.context import Ctx
from shared.core.paging import Page, build_page, clean_search_text, map_page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.tenancy import audit_reader, member_repository, members, roles

BATCH_SIZE = 2_000  # rows
MEMBER_FIELDS = ("query", "role", "sort", "descending")
MEMBER_COLUMNS = (
    *(ExportColumn("Name"), ExportColumn("Email"), ExportColumn("Role"), ExportColumn("Status")),
    *(ExportColumn("Last active", ColumnType.TIME), ExportColumn("Joined", ColumnType.TIME)),
)
EVENT_COLUMNS = (
    *(
        ExportColumn("Number", ColumnType.NUMBER),
        ExportColumn("Time", ColumnType.TIME),
        ExportColumn("Actor"),
    ),
    *(ExportColumn(title) for title in ("Actor type", "Action", "Object", "Reason")),
    *(ExportColumn(title, ColumnType.JSON) for title in ("Before", "After", "Details")),
    ExportColumn("Request"),
)


async def start_member_export(ctx: Ctx, export_filter: ExportFilter) -> int:
    """Record the export. Returns how many members there are. Raises Refused, including after too many exports; Invalid."""
    policy.require(ctx, actions.MEMBER_EXPORT)
    query, role = clean_search_text(export_filter.get("query", "")), export_filter.get("role", "")
    members.require_sort_column(_get_sort(export_filter))
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    role_name = await roles.get_audit_name(ctx, role) if role else ""
    audit_log.record(
        ctx, "member.exported", ctx.tenant_id, **_drop_empty({"search": query, "role_filter": role_name})
    )
    return await member_repository.count_members(ctx, query, role)


async def list_member_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:
    """The next batch. `after` is the previous batch's `next_cursor`. Raises Refused, Invalid."""
    policy.require(ctx, actions.MEMBER_EXPORT, counted=False)
    sort = _get_sort(export_filter)
    members.require_sort_column(sort)
    records = await member_repository.list_members(
        ctx,
        query=clean_search_text(export_filter.get("query", "")),
        role=export_filter.get("role", ""),
        sort=sort,
        descending=export_filter.get("descending", "") == "yes",
        after=after,
        limit=BATCH_SIZE + 1,
    )
    role_names = {role.key: role.name for role in await roles.list_roles(ctx)}
    page = build_page(records, limit=BATCH_SIZE, cursor_of=lambda record: record[2])
    return map_page(page, lambda record: _build_member_row(members.build_member(*record[:2]), role_names))


async def start_event_export(ctx: Ctx, export_filter: ExportFilter) -> int:
    """Record the export. The fields are those of `audit.filters`. Returns how many events there are.

    Raises Refused, Invalid.
    """
    policy.require(ctx, actions.AUDIT_READ)  # the page needs it too
    policy.require(ctx, actions.AUDIT_EXPORT)
    event_filter = filters.parse_filter(export_filter)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    active_filters = {f"{name}_filter": export_filter.get(name, "").strip() for name in filters.FIELDS}
    await sealing.seal_tenant(ctx)
    audit_log.record(ctx, "audit.exported", ctx.tenant_id, **_drop_empty(active_filters))
    return await audit_log.count_events(ctx, audit_reader.limit_to_retention(ctx, event_filter))


async def list_event_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:
    """The next batch, limited to the plan's retention. Raises Refused, Invalid."""
    policy.require(ctx, actions.AUDIT_READ, counted=False)
    policy.require(ctx, actions.AUDIT_EXPORT, counted=False)
    event_filter = audit_reader.limit_to_retention(ctx, filters.parse_filter(export_filter))
    page = await audit_log.export_events(ctx, event_filter, after=after)
    return map_page(page, _build_event_row)


def _get_sort(export_filter: ExportFilter) -> str:
    return export_filter.get("sort", "") or "name"


def _build_member_row(member: members.Member, role_names: Mapping[str, str]) -> ExportRow:
    status = "Active" if member.state == "active" else "Deactivated"
    role_name = role_names.get(member.role, "")
    return member.name, member.email, role_name, status, member.seen_at, member.created_at


def _build_event_row(numbered: NumberedEvent) -> ExportRow:
    event = numbered.event
    return (
        *(numbered.number, event.at, event.actor_name, event.actor_type, event.action, event.object_id),
        *(event.reason, event.before or None, event.after or None, event.details or None, event.request_id),
    )


def _drop_empty(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


MEMBERS = ExportKind(
    name="members",
    title="Members",
    action=actions.MEMBER_EXPORT,
    page="members",
    source=ExportSource(
        columns=MEMBER_COLUMNS,
        filter_fields=MEMBER_FIELDS,
        start=start_member_export,
        list_batch=list_member_batch,
    ),
)
AUDIT_LOG = ExportKind(
    name="audit",
    title="Audit log",
    action=actions.AUDIT_EXPORT,
    further_actions=(actions.AUDIT_READ,),
    page="audit",
    source=ExportSource(
        columns=EVENT_COLUMNS,
        filter_fields=filters.FIELDS,
        start=start_event_export,
        list_batch=list_event_batch,
    ),
)
