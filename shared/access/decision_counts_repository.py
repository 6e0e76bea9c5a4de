"""SQL of the evidence of decisions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.models import DecisionCount
from shared.core import rows
from shared.core.context import Ctx
from shared.core.ids import new_id


async def add_counts(
    session: AsyncSession,
    tenant_id: str,
    counts: Mapping[tuple[datetime, str, str, str, str], tuple[int, datetime, str]],
) -> None:
    """By (hour, actor, action, reason, plan): how often, when last, and in which request."""
    values = [
        {
            **{
                "tenant_id": tenant_id,
                "id": new_id("dec"),
                "hour": hour,
                "actor_id": actor,
                "action": action,
            },
            **{"reason": reason, "plan": plan, "count": count, "at": at, "request_id": request},
        }
        # In one order, so that two processes that write at once never wait for each other in a circle.
        for (hour, actor, action, reason, plan), (count, at, request) in sorted(counts.items())
    ]
    statement = insert(DecisionCount).values(values)
    tally, new = DecisionCount, statement.excluded
    update = statement.on_conflict_do_update(
        index_elements=["tenant_id", "hour", "actor_id", "action", "reason", "plan"],
        set_={
            "count": col(tally.count) + new.count,
            "at": func.greatest(col(tally.at), new.at),
            "request_id": new.request_id,
        },
    )
    await session.exec(update)


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
