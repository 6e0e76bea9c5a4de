"""SQL of the evidence of decisions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.models import DecisionCount
from shared.core import rows
from shared.core.context import Ctx
from shared.core.ids import new_id

# As text: every request that decides something new waits for it, and composing it takes longer than it does.
ADD_COUNTS = text("""
    insert into decision_count (tenant_id, id, hour, actor_id, action, reason, plan, count, at, request_id)
    select :tenant_id, decided.* from unnest(
        cast(:ids as text[]), cast(:hours as timestamptz[]), cast(:actors as text[]), cast(:actions as text[]),
        cast(:reasons as text[]), cast(:plans as text[]), cast(:numbers as int[]), cast(:times as timestamptz[]),
        cast(:requests as text[])) as decided
    on conflict (tenant_id, hour, actor_id, action, reason, plan) do update set
        count = decision_count.count + excluded.count, at = greatest(decision_count.at, excluded.at),
        request_id = excluded.request_id
""")


async def add_counts(
    session: AsyncSession,
    tenant_id: str,
    counts: Mapping[tuple[datetime, str, str, str, str], tuple[int, datetime, str]],
) -> None:
    """By (hour, actor, action, reason, plan): how often, when last, and in which request."""
    # In one order, so that two processes that write at once never wait for each other in a circle.
    in_order = sorted(counts.items())
    keys, lasts = [key for key, _ in in_order], [last for _, last in in_order]
    hours, actors, actions, reasons, plans = map(list, zip(*keys, strict=True))
    numbers, times, requests = map(list, zip(*lasts, strict=True))
    values = {
        **{
            "tenant_id": tenant_id,
            "ids": [new_id("dec") for _ in in_order],
            "hours": hours,
            "actors": actors,
        },
        **{"actions": actions, "reasons": reasons, "plans": plans},
        **{"numbers": numbers, "times": times, "requests": requests},
    }
    connection = await session.connection()
    await connection.execute(ADD_COUNTS, values)


async def delete_counts(session: AsyncSession, tenant_id: str, before: datetime) -> None:
    statement = delete(DecisionCount).where(col(DecisionCount.tenant_id) == tenant_id)
    await session.exec(statement.where(col(DecisionCount.hour) < before))


async def list_refusals(
    ctx: Ctx, allowed_reasons: Sequence[str], *, action: str = "", request_id: str = "", limit: int
) -> Sequence[DecisionCount]:
    """Newest first; also errors."""
    statement = (
        select(DecisionCount)
        .where(DecisionCount.tenant_id == ctx.tenant_id)
        .where(col(DecisionCount.reason).not_in(allowed_reasons))
    )
    if action:
        statement = statement.where(DecisionCount.action == action)
    if request_id:
        statement = statement.where(DecisionCount.request_id == request_id)
    statement = statement.order_by(col(DecisionCount.at).desc(), col(DecisionCount.id)).limit(limit)
    return await rows.all(ctx, statement)
