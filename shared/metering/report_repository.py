"""SQL of usage reports: from the aggregates, and from the events where aggregates of subjects don't add up."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import text

from shared.access.meters import Aggregation
from shared.core.context import Ctx

FROM_WINDOWS = """
    select {period} as starts_at, {quantity} as quantity from usage_window
    where tenant_id = :tenant_id and meter = :meter and size = 'hour'
        and starts_at >= :since and starts_at < :until and event_count > 0
    group by 1 order by 1
"""
FROM_EVENTS = """
    select {period} as starts_at, count(distinct subject)::numeric as quantity from usage_event
    where tenant_id = :tenant_id and meter = :meter and occurred_at >= :since and occurred_at < :until
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
