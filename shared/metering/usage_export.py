"""Export a tenant's usage, as its dashboard shows it. `shared.files` runs the export."""

from datetime import datetime, timedelta

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
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.metering import usage_reports
from shared.metering.actions import USAGE_EXPORT
from shared.metering.usage_reports import Step, UsageQuery

FIELDS = ("meter", "since", "until", "step")
COLUMNS = (
    *(ExportColumn("Meter"), ExportColumn("Unit"), ExportColumn("From", ColumnType.TIME)),
    ExportColumn("Quantity"),
)
DEFAULT_RANGE = timedelta(days=30)


async def start(ctx: Ctx, export_filter: ExportFilter) -> int:
    """Record the export. Returns how many rows there are. Raises Refused, including after too many exports; Invalid."""
    policy.require(ctx, USAGE_EXPORT)
    query = parse_filter(export_filter)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    report = await usage_reports.get_report(ctx, query)
    audit_log.record(ctx, "usage.exported", ctx.tenant_id)
    return sum(len(meter_usage.points) for meter_usage in report.meters)


async def list_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:
    """All rows as one batch: their number is limited. Raises Refused, Invalid."""
    policy.require(ctx, USAGE_EXPORT, counted=False)
    if after:
        raise Invalid("This page does not exist.", "Start again at the first page.")
    report = await usage_reports.get_report(ctx, parse_filter(export_filter))
    rows: list[ExportRow] = [
        (
            meter_usage.meter.title,
            meter_usage.meter.plural,
            point.starts_at,
            format(point.quantity.normalize(), "f"),
        )
        for meter_usage in report.meters
        for point in meter_usage.points
    ]
    return Page(rows=rows)


def parse_filter(export_filter: ExportFilter) -> UsageQuery:
    """The last 30 days by day, without a filter. Raises Invalid."""
    at = now()
    try:
        return UsageQuery(
            since=_parse_time(export_filter.get("since", "")) or at - DEFAULT_RANGE,
            until=_parse_time(export_filter.get("until", "")) or at,
            step=Step(export_filter.get("step", "") or Step.DAY),
            meter=export_filter.get("meter", ""),
        )
    except ValueError:
        raise Invalid("This time or step does not exist.", "Open the page again.") from None


def _parse_time(text: str) -> datetime | None:
    """Raises ValueError, for a time without a zone too."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError
    return at


USAGE = ExportKind(
    name="usage",
    title="Usage",
    action=USAGE_EXPORT,
    page="usage",
    source=ExportSource(columns=COLUMNS, filter_fields=FIELDS, start=start, list_batch=list_batch),
)
