"""Usage of one meter by what its events say: a dimension, or who sent them. Pages, the API and operators show it.

A breakdown is counted from the events, so it covers at most `MAX_RANGE`. However many values there are, the largest are
named and the others are one line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from shared.access import policy
from shared.access.meters import METERS, Aggregation
from shared.core.context import Ctx
from shared.core.errors import Invalid, NotFound
from shared.core.replica import ReadSource
from shared.fairness import heavy_reads
from shared.metering import report_repository
from shared.metering.actions import USAGE_READ
from shared.metering.report_repository import Part

MAX_RANGE = timedelta(days=92)
SHOWN_VALUES = 20
SENDER = "sender"  # the person, key or job that recorded the events


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakdownRow:
    value: str  # "" for events without one
    quantity: Decimal
    event_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    meter: str
    by: str
    rows: Sequence[BreakdownRow]  # the largest first
    other_values: int  # how many aren't among the rows
    other_quantity: Decimal | None  # of these; None where parts don't add up
    source: ReadSource


def list_choices(meter: str) -> tuple[str, ...]:
    """What a meter can be broken down by."""
    return (*METERS[meter].dimensions, SENDER)


async def get_breakdown(ctx: Ctx, meter: str, by: str, *, since: datetime, until: datetime) -> Breakdown:
    """Raises Refused, NotFound, Invalid for a dimension that the meter doesn't have or a time that is too long.

    And as `read_report`.
    """
    policy.require(ctx, USAGE_READ)
    if meter not in METERS:
        raise NotFound("There is no such meter.", "Choose another one.")
    if by not in list_choices(meter):
        raise Invalid(
            "This meter has no such dimension.", f"Choose one of: {', '.join(list_choices(meter))}."
        )
    if not since < until or until - since > MAX_RANGE:
        raise Invalid(
            f"The time has to end after it begins, at most {MAX_RANGE.days} days later.",
            "Choose another time.",
        )
    aggregation = METERS[meter].aggregation

    async def read_parts(reading_ctx: Ctx) -> list[Part]:
        return await report_repository.list_parts(
            reading_ctx,
            meter,
            aggregation,
            dimension="" if by == SENDER else by,
            since=since,
            until=until,
            limit=SHOWN_VALUES,
        )

    reading = await heavy_reads.read_report(ctx, read_parts)
    parts = reading.value
    rows = [
        BreakdownRow(value=part.value, quantity=part.quantity, event_count=part.event_count) for part in parts
    ]
    shown = sum((row.quantity for row in rows), Decimal(0))
    return Breakdown(
        meter=meter,
        by=by,
        rows=rows,
        other_values=parts[0].value_count - len(rows) if parts else 0,
        other_quantity=(parts[0].total - shown if parts else Decimal(0))
        if aggregation is Aggregation.SUM
        else None,
        source=reading.source,
    )
