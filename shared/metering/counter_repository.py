"""SQL of counters: reserve under a limit, draw, add what was drawn, and let reservations lapse.

Reserving is a short transaction of its own, so that the counter's row is never locked for as long as its caller works.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString
from weakref import WeakValueDictionary

from sqlalchemy import exc, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.context import Ctx
from shared.core.db import RawConnection
from shared.metering.counter_keys import CounterKey
from shared.metering.models import UsageCounter

RESERVATION_SECONDS = 30
# Of the few connections of a process, so that a tenant whose counter is locked leaves them to others.
CONNECTIONS_OF_TENANT = 2
SET_TENANT: LiteralString = "select set_config('app.tenant_id', %(tenant_id)s, true)"
# Use that nothing was reserved for and that waits to be added: what is reserved counts already.
WAITING: LiteralString = """(
    select coalesce(sum(d.quantity), 0) from usage_draw d
    where d.tenant_id = c.tenant_id and d.counter_id = c.id and d.reservation_id = ''
)"""
# ruff: noqa: S608  the parts are the constants of this file
# One conditional update: of two that want the last unit, the second one sees what the first one has written.
RESERVE: LiteralString = f"""
    with taken as (
        update usage_counter c set reserved = c.reserved + %(quantity)s
        where c.tenant_id = %(tenant_id)s and c.id = %(counter_id)s
            and c.used + c.reserved + {WAITING} + %(quantity)s <= %(most)s
            and c.reserved + %(quantity)s <= coalesce(%(most_reserved)s::numeric, 'infinity')
        returning c.id
    )
    insert into usage_reservation (tenant_id, id, counter_id, quantity, expires_at)
    select %(tenant_id)s, %(reservation_id)s, taken.id, %(quantity)s,
        clock_timestamp() + {RESERVATION_SECONDS} * interval '1 second'
    from taken returning id
"""
TAKE: LiteralString = f"""
    update usage_counter c set used = c.used + %(quantity)s
    where c.tenant_id = %(tenant_id)s and c.id = %(counter_id)s
        and c.used + c.reserved + {WAITING} + %(quantity)s <= %(most)s
    returning c.id
"""
READ: LiteralString = f"""
    select c.id, c.meter, c.used + (
        select coalesce(sum(d.quantity), 0) from usage_draw d where d.tenant_id = c.tenant_id and d.counter_id = c.id
    ) as used, c.reserved, c.used + c.reserved + {WAITING} as claimed from usage_counter c
    where c.tenant_id = %(tenant_id)s and c.id = any(%(counter_ids)s) order by c.id
"""
LOCK: LiteralString = """
    select id from usage_counter where tenant_id = %(tenant_id)s and id = any(%(counter_ids)s) order by id
    for no key update
"""
# What was recorded of the period without this counter. Hours with marks are read from their events, because their
# aggregates are of before. The ends of hours are finished columns, or row security would keep the index from being used.
BEGINNING: LiteralString = """
    with marked as materialized (
        select distinct hour, hour + interval '1 hour' as hour_end from usage_mark
        where tenant_id = %(tenant_id)s and meter = %(meter)s and hour >= %(starts_at)s and hour < %(ends_at)s
    )
    select greatest(0, (
        select coalesce(sum(w.quantity), 0) from usage_window w
        where w.tenant_id = %(tenant_id)s and w.meter = %(meter)s and w.size = 'hour'
            and w.starts_at >= %(starts_at)s and w.starts_at < %(ends_at)s
            and not exists (select from marked where marked.hour = w.starts_at)
    ) + (
        select coalesce(sum(e.quantity), 0) from marked join usage_event e
            on e.occurred_at >= marked.hour and e.occurred_at < marked.hour_end
        where e.tenant_id = %(tenant_id)s and e.meter = %(meter)s and e.voided_by is null
    ) - (
        select coalesce(sum(d.quantity), 0) from usage_draw d
        where d.tenant_id = %(tenant_id)s and d.counter_id = %(counter_id)s
    )) as used
"""
CREATE: LiteralString = f"""
    insert into usage_counter (tenant_id, id, meter, starts_at, ends_at, used)
    select %(tenant_id)s, %(counter_id)s, %(meter)s, %(starts_at)s, %(ends_at)s, beginning.used
    from ({BEGINNING}) beginning on conflict do nothing
"""
NOTE_REFUSAL: LiteralString = """
    with refused as (
        update usage_counter set refused_amount = %(allowed)s
        where tenant_id = %(tenant_id)s and id = %(counter_id)s
            and (refused_amount is null or refused_amount < %(allowed)s) returning meter
    )
    insert into usage_mark (tenant_id, id, meter, hour, batch_id)
    select %(tenant_id)s, %(mark_id)s, meter, date_trunc('hour', now(), 'UTC'), %(mark_id)s from refused
"""
# Two statements: what the lock waits for is visible in the second one. Draws that nobody has added stay, and count.
LOCK_ENDED: LiteralString = """
    select id from usage_reservation where tenant_id = %(tenant_id)s and counter_id = %(counter_id)s
        and (expires_at <= clock_timestamp() or id = any(%(ended_ids)s)) order by id for update skip locked
"""
END: LiteralString = """
    with ended as (
        delete from usage_reservation where tenant_id = %(tenant_id)s and id = any(%(ids)s) returning quantity
    ), drawn as (
        delete from usage_draw where tenant_id = %(tenant_id)s and counter_id = %(counter_id)s
            and reservation_id = any(%(ids)s) returning quantity
    )
    update usage_counter set used = used + (select coalesce(sum(quantity), 0) from drawn),
        reserved = reserved - (select coalesce(sum(quantity), 0) from ended)
    where tenant_id = %(tenant_id)s and id = %(counter_id)s
"""
BEGIN_AGAIN: LiteralString = f"""
    update usage_counter c set used = beginning.used from ({BEGINNING}) beginning
    where c.tenant_id = %(tenant_id)s and c.id = %(counter_id)s
"""
(
    CREATE_IN_SESSION,
    BEGIN_IN_SESSION,
    BEGIN_AGAIN_IN_SESSION,
    READ_IN_SESSION,
    LOCK_ENDED_IN_SESSION,
    END_IN_SESSION,
) = (
    text(statement.replace("%(", ":").replace(")s", ""))
    for statement in (CREATE, BEGINNING, BEGIN_AGAIN, READ, LOCK_ENDED, END)
)
CHANGE = text("""
    update usage_counter set used = greatest(0, used + :quantity) where tenant_id = :tenant_id and id = :counter_id
""")
LIST_DRAWN = text("""
    select distinct counter_id, meter, starts_at, ends_at from usage_draw where tenant_id = :tenant_id
    order by counter_id limit :most
""")
# First: whoever ends reservations locks them before their draws, too.
LOCK_RESERVATIONS = text("""
    select id from usage_reservation where tenant_id = :tenant_id and counter_id = any(cast(:counter_ids as text[]))
    order by id for no key update
""")
ADD_DRAWN = text("""
    with drawn as (
        delete from usage_draw where tenant_id = :tenant_id and counter_id = any(cast(:counter_ids as text[]))
        returning counter_id, reservation_id, quantity
    ), reserved as (
        update usage_reservation r set quantity = r.quantity - d.quantity
        from (select reservation_id, sum(quantity) as quantity from drawn where reservation_id <> '' group by 1) d
        where tenant_id = :tenant_id and r.id = d.reservation_id returning r.counter_id, d.quantity
    )
    update usage_counter c set used = c.used + d.quantity,
        reserved = c.reserved - (select coalesce(sum(quantity), 0) from reserved where counter_id = c.id)
    from (select counter_id, sum(quantity) as quantity from drawn group by 1) d
    where tenant_id = :tenant_id and c.id = d.counter_id returning c.id, c.used, c.reserved
""")
SUM_USED = text("""
    select wanted.id, c.id is not null as is_made, coalesce(c.used, 0) + coalesce(d.quantity, 0) as used,
        coalesce(d.quantity, 0) as drawn
    from unnest(cast(:counter_ids as text[])) as wanted (id)
    left join (select id, used from usage_counter where tenant_id = :tenant_id) c on c.id = wanted.id
    left join (
        select counter_id, sum(quantity) as quantity from usage_draw where tenant_id = :tenant_id group by 1
    ) d on d.counter_id = wanted.id
""")
SUM_WINDOWS = text("""
    select coalesce(sum(quantity), 0) from usage_window where tenant_id = :tenant_id and meter = :meter and size = 'hour'
        and starts_at >= :since and starts_at < :until
""")
LIST_USED_OF_ALL = text("select tenant_id, used from usage_counter where id = :counter_id order by tenant_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterState:
    """`used` contains what waits to be added, `claimed` what is reserved besides."""

    meter: str
    used: Decimal
    reserved: Decimal
    claimed: Decimal


@dataclass(frozen=True, slots=True)
class CounterConnection:
    """A short transaction of one tenant on a connection of its own."""

    connection: RawConnection
    tenant_id: str

    async def reserve(
        self,
        counter_id: str,
        reservation_id: str,
        *,
        quantity: Decimal,
        most: Decimal,
        most_reserved: Decimal | None = None,
    ) -> bool:
        """False where the counter isn't there, or it would have more than `most`.

        `most_reserved`: what may be reserved of it at once, by all processes; None for any.
        """
        values = {
            "counter_id": counter_id,
            "reservation_id": reservation_id,
            "quantity": quantity,
            "most": most,
            "most_reserved": most_reserved,
        }
        return bool(await self._fetch(RESERVE, values))

    async def take(self, counter_id: str, *, quantity: Decimal, most: Decimal) -> bool:
        """Use it at once. False as in `reserve`."""
        return bool(await self._fetch(TAKE, {"counter_id": counter_id, "quantity": quantity, "most": most}))

    async def read(self, counter_ids: Collection[str]) -> dict[str, CounterState]:
        rows = await self._fetch(READ, {"counter_ids": list(counter_ids)})
        return {
            row[0]: CounterState(meter=row[1], used=row[2], reserved=row[3], claimed=row[4]) for row in rows
        }

    async def lock(self, counter_ids: Collection[str]) -> None:
        await self._fetch(LOCK, {"counter_ids": list(counter_ids)})

    async def create(self, key: CounterKey) -> None:
        """With what was recorded of its period without it."""
        await self._execute(CREATE, _list_values(key))

    async def note_refusal(self, counter_id: str, mark_id: str, *, allowed: Decimal) -> None:
        """The first one of this limit. The mark lets the job that warns come by."""
        await self._execute(NOTE_REFUSAL, {"counter_id": counter_id, "mark_id": mark_id, "allowed": allowed})

    async def end_reservations(self, counter_id: str, ended_ids: Sequence[str] = ()) -> bool:
        """Give back what is left of lapsed ones and of these. False without any.

        Those that an open transaction draws from stay.
        """
        locked = await self._fetch(LOCK_ENDED, {"counter_id": counter_id, "ended_ids": list(ended_ids)})
        if not locked:
            return False
        await self._execute(END, {"counter_id": counter_id, "ids": [row[0] for row in locked]})
        return True

    async def _execute(self, statement: LiteralString, values: Mapping[str, Any]) -> Any:
        return await self.connection.execute(statement, {"tenant_id": self.tenant_id, **values})

    async def _fetch(self, statement: LiteralString, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = await (await self._execute(statement, values)).fetchall()
        return rows


@asynccontextmanager
async def open_transaction(tenant_id: str) -> AsyncIterator[CounterConnection]:
    """Commits at the end of the block. Uses no connection of the pool, because the caller may hold one.

    Raises sqlalchemy.exc.TimeoutError where the tenant has all of its connections for too long.
    """
    places = _places.setdefault(tenant_id, asyncio.Semaphore(CONNECTIONS_OF_TENANT))
    try:
        async with asyncio.timeout(db.POOL_TIMEOUT_S):
            await places.acquire()
    except TimeoutError as problem:
        raise exc.TimeoutError("no connection of the tenant became free") from problem
    try:
        async with db.statement_connection() as connection, connection.transaction():
            await connection.execute(SET_TENANT, {"tenant_id": tenant_id})
            yield CounterConnection(connection, tenant_id)
    finally:
        places.release()


_places = WeakValueDictionary[str, asyncio.Semaphore]()  # by tenant


async def list_drawn_counters(ctx: Ctx, limit: int) -> list[CounterKey]:
    """Counters that have draws to be added. Some of them don't exist yet."""
    connection = await ctx.session.connection()
    rows = await connection.execute(LIST_DRAWN, {"tenant_id": ctx.tenant_id, "most": limit})
    return [
        CounterKey(id=row.counter_id, meter=row.meter, starts_at=row.starts_at, ends_at=row.ends_at)
        for row in rows
    ]


async def add_drawn(ctx: Ctx, counter_ids: Collection[str]) -> None:
    """Add the draws of these counters, which exist, and end their lapsed reservations. Needs the lock of the roll-up."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "counter_ids": list(counter_ids)}
    await connection.execute(LOCK_RESERVATIONS, values)
    await connection.execute(ADD_DRAWN, values)
    for counter_id in sorted(counter_ids):
        key = {"tenant_id": ctx.tenant_id, "counter_id": counter_id}
        ids = (await connection.execute(LOCK_ENDED_IN_SESSION, key | {"ended_ids": []})).scalars().all()
        if ids:
            await connection.execute(END_IN_SESSION, key | {"ids": list(ids)})


async def create_counter(ctx: Ctx, key: CounterKey) -> bool:
    """As `CounterConnection.create`, in the caller's transaction. False where it was there."""
    values = {"tenant_id": ctx.tenant_id, **_list_values(key)}
    return bool((await (await ctx.session.connection()).execute(CREATE_IN_SESSION, values)).rowcount)


async def begin_again(ctx: Ctx, keys: Collection[CounterKey]) -> None:
    """Those of these that exist: with what was recorded of their period, as new ones."""
    await lock_counters(ctx, [key.id for key in keys])  # what is drawn and what is added is seen after it
    for key in keys:
        values = {"tenant_id": ctx.tenant_id, **_list_values(key)}
        await (await ctx.session.connection()).execute(BEGIN_AGAIN_IN_SESSION, values)


async def change_counter(ctx: Ctx, counter_id: str, quantity: Decimal) -> None:
    """Add to what is used, or take from it."""
    values = {"tenant_id": ctx.tenant_id, "counter_id": counter_id, "quantity": quantity}
    await (await ctx.session.connection()).execute(CHANGE, values)


async def read_counters(ctx: Ctx, counter_ids: Collection[str]) -> dict[str, CounterState]:
    """By id, as `CounterConnection.read`, in the caller's transaction."""
    values = {"tenant_id": ctx.tenant_id, "counter_ids": list(counter_ids)}
    rows = await (await ctx.session.connection()).execute(READ_IN_SESSION, values)
    return {
        row.id: CounterState(meter=row.meter, used=row.used, reserved=row.reserved, claimed=row.claimed)
        for row in rows
    }


def _list_values(key: CounterKey) -> dict[str, Any]:
    return {
        "counter_id": key.id,
        "meter": key.meter,
        "starts_at": key.starts_at,
        "ends_at": key.ends_at,
    }


async def sum_used(ctx: Ctx, keys: Collection[CounterKey], *, is_current: bool = True) -> dict[str, Decimal]:
    """By counter, with what waits to be added. `is_current` False: not all that was recorded was drawn."""
    if not keys:
        return {}
    values = {"tenant_id": ctx.tenant_id, "counter_ids": [key.id for key in keys]}
    rows = (await (await ctx.session.connection()).execute(SUM_USED, values)).all()
    used: dict[str, Decimal] = {row.id: row.used for row in rows}
    drawn: dict[str, Decimal] = {row.id: row.drawn for row in rows}
    made_ids = {row.id for row in rows if row.is_made and is_current}
    for key in keys:
        if key.id not in made_ids:
            beginning = {"tenant_id": ctx.tenant_id, **_list_values(key)}
            row = (await (await ctx.session.connection()).execute(BEGIN_IN_SESSION, beginning)).one()
            used[key.id] = drawn[key.id] + row.used
    return used


async def list_counters(ctx: Ctx, counter_ids: Collection[str]) -> Sequence[UsageCounter]:
    """Those of these that exist."""
    statement = (
        select(UsageCounter)
        .where(UsageCounter.tenant_id == ctx.tenant_id, col(UsageCounter.id).in_(list(counter_ids)))
        .order_by(col(UsageCounter.id))
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).all()


async def lock_counters(ctx: Ctx, counter_ids: Collection[str]) -> Sequence[UsageCounter]:
    """As they are now."""
    statement = (
        select(UsageCounter)
        .where(UsageCounter.tenant_id == ctx.tenant_id, col(UsageCounter.id).in_(list(counter_ids)))
        .order_by(col(UsageCounter.id))
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).all()


async def sum_windows(ctx: Ctx, meter: str, *, since: datetime, until: datetime) -> Decimal:
    """What the aggregates of these hours have."""
    values = {"tenant_id": ctx.tenant_id, "meter": meter, "since": since, "until": until}
    quantity: Decimal = (await (await ctx.session.connection()).execute(SUM_WINDOWS, values)).scalar_one()
    return quantity


async def list_used_of_all(session: AsyncSession, counter_id: str) -> dict[str, Decimal]:
    """By tenant, without what waits to be added. For a session that has stated its cross-tenant reason."""
    rows = await (await session.connection()).execute(LIST_USED_OF_ALL, {"counter_id": counter_id})
    return {row.tenant_id: row.used for row in rows}
