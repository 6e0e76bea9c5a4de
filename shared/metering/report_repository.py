"""SQL of usage reports: from the aggregates, and from the events where aggregates of subjects don't add up."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import text

from shared.access.meters import Aggregation
from shared.core.context import Ctx
from shared.metering import rollup_repository

FROM_WINDOWS = """
    select {period} as starts_at, {quantity} as quantity from usage_window
    where tenant_id = :tenant_id and meter = :meter and size = 'hour'
        and starts_at >= :since and starts_at < :until and event_count > 0
    group by 1 order by 1
"""
FROM_EVENTS = """
    select {period} as starts_at, count(distinct subject)::numeric as quantity from usage_event
    where tenant_id = :tenant_id and meter = :meter and occurred_at >= :since and occurred_at < :until
        and voided_by is null
    group by 1 order by 1
"""
COUNT_EVENTS = text("""
    select coalesce(sum(event_count), 0) from usage_window where tenant_id = :tenant_id and meter = :meter
        and size = 'hour' and starts_at >= :since and starts_at < :until
""")
BY_PERIOD, WHOLE = "date_trunc(:step, {time}, 'UTC')", "cast(:since as timestamptz)"
QUANTITIES = {
    Aggregation.SUM: "sum(quantity)",
    Aggregation.MAX: "max(quantity)",
    Aggregation.LAST: "(array_agg(quantity order by starts_at desc))[1]",
}

PARTS = """
    with part as (
        select {value} as value, {quantity} as quantity, count(*) as event_count from usage_event e
        where tenant_id = :tenant_id and e.meter = :meter and e.occurred_at >= :since and e.occurred_at < :until
            and e.voided_by is null
        group by 1
    )
    select value, quantity, event_count, count(*) over () as value_count, sum(quantity) over () as total
    from part order by quantity desc, value limit :most
"""
DIMENSION, RECORDED_BY = "coalesce(e.dimensions ->> :dimension, '')", "e.recorded_by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    value: str
    quantity: Decimal
    event_count: int
    value_count: int  # of all values
    total: Decimal  # of all values


async def list_parts(
    ctx: Ctx,
    meter: str,
    aggregation: Aggregation,
    *,
    dimension: str,
    since: datetime,
    until: datetime,
    limit: int,
) -> list[Part]:
    """The largest first. `dimension`: "" for who recorded the events."""
    statement = PARTS.format(
        value=DIMENSION if dimension else RECORDED_BY, quantity=rollup_repository.QUANTITIES[aggregation]
    )
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until, "most": limit}
    connection = await ctx.session.connection()
    rows = await connection.execute(text(statement), values | ({"dimension": dimension} if dimension else {}))
    return [Part(**row) for row in rows.mappings()]


async def list_quantities(
    ctx: Ctx, meter: str, aggregation: Aggregation, *, since: datetime, until: datetime, step: str
) -> dict[datetime, Decimal]:
    """By the start of each period that has events. `step`: hour, day or month; "" for the whole time as one."""
    is_unique = aggregation is Aggregation.UNIQUE
    period = (BY_PERIOD if step else WHOLE).format(time="occurred_at" if is_unique else "starts_at")
    if is_unique:
        statement = FROM_EVENTS.format(period=period)
    else:
        statement = FROM_WINDOWS.format(period=period, quantity=QUANTITIES[aggregation])
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until}
    connection = await ctx.session.connection()
    rows = await connection.execute(text(statement), values | ({"step": step} if step else {}))
    return {row.starts_at.astimezone(UTC): row.quantity for row in rows}


async def count_events(ctx: Ctx, meter: str, since: datetime, until: datetime) -> int:
    """As the aggregates of these hours have counted them."""
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until}
    connection = await ctx.session.connection()
    return int((await connection.execute(COUNT_EVENTS, values)).scalar_one())
