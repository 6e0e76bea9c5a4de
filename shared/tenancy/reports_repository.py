"""SQL of the activity report."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, func, text
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlmodel import col, select

from shared.access.models import DecisionCount
from shared.audit.event_types import ACCOUNT_ACTIONS
from shared.audit.models import AuditEvent
from shared.core.context import Ctx

# Per week: counts at its end and events during it. A person who returns has joined again.
WEEKS_SQL = text("""
    with week as (
        select at as starts_at, coalesce(lead(at) over (order by at), cast(:until as timestamptz)) as ends_at
        from unnest(cast(:starts as timestamptz[])) as at
    ), turn as (
        select at, state = 'active' as is_in,
               coalesce(lag(state) over (partition by user_id order by at, id) = 'active', false) as was_in
        from membership_change where tenant_id = :tenant_id
    )
    select w.starts_at,
        (select count(*) filter (where m.state = 'active') from (
            select distinct on (user_id) state from membership_change
            where tenant_id = :tenant_id and at < w.ends_at order by user_id, at desc, id desc) m),
        (select count(*) from invitation where tenant_id = :tenant_id and created_at < w.ends_at
            and expires_at >= w.ends_at and (ended_at is null or ended_at >= w.ends_at)),
        (select count(*) from invitation where tenant_id = :tenant_id
            and created_at >= w.starts_at and created_at < w.ends_at),
        (select count(*) from turn where is_in and not was_in and at >= w.starts_at and at < w.ends_at),
        (select count(*) from turn where was_in and not is_in and at >= w.starts_at and at < w.ends_at)
    from week w order by w.starts_at
""")


async def list_weeks(
    ctx: Ctx, starts: Sequence[datetime], until: datetime
) -> Sequence[tuple[datetime, int, int, int, int, int]]:
    """(start, active members, open invitations, invited, joined, left); the last week ends at `until`."""
    connection = await ctx.session.connection()
    parameters = {"tenant_id": ctx.tenant_id, "starts": list(starts), "until": until}
    rows: Sequence[Any] = (await connection.execute(WEEKS_SQL, parameters)).all()
    return [tuple(row) for row in rows]


async def list_top_actors(
    ctx: Ctx, since: datetime, limit: int
) -> Sequence[tuple[str, str, str, int, int, datetime]]:
    """(type, id, latest name, changes, different actions, time of the last change), most active first."""
    actor = (col(AuditEvent.actor_type), col(AuditEvent.actor_id))
    count = func.count().label("count")
    latest_first = aggregate_order_by(col(AuditEvent.actor_name), col(AuditEvent.at).desc())
    names = func.array_agg(latest_first, type_=ARRAY(Text))
    statement: Any = (
        select(  # type: ignore[call-overload]
            *actor,
            names[1],
            count,
            func.count(col(AuditEvent.action).distinct()),
            func.max(col(AuditEvent.at)),
        )
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(col(AuditEvent.at) >= since)
        .where(col(AuditEvent.action).not_in(ACCOUNT_ACTIONS))
        .group_by(*actor)
        .order_by(count.desc(), *actor)
        .limit(limit)
    )
    return [tuple(row) for row in (await ctx.session.exec(statement)).all()]


async def list_refusals(
    ctx: Ctx, since: datetime, excluded_reasons: Sequence[str], limit: int
) -> Sequence[tuple[str, str, int, int, datetime]]:
    """(reason, action, count, number of people, time of the last one), most frequent first."""
    count = func.sum(col(DecisionCount.count)).label("count")
    group_columns = (col(DecisionCount.reason), col(DecisionCount.action))
    statement: Any = (
        select(  # type: ignore[call-overload]
            *group_columns,
            count,
            func.count(col(DecisionCount.actor_id).distinct()),
            func.max(col(DecisionCount.at)),
        )
        .where(DecisionCount.tenant_id == ctx.tenant_id)
        .where(col(DecisionCount.at) >= since)
        .where(col(DecisionCount.reason).not_in(excluded_reasons))
        .group_by(*group_columns)
        .order_by(count.desc(), *group_columns)
        .limit(limit)
    )
    return [tuple(row) for row in (await ctx.session.exec(statement)).all()]
