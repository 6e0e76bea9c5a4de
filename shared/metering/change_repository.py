"""SQL of changes of closed windows, and of the events behind a number."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, text
from sqlmodel import col, select

from shared.access.meters import Aggregation
from shared.core.context import Ctx
from shared.core.paging import after_cursor
from shared.metering.models import UsageChange, UsageEvent
from shared.metering.rollup_repository import QUANTITIES

# An hour with a mark is being added up: its mark and its events become visible together, and go together.
DIFFERENCES = """
    with truth as (
        select date_trunc('hour', e.occurred_at, 'UTC') as hour, {quantity} as quantity, count(*) as event_count,
            bit_xor(hashtextextended(concat_ws(' ', e.id, extract(epoch from e.occurred_at), e.quantity, e.subject), 0))
                as checksum
        from usage_event e where tenant_id = :tenant_id and e.meter = :meter
            and e.occurred_at >= :since and e.occurred_at < :until and e.voided_by is null group by 1
    ), stored as (
        select starts_at as hour, quantity, event_count, checksum from usage_window
        where tenant_id = :tenant_id and meter = :meter and size = 'hour' and event_count > 0
            and starts_at >= :since and starts_at < :until
    )
    select hour, (truth.quantity, truth.event_count, truth.checksum)
        is distinct from (stored.quantity, stored.event_count, stored.checksum) as differs
    from truth full join stored using (hour)
    where hour not in (select m.hour from usage_mark m where tenant_id = :tenant_id and m.meter = :meter)
    order by hour
"""
DIFFERENCES_BY_AGGREGATION = {
    aggregation: text(DIFFERENCES.format(quantity=quantity)) for aggregation, quantity in QUANTITIES.items()
}


async def list_changes(ctx: Ctx, *, after: str, limit: int) -> Sequence[UsageChange]:
    """Newest first."""
    order = (col(UsageChange.created_at), col(UsageChange.id))
    statement = (
        select(UsageChange)
        .where(UsageChange.tenant_id == ctx.tenant_id)
        .where(*after_cursor(order, after, descending=True))
        .order_by(*(column.desc() for column in order))
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def list_hours_with_events(ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> set[datetime]:
    hour = func.date_trunc("hour", UsageEvent.occurred_at, "UTC")
    statement = (
        select(hour)
        .where(UsageEvent.tenant_id == ctx.tenant_id, UsageEvent.meter == meter)
        .where(col(UsageEvent.occurred_at) >= since, col(UsageEvent.occurred_at) < until)
        .where(col(UsageEvent.voided_by).is_(None))
        .distinct()
    )
    return {moment.astimezone(UTC) for moment in (await ctx.session.exec(statement)).all()}


async def list_differing_hours(
    ctx: Ctx, meter: str, *, since: datetime, until: datetime, aggregation: Aggregation
) -> tuple[int, list[datetime]]:
    """How many hours were compared, and those whose aggregate isn't that of their events. Whole hours only."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until}
    rows = (await connection.execute(DIFFERENCES_BY_AGGREGATION[aggregation], values)).all()
    return len(rows), [row.hour.astimezone(UTC) for row in rows if row.differs]
