"""SQL of usage events."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, text
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.paging import after_cursor
from shared.metering.counter_keys import CounterKey
from shared.metering.items import UsageItem
from shared.metering.models import UsageEvent, UsageKey, UsageMark

# The key decides whether an event is new. Keys are inserted in their order, so two batches can't wait for each other.
# Marks are only ever added: the job that takes them sees those of finished transactions, and none is lost. So are draws
# of counters. A reservation that is drawn stays locked until the transaction ends, so that it can't lapse meanwhile.
ADD = """
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
    ){draws}
    select id from event
"""
ADD_DRAWS = """, held as (
        select id from usage_reservation where tenant_id = :tenant_id and id = any(cast(:reservation_ids as text[]))
            and expires_at > clock_timestamp() for key share
    ), draw as (
        insert into usage_draw (tenant_id, id, counter_id, meter, starts_at, ends_at, reservation_id, quantity)
        select :tenant_id, :batch_id || ':' || row_number() over (), counter_id, batch.meter, starts_at, ends_at,
            reservation_id, sum(quantity)
        from unnest(cast(:drawn_ids as text[]), cast(:counter_ids as text[]), cast(:starts as timestamptz[]),
            cast(:ends as timestamptz[]), cast(:reservation_ids as text[]))
            as share (id, counter_id, starts_at, ends_at, reservation_id) join fresh using (id) join batch using (id)
        where quantity > 0 and (reservation_id = '' or reservation_id in (select id from held))
        group by counter_id, batch.meter, starts_at, ends_at, reservation_id
    ), lapsed as (
        select 1 from unnest(cast(:reservation_ids as text[])) as wanted (id)
        where id <> '' and id not in (select id from held)
    )
"""
ADD_EVENTS = text(ADD.format(draws=""))
ADD_DRAWN_EVENTS = text(f"{ADD.format(draws=ADD_DRAWS)} union all select null from lapsed")  # noqa: S608  constants


class ReservationLapsed(Refused):
    """What was reserved for these events has lapsed, because the database was slow. The transaction must end."""

    def __init__(self) -> None:
        super().__init__(
            "This took too long, so nothing was counted.",
            "Try again in a moment.",
            reason="unavailable",
            retry_after=1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterShare:
    """That an event counts in this counter. `reservation_id`: that it draws from; "" for none."""

    event_id: str
    key: CounterKey
    reservation_id: str = ""


async def add_events(ctx: Ctx, items: Collection[UsageItem], shares: Sequence[CounterShare] = ()) -> set[str]:
    """The ids of those that were new, in one statement. Their hours are marked. Ids must not repeat in `items`.

    `shares`: of the counters in which new ones count. Raises ReservationLapsed.
    """
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
    if not shares:
        return {row.id for row in await connection.execute(ADD_EVENTS, parameters)}
    parameters |= {
        "drawn_ids": [share.event_id for share in shares],
        "counter_ids": [share.key.id for share in shares],
        "starts": [share.key.starts_at for share in shares],
        "ends": [share.key.ends_at for share in shares],
        "reservation_ids": [share.reservation_id for share in shares],
    }
    new_ids = {row.id for row in await connection.execute(ADD_DRAWN_EVENTS, parameters)}
    if None in new_ids:
        raise ReservationLapsed
    return new_ids


async def list_known_keys(ctx: Ctx, ids: Collection[str]) -> set[str]:
    """Which of these ids were used before."""
    statement = select(UsageKey.id).where(
        UsageKey.tenant_id == ctx.tenant_id, col(UsageKey.id).in_(list(ids))
    )
    return set((await ctx.session.exec(statement)).all())


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
