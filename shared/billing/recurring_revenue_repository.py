"""SQL of recurring revenue."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import distinct_on
from sqlmodel import col, select

from shared.billing.models import RecurringRevenue
from shared.core import rows
from shared.core.context import Ctx


async def list_latest(ctx: Ctx) -> Sequence[RecurringRevenue]:
    """The newest row of each currency."""
    statement = (
        select(RecurringRevenue)
        .where(RecurringRevenue.tenant_id == ctx.tenant_id)
        .ext(distinct_on(col(RecurringRevenue.currency)))
        .order_by(col(RecurringRevenue.currency), col(RecurringRevenue.month).desc())
    )
    return await rows.all(ctx, statement)
