"""SQL of corrections."""

from collections.abc import Collection, Sequence

from sqlalchemy import func, text
from sqlmodel import col, select

from shared.access.meters import Aggregation
from shared.core.context import Ctx
from shared.core.paging import after_cursor
from shared.metering.correction_effects import WindowEffect
from shared.metering.models import UsageCorrection, UsageCorrectionItem, UsageEvent, UsageKey, WindowSize
from shared.metering.rollup_repository import QUANTITIES, WindowKey

VOID_EVENTS = text("""
    update usage_event e set voided_by = :correction_id from (
        select * from usage_correction_item
        where tenant_id = :tenant_id and correction_id = :correction_id and kind <> 'add'
    ) i where e.tenant_id = i.tenant_id and e.meter = i.meter and e.occurred_at = i.occurred_at and e.id = i.event_id
        and e.voided_by is null
""")
ADD_EVENTS = text("""
    with item as (
        select * from usage_correction_item
        where tenant_id = :tenant_id and correction_id = :correction_id and new_event_id is not null
    ), fresh as (
        insert into usage_key (tenant_id, id, occurred_at)
        select tenant_id, new_event_id, occurred_at from item order by new_event_id on conflict do nothing
        returning tenant_id, id
    )
    insert into usage_event
        (tenant_id, id, meter, occurred_at, quantity, subject, dimensions, batch_id, recorded_by)
    select tenant_id, item.new_event_id, meter, occurred_at, quantity, subject, dimensions, :correction_id, :recorded_by
    from item join fresh using (tenant_id) where fresh.id = item.new_event_id
""")
# What a closed correction has added is voided, unless another correction has done so already.
VOID_ADDED = text("""
    update usage_event e set voided_by = :correction_id from (
        select * from usage_correction_item
        where tenant_id = :tenant_id and correction_id = :correction_id and new_event_id is not null
    ) i where e.tenant_id = i.tenant_id and e.meter = i.meter and e.occurred_at = i.occurred_at
        and e.id = i.new_event_id and e.batch_id = :correction_id and e.voided_by is null
""")
RESTORE_EVENTS = text("""
    update usage_event e set voided_by = null from (
        select * from usage_correction_item
        where tenant_id = :tenant_id and correction_id = :correction_id and kind <> 'add'
    ) i where e.tenant_id = i.tenant_id and e.meter = i.meter and e.occurred_at = i.occurred_at and e.id = i.event_id
        and e.voided_by = :correction_id
""")
# As `rollup_repository.RECOMPUTE` counts, with the items of the correction as if they were counted already.
EFFECT = """
    with wanted as (
        select * from unnest(cast(:ids as text[]), cast(:meters as text[]), cast(:sizes as text[]),
            cast(:starts as timestamptz[]), cast(:ends as timestamptz[])) as w (id, meter, size, starts_at, ends_at)
    ), stored as (
        select id, s.closed_at from usage_window s where tenant_id = :tenant_id and id = any (cast(:ids as text[]))
    ), item as (
        select * from usage_correction_item where tenant_id = :tenant_id and correction_id = :correction_id
    ), used as (
        select k.id from usage_key k where tenant_id = :tenant_id
            and k.id in (select new_event_id from item)
    )
    select w.*, coalesce(before.quantity, 0) as quantity_before, before.event_count as count_before,
        coalesce(corrected.quantity, 0) as quantity_after, corrected.event_count as count_after,
        stored.closed_at is not null as is_closed
    from wanted w left join stored using (id) cross join lateral (
        select {quantity} as quantity, count(*) as event_count from usage_event e
        where tenant_id = :tenant_id and e.meter = w.meter and e.occurred_at >= w.starts_at
            and e.occurred_at < w.ends_at and e.voided_by is null
    ) before cross join lateral (
        select {quantity} as quantity, count(*) as event_count from (
            select v.id, v.occurred_at, v.quantity, v.subject from usage_event v
            where tenant_id = :tenant_id and v.meter = w.meter and v.occurred_at >= w.starts_at
                and v.occurred_at < w.ends_at and v.voided_by is null
                and v.id not in (select event_id from item where kind <> 'add')
            union all
            select i.new_event_id, i.occurred_at, i.quantity, i.subject from item i
            where i.meter = w.meter and i.occurred_at >= w.starts_at and i.occurred_at < w.ends_at
                and i.new_event_id is not null and i.new_event_id not in (select id from used)
        ) e
    ) corrected
    order by w.starts_at, w.id
"""
EFFECT_BY_AGGREGATION = {
    aggregation: text(EFFECT.format(quantity=quantity)) for aggregation, quantity in QUANTITIES.items()
}


async def list_corrections(ctx: Ctx, *, after: str, limit: int) -> Sequence[UsageCorrection]:
    """Newest first."""
    order = (col(UsageCorrection.created_at), col(UsageCorrection.id))
    statement = (
        select(UsageCorrection)
        .where(UsageCorrection.tenant_id == ctx.tenant_id)
        .where(*after_cursor(order, after, descending=True))
        .order_by(*(column.desc() for column in order))
        .limit(limit)
    )
    return (await ctx.session.exec(statement)).all()


async def find_correction(ctx: Ctx, correction_id: str, *, locks: bool = False) -> UsageCorrection | None:
    """`locks`: until the transaction ends, as it is then."""
    statement = select(UsageCorrection).where(
        UsageCorrection.tenant_id == ctx.tenant_id, UsageCorrection.id == correction_id
    )
    if locks:
        statement = statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await ctx.session.exec(statement)).first()


async def count_items(ctx: Ctx, correction_ids: Collection[str]) -> dict[str, int]:
    """By correction."""
    statement = (
        select(UsageCorrectionItem.correction_id, func.count())
        .where(UsageCorrectionItem.tenant_id == ctx.tenant_id)
        .where(col(UsageCorrectionItem.correction_id).in_(correction_ids))
        .group_by(UsageCorrectionItem.correction_id)
    )
    return dict((await ctx.session.exec(statement)).all())


async def list_items(ctx: Ctx, correction_id: str) -> Sequence[UsageCorrectionItem]:
    """By meter and time."""
    statement = (
        select(UsageCorrectionItem)
        .where(UsageCorrectionItem.tenant_id == ctx.tenant_id)
        .where(UsageCorrectionItem.correction_id == correction_id)
        .order_by(
            col(UsageCorrectionItem.meter),
            col(UsageCorrectionItem.occurred_at),
            col(UsageCorrectionItem.event_id),
        )
    )
    return (await ctx.session.exec(statement)).all()


async def find_events(ctx: Ctx, event_ids: Collection[str]) -> dict[str, UsageEvent]:
    """By id; unknown ids are left out. The key of an event says in which partition it is."""
    statement = (
        select(UsageEvent)
        .join(
            UsageKey,
            (col(UsageKey.tenant_id) == col(UsageEvent.tenant_id))
            & (col(UsageKey.id) == col(UsageEvent.id))
            & (col(UsageKey.occurred_at) == col(UsageEvent.occurred_at)),
        )
        .where(UsageEvent.tenant_id == ctx.tenant_id)
        .where(col(UsageKey.id).in_(event_ids))
    )
    return {event.id: event for event in (await ctx.session.exec(statement)).all()}


async def list_used_keys(ctx: Ctx, event_ids: Collection[str]) -> set[str]:
    statement = select(UsageKey.id).where(UsageKey.tenant_id == ctx.tenant_id)
    return set((await ctx.session.exec(statement.where(col(UsageKey.id).in_(event_ids)))).all())


async def apply(ctx: Ctx, correction_id: str) -> int:
    """Count a correction. Returns how many events were voided."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "correction_id": correction_id}
    voided_count = (await connection.execute(VOID_EVENTS, values)).rowcount
    await connection.execute(ADD_EVENTS, values | {"recorded_by": ctx.actor_id})
    return int(voided_count)


async def undo(ctx: Ctx, correction_id: str) -> None:
    """Events count again as if it hadn't been closed."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "correction_id": correction_id}
    for statement in (VOID_ADDED, RESTORE_EVENTS):
        await connection.execute(statement, values)


async def find_later_correction(ctx: Ctx, correction_id: str) -> str:
    """The id of another correction that has voided what this one added; "" without one."""
    statement = (
        select(UsageEvent.voided_by)
        .join(
            UsageCorrectionItem,
            (col(UsageCorrectionItem.tenant_id) == col(UsageEvent.tenant_id))
            & (col(UsageCorrectionItem.meter) == col(UsageEvent.meter))
            & (col(UsageCorrectionItem.occurred_at) == col(UsageEvent.occurred_at))
            & (col(UsageCorrectionItem.new_event_id) == col(UsageEvent.id)),
        )
        .where(UsageEvent.tenant_id == ctx.tenant_id)
        .where(UsageCorrectionItem.correction_id == correction_id)
        .where(col(UsageEvent.voided_by).is_not(None), UsageEvent.voided_by != correction_id)
        .limit(1)
    )
    return (await ctx.session.exec(statement)).first() or ""


async def list_effects(
    ctx: Ctx, correction_id: str, windows: Collection[WindowKey], aggregation: Aggregation
) -> list[WindowEffect]:
    """What the correction would make of each of these windows, of meters that add up in this way."""
    connection = await ctx.session.connection()
    values = {
        "tenant_id": ctx.tenant_id,
        "correction_id": correction_id,
        "ids": [window.id for window in windows],
        "meters": [window.meter for window in windows],
        "sizes": [window.size.value for window in windows],
        "starts": [window.starts_at for window in windows],
        "ends": [window.ends_at for window in windows],
    }
    rows = (await connection.execute(EFFECT_BY_AGGREGATION[aggregation], values)).mappings()
    return [WindowEffect(**{**row, "size": WindowSize(row["size"])}) for row in rows]
