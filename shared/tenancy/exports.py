"""Export members and events in batches. The start is recorded in the audit log.

Each batch has its own transaction and checks the permission again. So a slow client holds no connection, and a person
who loses the permission gets no further rows.
"""

from collections.abc import Mapping
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log, filters, sealing
from shared.core.context import Ctx
from shared.core.paging import Page, build_page, clean_search_text, map_page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.tenancy import audit_reader, member_repository, members, roles

MAX_ROWS = 10_000  # rows of one file
BATCH_SIZE = 500


async def start_member_export(ctx: Ctx, query: str, role: str) -> None:
    """Record the export. Raises Refused, including after too many exports."""
    policy.require(ctx, actions.MEMBER_EXPORT)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    role_name = await roles.get_audit_name(ctx, role) if role else ""
    audit_log.record(
        ctx,
        "member.exported",
        ctx.tenant_id,
        **_drop_empty({"search": query.strip(), "role_filter": role_name}),
    )


async def list_member_batch(
    ctx: Ctx, *, query: str, role: str, sort: str, descending: bool, after: str = ""
) -> Page[members.Member]:
    """The next batch. `after` is the previous batch's `next_cursor`. Raises Invalid."""
    policy.require(ctx, actions.MEMBER_EXPORT, counted=False)
    members.require_sort_column(sort)
    records = await member_repository.list_members(
        ctx,
        query=clean_search_text(query),
        role=role,
        sort=sort,
        descending=descending,
        after=after,
        limit=BATCH_SIZE + 1,
    )
    page = build_page(records, limit=BATCH_SIZE, cursor_of=lambda record: record[2])
    return map_page(page, lambda record: members.build_member(record[0], record[1]))


async def start_event_export(ctx: Ctx, form_values: Mapping[str, str]) -> None:
    """Record the export. `form_values` are the fields of `audit.filters`. Raises Refused, Invalid."""
    policy.require(ctx, actions.AUDIT_READ)  # the page needs it too
    policy.require(ctx, actions.AUDIT_EXPORT)
    filters.parse_filter(form_values)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    active_filters = {f"{name}_filter": form_values.get(name, "").strip() for name in filters.FIELDS}
    await sealing.seal_tenant(ctx)
    audit_log.record(ctx, "audit.exported", ctx.tenant_id, **_drop_empty(active_filters))


async def list_event_batch(
    ctx: Ctx, event_filter: audit_log.AuditFilter, *, after: str = ""
) -> Page[audit_log.NumberedEvent]:
    """The next batch, limited to the plan's retention."""
    policy.require(ctx, actions.AUDIT_READ, counted=False)
    policy.require(ctx, actions.AUDIT_EXPORT, counted=False)
    return await audit_log.export_events(ctx, audit_reader.limit_to_retention(ctx, event_filter), after=after)


def _drop_empty(values: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
