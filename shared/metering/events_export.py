"""Export the events behind a number, such as a line of an invoice. `shared.files` runs the export."""

from datetime import datetime

from shared.access import policy
from shared.access.file_kinds import (
    ColumnType,
    ExportColumn,
    ExportFilter,
    ExportKind,
    ExportRow,
    ExportSource,
)
from shared.audit import audit_log
from shared.core.context import Ctx
from shared.core.paging import Page, map_page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.metering import report_repository, usage_export, usage_reports
from shared.metering.actions import USAGE_EXPORT
from shared.metering.models import UsageEvent
from shared.metering.quotas import format_quantity

FIELDS = ("meter", "since", "until")
COLUMNS = (
    *(ExportColumn("Meter"), ExportColumn("Idempotency key"), ExportColumn("Quantity")),
    *(ExportColumn("Subject"), ExportColumn("Dimensions", ColumnType.JSON)),
    *(ExportColumn("Occurred at", ColumnType.TIME), ExportColumn("Recorded at", ColumnType.TIME)),
    *(ExportColumn("Recorded by"), ExportColumn("Batch")),
    ExportColumn("Voided by"),  # a correction: it no longer counts
)
BATCH_SIZE = 200
DEFAULT_METER = "usage_events"


async def start(ctx: Ctx, export_filter: ExportFilter) -> int:
    """Record the export. Returns how many rows there are. Raises Refused, including after too many exports; Invalid, NotFound."""
    policy.require(ctx, USAGE_EXPORT)
    meter, since, until = _parse_filter(export_filter)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    await usage_reports.list_events(ctx, meter, since, until=until, limit=1)  # refuses what can't be listed
    audit_log.record(ctx, "usage.exported", ctx.tenant_id, meter=meter)
    return await report_repository.count_events(ctx, meter, since, until)


async def list_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:
    """Newest first. Raises Refused, Invalid, NotFound."""
    policy.require(ctx, USAGE_EXPORT, counted=False)
    meter, since, until = _parse_filter(export_filter)
    page = await usage_reports.list_events(ctx, meter, since, until=until, after=after, limit=BATCH_SIZE)
    return map_page(page, _build_row)


def _build_row(event: UsageEvent) -> ExportRow:
    return (
        event.meter,
        event.key,
        format_quantity(event.quantity),
        event.subject,
        event.dimensions,
        event.occurred_at,
        event.recorded_at,
        event.recorded_by,
        event.batch_id,
        event.voided_by or "",
    )


def _parse_filter(export_filter: ExportFilter) -> tuple[str, datetime, datetime]:
    """What programs sent in the last 30 days, without a filter. Raises Invalid."""
    query = usage_export.parse_filter({**export_filter, "step": ""})
    return query.meter or DEFAULT_METER, query.since, query.until


USAGE_EVENTS = ExportKind(
    name="usage_events",
    title="Usage events",
    action=USAGE_EXPORT,
    page="usage",
    source=ExportSource(columns=COLUMNS, filter_fields=FIELDS, start=start, list_batch=list_batch),
)
