"""SQL of usage events."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import and_, func, text
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.core.ids import new_id
from shared.core.paging import after_cursor
from shared.metering.items import UsageItem
from shared.metering.models import UsageEvent, UsageKey, UsageMark

# The key decides whether an event is new. Keys are inserted in their order, so two batches can't wait for each other.
# Marks are only ever added: the job that takes them sees those of finished transactions, and none is lost.
ADD_EVENTS = text("""
    with batch as (
        select * from unnest(cast(:ids as text[]), cast(:meters as text[]), cast(:times as timestamptz[]),
            cast(:quantities as numeric[]), cast(:subjects as text[]), cast(:dimensions as text[]))
            as item (id, meter, occurred_at, quantity, subject, dimensions)
    ), fresh as (
        insert into usage_key (tenant_id, id, occurred_at) select :tenant_id, id, occurred_at from batch order by id
        on conflict do nothing returning id
    ), event as (
        insert into usage_event
            (tenant_id, id, meter, occurred_at, quantity, subject, dimensions, batch_id, recorded_by)
        select :tenant_id, id, meter, occurred_at, quantity, subject, cast(dimensions as jsonb), :batch_id, :recorded_by
        from batch join fresh using (id) returning id, meter, occurred_at
    ), mark as (
        insert into usage_mark (tenant_id, id, meter, hour, batch_id)
        select :tenant_id, :batch_id || ':' || row_number() over (), meter, hour, :batch_id
        from (select distinct meter, date_trunc('hour', occurred_at, 'UTC') as hour from event) hours
    )
    select id from event
""")


async def add_events(ctx: Ctx, items: Collection[UsageItem]) -> set[str]:
    """The ids of those that were new, in one statement. Their hours are marked. Ids must not repeat in `items`."""
    connection = await ctx.session.connection()
    parameters = {
        "tenant_id": ctx.tenant_id,
        "batch_id": new_id("ubt"),
        "recorded_by": ctx.actor_id,
        "ids": [item.id for item in items],
        "meters": [item.meter for item in items],
        "times": [item.occurred_at for item in items],
        "quantities": [item.quantity for item in items],
        "subjects": [item.subject for item in items],
        "dimensions": [json.dumps(item.dimensions, ensure_ascii=False) for item in items],
    }
    return {row.id for row in await connection.execute(ADD_EVENTS, parameters)}


async def list_events(
    ctx: Ctx, meter: str, since: datetime, *, until: datetime, after: str, limit: int
) -> Sequence[UsageEvent]:
    """Newest first. `after`: of the cursor (occurred_at, id), "" for the first page."""
    order = (col(UsageEvent.occurred_at), col(UsageEvent.id))
    statement = (
        select(UsageEvent)
        .where(UsageEvent.tenant_id == ctx.tenant_id, UsageEvent.meter == meter)
        .where(col(UsageEvent.occurred_at) >= since, col(UsageEvent.occurred_at) < until)
        .where(*after_cursor(order, after, descending=True))
        .order_by(*(column.desc() for column in order))
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def find_event(ctx: Ctx, meter: str, event_id: str) -> UsageEvent | None:
    """`event_id`: of its key, which says when it occurred."""
    is_its_key = and_(
        col(UsageKey.tenant_id) == col(UsageEvent.tenant_id),
        col(UsageKey.id) == col(UsageEvent.id),
        col(UsageKey.occurred_at) == col(UsageEvent.occurred_at),
    )
    statement = (
        select(UsageEvent)
        .join(UsageKey, is_its_key)
        .where(UsageEvent.tenant_id == ctx.tenant_id)
        .where(UsageKey.id == event_id, UsageEvent.meter == meter)
    )
    return (await ctx.session.exec(statement)).one_or_none()


async def get_oldest_mark(ctx: Ctx) -> datetime | None:
    """When the oldest event was recorded that isn't in the aggregates; None without one."""
    statement = select(func.min(UsageMark.created_at)).where(UsageMark.tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()
