"""SQL of changes of closed windows, and of the events behind a number."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import func, text
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.core.paging import after_cursor
from shared.metering.models import UsageChange, UsageEvent

DIFFERENCES = text("""
    with truth as (
        select date_trunc('hour', occurred_at, 'UTC') as hour, count(*) as event_count,
            bit_xor(hashtextextended(concat_ws(' ', id, extract(epoch from occurred_at), quantity, subject), 0)) as checksum
        from usage_event where tenant_id = :tenant_id and meter = :meter
            and occurred_at >= :since and occurred_at < :until group by 1
    ), stored as (
        select starts_at as hour, event_count, checksum from usage_window
        where tenant_id = :tenant_id and meter = :meter and size = 'hour' and event_count > 0
            and starts_at >= :since and starts_at < :until
    )
    select hour from truth full join stored using (hour)
    where (truth.event_count, truth.checksum) is distinct from (stored.event_count, stored.checksum) order by hour
""")


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
        .distinct()
    )
    return {moment.astimezone(UTC) for moment in (await ctx.session.exec(statement)).all()}


async def list_differing_hours(ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> list[datetime]:
    """Hours whose aggregate isn't that of their events."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until}
    return list((await connection.execute(DIFFERENCES, values)).scalars())
