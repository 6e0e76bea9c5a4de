"""SQL of the records of decisions."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, text
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.models import RECORD_PREFIX, DecisionRecord
from shared.core import rows
from shared.core.context import Ctx
from shared.core.ids import lowest_id

DELETE_OLD = text("select delete_old_decision_records(:before_id, :most)")


async def find_record(ctx: Ctx, record_id: str) -> DecisionRecord | None:
    return await ctx.session.get(DecisionRecord, (ctx.tenant_id, record_id))


async def list_of_requests(ctx: Ctx, request_ids: Sequence[str], limit: int) -> Sequence[DecisionRecord]:
    """The oldest first; of each request the newest `limit`."""
    place = func.row_number().over(
        partition_by=DecisionRecord.request_id, order_by=col(DecisionRecord.id).desc()
    )
    placed = (
        select(DecisionRecord, place.label("place"))
        .where(DecisionRecord.tenant_id == ctx.tenant_id)
        .where(col(DecisionRecord.request_id).in_(request_ids))
        .subquery()
    )
    record = aliased(DecisionRecord, placed)
    statement = select(record).where(placed.c.place <= limit).order_by(col(record.id))
    return await rows.all(ctx, statement)


async def delete_old(session: AsyncSession, before: datetime, limit: int) -> int:
    """Of all tenants. Ids are ordered by time."""
    connection = await session.connection()
    values = {"before_id": lowest_id(RECORD_PREFIX, before), "most": limit}
    count: int = (await connection.execute(DELETE_OLD, values)).scalar_one()
    return count
