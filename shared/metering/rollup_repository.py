"""SQL of aggregates: recomputed from the events of marked hours, and closed once their time has passed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import func, text
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.meters import METERS, Aggregation
from shared.core.context import Ctx
from shared.metering.models import UsageEvent, UsageWindow, WindowSize

FIND_TENANTS = text("select list_tenants_with_open_usage(:closed_before, :most)")
MAINTAIN_PARTITIONS = text("select maintain_usage_partitions()")
LOCK = text("select pg_advisory_xact_lock(hashtextextended(cast(:lock as text), 0))")
TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended(cast(:lock as text), 0))")
# Visible marks are of finished transactions: a later statement sees their events.
TAKE_MARKS = text("""
    delete from usage_mark m using (
        select tenant_id, id from usage_mark where tenant_id = :tenant_id order by id limit :most
    ) taken where m.tenant_id = taken.tenant_id and m.id = taken.id returning m.meter, m.hour, m.batch_id
""")
QUANTITIES = {
    Aggregation.SUM: "sum(e.quantity)",
    Aggregation.MAX: "max(e.quantity)",
    Aggregation.LAST: "(array_agg(e.quantity order by e.occurred_at desc, e.id desc))[1]",
    Aggregation.UNIQUE: "count(distinct e.subject)::numeric",
}
# The checksum doesn't depend on the order of the events. The times of the windows are finished columns: with row
# security, an expression in their place would keep the index from being used.
RECOMPUTE = """
    with wanted as (
        select * from unnest(cast(:ids as text[]), cast(:meters as text[]), cast(:sizes as text[]),
            cast(:starts as timestamptz[]), cast(:ends as timestamptz[])) as w (id, meter, size, starts_at, ends_at)
    ), truth as (
        select w.*, coalesce(a.quantity, 0) as quantity, a.event_count, coalesce(a.checksum, 0) as checksum,
            a.first_recorded_at
        from wanted w cross join lateral (
            select {quantity} as quantity, count(*) as event_count, min(e.recorded_at) as first_recorded_at,
                bit_xor(hashtextextended(concat_ws(' ', e.id, extract(epoch from e.occurred_at), e.quantity, e.subject), 0))
                    as checksum
            from usage_event e where tenant_id = :tenant_id and e.meter = w.meter
                and e.occurred_at >= w.starts_at and e.occurred_at < w.ends_at and e.voided_by is null
        ) a
    ), stored as (
        select id, w.quantity, w.event_count, w.closed_at from usage_window w join wanted using (id)
        where tenant_id = :tenant_id
    ), changed as (
        insert into usage_window as w
            (tenant_id, id, meter, size, starts_at, ends_at, quantity, event_count, checksum)
        select :tenant_id, id, meter, size, starts_at, ends_at, quantity, event_count, checksum from truth order by id
        on conflict (tenant_id, id) do update set quantity = excluded.quantity, event_count = excluded.event_count,
            checksum = excluded.checksum, revision = w.revision + 1, is_settled = false, computed_at = clock_timestamp()
        where (w.quantity, w.event_count, w.checksum)
            is distinct from (excluded.quantity, excluded.event_count, excluded.checksum)
        returning w.id, w.meter, w.size, w.starts_at, w.ends_at, w.quantity, w.event_count, w.revision
    )
    select changed.*, coalesce(stored.quantity, 0) as quantity_before, coalesce(stored.event_count, 0) as count_before,
        stored.closed_at, stored.id is not null as is_stored, truth.first_recorded_at
    from changed join truth using (id) left join stored using (id) order by changed.starts_at, changed.id
"""
RECOMPUTE_BY_AGGREGATION = {
    aggregation: text(RECOMPUTE.format(quantity=quantity)) for aggregation, quantity in QUANTITIES.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowKey:
    """A window of one meter, end-exclusive."""

    meter: str
    size: WindowSize
    starts_at: datetime  # UTC
    ends_at: datetime

    @property
    def id(self) -> str:
        return f"{self.meter}:{self.size}:{self.starts_at:%Y-%m-%dT%H}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedWindow:
    """A window whose aggregate is another one now."""

    id: str
    meter: str
    size: WindowSize
    starts_at: datetime
    ends_at: datetime
    quantity: Decimal
    event_count: int
    revision: int
    quantity_before: Decimal
    count_before: int
    closed_at: datetime | None
    is_stored: bool  # before the change
    first_recorded_at: datetime | None  # of its events


async def list_open_tenants(session: AsyncSession, closed_before: datetime, limit: int) -> list[str]:
    """Ids of tenants with marks, or with open windows that ended by then. In a transaction without a tenant."""
    connection = await session.connection()
    return list(
        (await connection.execute(FIND_TENANTS, {"closed_before": closed_before, "most": limit})).scalars()
    )


async def maintain_partitions(session: AsyncSession) -> int:
    """Make the months ahead and drop old ones. Returns how many old keys were deleted; more may be left."""
    connection = await session.connection()
    return int((await connection.execute(MAINTAIN_PARTITIONS)).scalar_one())


async def lock_rollup(ctx: Ctx) -> None:
    """Until the transaction ends. What is read after it is not older than what another one has written."""
    connection = await ctx.session.connection()
    await connection.execute(LOCK, {"lock": f"usage:{ctx.tenant_id}"})


async def try_lock_rollup(ctx: Ctx) -> bool:
    """As `lock_rollup`; False at once where another process has the lock."""
    connection = await ctx.session.connection()
    return bool((await connection.execute(TRY_LOCK, {"lock": f"usage:{ctx.tenant_id}"})).scalar_one())


async def take_marks(ctx: Ctx, limit: int) -> list[tuple[str, datetime, str]]:
    """Meter, hour and batch of the oldest marks, which are deleted."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "most": limit}
    return [(row.meter, row.hour, row.batch_id) for row in await connection.execute(TAKE_MARKS, values)]


async def recompute_windows(
    ctx: Ctx, windows: Collection[WindowKey], aggregation: Aggregation
) -> list[ChangedWindow]:
    """From the events. Returns those that changed, the oldest first. Needs `lock_rollup`."""
    connection = await ctx.session.connection()
    values = {
        "tenant_id": ctx.tenant_id,
        "ids": [window.id for window in windows],
        "meters": [window.meter for window in windows],
        "sizes": [window.size.value for window in windows],
        "starts": [window.starts_at for window in windows],
        "ends": [window.ends_at for window in windows],
    }
    rows = (await connection.execute(RECOMPUTE_BY_AGGREGATION[aggregation], values)).mappings()
    return [ChangedWindow(**{**row, "size": WindowSize(row["size"])}) for row in rows]


async def list_event_ids(
    ctx: Ctx, window: ChangedWindow, batch_ids: Collection[str], *, limit: int
) -> tuple[int, list[str]]:
    """How many events of these batches are in the window, and the ids of the first."""
    is_late = [
        col(UsageEvent.tenant_id) == ctx.tenant_id,
        col(UsageEvent.meter) == window.meter,
        col(UsageEvent.occurred_at) >= window.starts_at,
        col(UsageEvent.occurred_at) < window.ends_at,
        col(UsageEvent.batch_id).in_(batch_ids),
    ]
    count = (await ctx.session.exec(select(func.count()).select_from(UsageEvent).where(*is_late))).one()
    order = (col(UsageEvent.occurred_at), col(UsageEvent.id))
    ids = (await ctx.session.exec(select(UsageEvent.id).where(*is_late).order_by(*order).limit(limit))).all()
    return count, list(ids)


async def list_computed(ctx: Ctx, ids: Collection[str], *, since: datetime) -> set[str]:
    """Those of these windows that have changed since then."""
    if not ids:
        return set()
    statement = select(UsageWindow.id).where(
        UsageWindow.tenant_id == ctx.tenant_id,
        col(UsageWindow.id).in_(ids),
        col(UsageWindow.computed_at) >= since,
    )
    return set((await ctx.session.exec(statement)).all())


async def list_ended_months(ctx: Ctx, ended_before: datetime) -> list[WindowKey]:
    """Open months of declared meters that have ended by then."""
    statement = select(UsageWindow).where(
        UsageWindow.tenant_id == ctx.tenant_id,
        UsageWindow.size == WindowSize.MONTH,
        col(UsageWindow.closed_at).is_(None),
        col(UsageWindow.ends_at) <= ended_before,
    )
    return [
        WindowKey(
            meter=row.meter,
            size=row.size,
            starts_at=row.starts_at.astimezone(UTC),
            ends_at=row.ends_at.astimezone(UTC),
        )
        for row in (await ctx.session.exec(statement)).all()
        if row.meter in METERS
    ]


async def close_windows(ctx: Ctx, ended_before: datetime, at: datetime) -> None:
    """All open windows that have ended by then."""
    statement = (
        update(UsageWindow)
        .where(col(UsageWindow.tenant_id) == ctx.tenant_id)
        .where(col(UsageWindow.closed_at).is_(None), col(UsageWindow.ends_at) <= ended_before)
        .values(closed_at=at)
        .execution_options(synchronize_session=False)
    )
    await ctx.session.exec(statement)


async def list_unsettled(ctx: Ctx, limit: int) -> Sequence[UsageWindow]:
    """Closed windows that have gained or lost something since they were settled, the oldest first."""
    statement = (
        select(UsageWindow)
        .where(UsageWindow.tenant_id == ctx.tenant_id)
        .where(col(UsageWindow.closed_at).is_not(None), ~col(UsageWindow.is_settled))
        .order_by(col(UsageWindow.starts_at), col(UsageWindow.id))
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).all()


async def settle_windows(ctx: Ctx, ids: Collection[str]) -> None:
    statement = (
        update(UsageWindow)
        .where(col(UsageWindow.tenant_id) == ctx.tenant_id, col(UsageWindow.id).in_(ids))
        .values(settled=UsageWindow.quantity, is_settled=True)
        .execution_options(synchronize_session=False)
    )
    await ctx.session.exec(statement)


async def list_windows(
    ctx: Ctx, meter: str, size: WindowSize, *, since: datetime, until: datetime
) -> Sequence[UsageWindow]:
    """By time."""
    statement = (
        select(UsageWindow)
        .where(UsageWindow.tenant_id == ctx.tenant_id, UsageWindow.meter == meter, UsageWindow.size == size)
        .where(col(UsageWindow.starts_at) >= since, col(UsageWindow.starts_at) < until)
        .order_by(col(UsageWindow.starts_at))
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).all()
