"""Usage over REST: send events, read totals, and find the events behind a number."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from pydantic import AwareDatetime, Field, WithJsonSchema

from shared.access.endpoints import After, ApiCtx, ApiInput, ApiOutput, ApiPage, Endpoint, Limit
from shared.access.meters import Aggregation
from shared.metering import breakdowns, items, usage, usage_reports
from shared.metering.actions import USAGE_READ, USAGE_WRITE
from shared.metering.items import ItemReason
from shared.metering.models import UsageChange, UsageEvent
from shared.metering.quotas import format_quantity
from shared.metering.usage import ItemResult, ItemStatus
from shared.metering.usage_reports import MeterUsage, Step, UsageQuery
from shared.tenancy.api.parameters import IdText

MAX_BODY_BYTES = 5_000_000
# What an item should be. Each is checked by itself, so a wrong one is answered as rejected and spoils no other.
ITEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "meter": {"type": "string", "maxLength": 100},
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": items.MAX_KEY_LENGTH},
        "quantity": {
            "type": ["number", "string"],
            "description": f"From 0 to {items.MAX_QUANTITY:,} with {items.MAX_DECIMALS} decimals; a text keeps all of them",
        },
        "occurred_at": {
            "type": "string",
            "format": "date-time",
            "description": "Now without it. Each meter says how late it may be",
        },
        "subject": {"type": "string", "maxLength": items.MAX_SUBJECT_LENGTH},
        "dimensions": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["meter", "idempotency_key"],
}
UsageItem = Annotated[Any, WithJsonSchema(ITEM_SCHEMA)]  # any JSON: see above
EXAMPLE = {
    "meter": "usage_events",
    "idempotency_key": "order-1001",
    "quantity": 3,
    "occurred_at": "2026-07-01T12:00:00Z",
}


class UsageInput(ApiInput):
    items: list[UsageItem] = Field(min_length=1, max_length=usage.MAX_BATCH_SIZE, examples=[[EXAMPLE]])


class UsageLimitOutput(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    used: str = Field(examples=["500000"])
    allowed: str = Field(examples=["500000"])
    resets_at: datetime


class UsageItemResult(ApiOutput):
    index: int = Field(description="Place of the item in the request", examples=[0])
    status: ItemStatus = Field(description="`repeated`: its key was used before, nothing was counted again")
    reason: ItemReason | None = Field(default=None, examples=[None])
    field: str = Field(default="", description="What is wrong in a rejected item", examples=[""])
    detail: str = Field(default="", examples=[""])
    limit: UsageLimitOutput | None = Field(default=None, description="That refused it", examples=[None])


class UsageAnswer(ApiOutput):
    accepted: int = Field(examples=[1])
    repeated: int = Field(examples=[0])
    rejected: int = Field(examples=[0])
    items: list[UsageItemResult]
    warnings: list[str] = Field(
        default_factory=list, description="About limits that are exceeded and refuse nothing", examples=[[]]
    )


class UsagePoint(ApiOutput):
    starts_at: datetime
    quantity: str = Field(description="A decimal number", examples=["1200"])


class MeterTotals(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    title: str = Field(examples=["Usage events"])
    unit: str = Field(examples=["events"])
    aggregation: Aggregation
    total: str = Field(description="Of the whole time", examples=["36000"])
    this_month: str = Field(description="Of the running calendar month, UTC", examples=["36000"])
    forecast: str | None = Field(description="Of that month, at its rate so far", examples=["52000"])
    monthly_limit: int | None = Field(description="Of the plan", examples=[100_000])
    points: list[UsagePoint]


class BreakdownPart(ApiOutput):
    value: str = Field(description="Empty for events without one", examples=["eu-central"])
    quantity: str = Field(examples=["1200"])
    event_count: int = Field(examples=[12])


class UsageBreakdown(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    by: str = Field(examples=["region"])
    parts: list[BreakdownPart] = Field(description="The largest first")
    other_values: int = Field(description="Values that aren’t among the parts", examples=[0])
    other_quantity: str | None = Field(description="Null where parts don’t add up", examples=["0"])


class UsageTotals(ApiOutput):
    as_of: datetime = Field(description="Everything that was acknowledged before is in the numbers")
    since: datetime
    until: datetime
    step: Step
    meters: list[MeterTotals]


class UsageEventOutput(ApiOutput):
    meter: str = Field(examples=["usage_events"])
    idempotency_key: str = Field(examples=["order-1001"])
    quantity: str = Field(examples=["3"])
    subject: str = Field(examples=[""])
    dimensions: dict[str, str] = Field(examples=[{"source": "shop"}])
    occurred_at: datetime
    recorded_at: datetime
    batch_id: str = Field(description="Events that were recorded together", examples=["ubt_01jz"])
    recorded_by: str = Field(examples=["key_01jz"])
    voided_by: str | None = Field(
        description="The correction that voided it; null where it counts", examples=[None]
    )


class UsageChangeOutput(ApiOutput):
    id: str = Field(examples=["uch_01jz"])
    meter: str = Field(examples=["usage_events"])
    size: str = Field(description="`hour` or `month`", examples=["hour"])
    starts_at: datetime
    cause: str = Field(description="`late_events`, `recomputed` or `corrected`", examples=["late_events"])
    quantity_before: str = Field(examples=["40"])
    quantity_after: str = Field(examples=["43"])
    event_count: int = Field(description="Events that caused this change", examples=[1])
    event_ids: list[str] = Field(description="The first of them", examples=[["usage_events:order-1001"]])
    correction_id: str | None = Field(examples=[None])
    created_at: datetime


MeterText = Annotated[IdText, Query(description="Key of a meter")]
Since = Annotated[AwareDatetime, Query(description="Included", examples=["2026-07-01T00:00:00Z"])]
Until = Annotated[AwareDatetime, Query(description="Not included", examples=["2026-08-01T00:00:00Z"])]


async def send_usage(ctx: ApiCtx, batch: UsageInput) -> UsageAnswer:
    results = await usage.ingest(ctx, batch.items)
    return show_results(results, warnings=await usage.list_warnings(ctx, batch.items))


def show_results(results: Sequence[ItemResult], *, warnings: Sequence[str] = ()) -> UsageAnswer:
    counts = {status: sum(result.status is status for result in results) for status in ItemStatus}
    return UsageAnswer(
        accepted=counts[ItemStatus.ACCEPTED],
        repeated=counts[ItemStatus.REPEATED],
        rejected=counts[ItemStatus.REJECTED],
        items=[_show_result(result) for result in results],
        warnings=list(warnings),
    )


async def get_usage(
    ctx: ApiCtx,
    since: Since,
    until: Until,
    step: Annotated[Step, Query(description="Length of one point")] = Step.DAY,
    meter: Annotated[str, Query(max_length=100, description="All without it")] = "",
) -> UsageTotals:
    report = await usage_reports.get_report(ctx, UsageQuery(since=since, until=until, step=step, meter=meter))
    return UsageTotals(
        as_of=report.as_of,
        since=report.since,
        until=report.until,
        step=report.step,
        meters=[_show_meter(meter_usage) for meter_usage in report.meters],
    )


async def get_usage_breakdown(
    ctx: ApiCtx,
    meter: MeterText,
    by: Annotated[IdText, Query(description="A dimension of the meter, or `sender`")],
    since: Since,
    until: Until,
) -> UsageBreakdown:
    breakdown = await breakdowns.get_breakdown(ctx, meter, by, since=since, until=until)
    return UsageBreakdown(
        meter=breakdown.meter,
        by=breakdown.by,
        parts=[
            BreakdownPart(
                value=row.value, quantity=format_quantity(row.quantity), event_count=row.event_count
            )
            for row in breakdown.rows
        ],
        other_values=breakdown.other_values,
        other_quantity=format_quantity(breakdown.other_quantity)
        if breakdown.other_quantity is not None
        else None,
    )


async def list_usage_events(
    ctx: ApiCtx, meter: MeterText, since: Since, until: Until, after: After = "", limit: Limit = 50
) -> ApiPage[UsageEventOutput]:
    page = await usage_reports.list_events(ctx, meter, since, until=until, after=after, limit=limit)
    return ApiPage(items=[_show_event(event) for event in page.rows], next=page.next_cursor or None)


async def list_usage_changes(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[UsageChangeOutput]:
    page = await usage_reports.list_changes(ctx, after=after, limit=limit)
    return ApiPage(items=[_show_change(change) for change in page.rows], next=page.next_cursor or None)


def _show_result(result: ItemResult) -> UsageItemResult:
    facts = result.limit
    return UsageItemResult(
        index=result.index,
        status=result.status,
        reason=result.reason,
        field=result.field,
        detail=result.detail,
        limit=UsageLimitOutput(
            meter=facts.meter,
            used=format_quantity(facts.used),
            allowed=format_quantity(facts.allowed),
            resets_at=facts.resets_at,
        )
        if facts is not None
        else None,
    )


def _show_meter(meter_usage: MeterUsage) -> MeterTotals:
    meter = meter_usage.meter
    return MeterTotals(
        meter=meter.key,
        title=meter.title,
        unit=meter.plural,
        aggregation=meter.aggregation,
        total=format_quantity(meter_usage.total),
        this_month=format_quantity(meter_usage.this_month),
        forecast=format_quantity(meter_usage.forecast) if meter_usage.forecast is not None else None,
        monthly_limit=meter_usage.monthly_limit,
        points=[
            UsagePoint(starts_at=point.starts_at, quantity=format_quantity(point.quantity))
            for point in meter_usage.points
        ],
    )


def _show_event(event: UsageEvent) -> UsageEventOutput:
    return UsageEventOutput(
        meter=event.meter,
        idempotency_key=event.key,
        quantity=format_quantity(event.quantity),
        subject=event.subject,
        dimensions=event.dimensions,
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        batch_id=event.batch_id,
        recorded_by=event.recorded_by,
        voided_by=event.voided_by,
    )


def _show_change(change: UsageChange) -> UsageChangeOutput:
    return UsageChangeOutput(
        id=change.id,
        meter=change.meter,
        size=change.size,
        starts_at=change.starts_at,
        cause=change.cause,
        quantity_before=format_quantity(change.quantity_before),
        quantity_after=format_quantity(change.quantity_after),
        event_count=change.event_count,
        event_ids=change.event_ids,
        correction_id=change.correction_id,
        created_at=change.created_at,
    )


ENDPOINTS = [
    Endpoint(
        method="POST",
        path="/usage",
        handler=send_usage,
        action=USAGE_WRITE,
        summary="Send usage events; each item has a result of its own",
        max_body_bytes=MAX_BODY_BYTES,
        accepts_any_number=True,
    ),
    Endpoint(
        method="GET",
        path="/usage",
        handler=get_usage,
        action=USAGE_READ,
        summary="Read usage by meter over time",
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/usage/breakdown",
        handler=get_usage_breakdown,
        action=USAGE_READ,
        summary="Read the usage of a meter by a dimension or by sender, the largest first",
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/usage/events",
        handler=list_usage_events,
        action=USAGE_READ,
        summary="List the events of a meter, newest first",
        errors=(404,),
    ),
    Endpoint(
        method="GET",
        path="/usage/changes",
        handler=list_usage_changes,
        action=USAGE_READ,
        summary="List closed hours and months whose usage changed, newest first",
    ),
]
