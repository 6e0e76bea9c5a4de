"""SQL of recorded usage that nothing bills."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_
from sqlmodel import col, select, update

from shared.billing.models import BillingUsage
from shared.billing.usage import IDENTIFIER_LIFETIME
from shared.billing.usage_periods import REFUSED
from shared.core.context import Ctx
from shared.core.db import now


@dataclass(frozen=True, slots=True)
class UnbilledGroup:
    """Usage of one meter with the same problem, as in `BillingUsage.problem`."""

    problem: str
    meter: str
    count: int  # of records
    quantity: int  # in units of the meter
    oldest_at: datetime
    last_id: str  # of the newest record; later ones are not settled with it
    is_retried: bool  # some of it may still be billed, and can't be settled yet


async def list_unbilled(ctx: Ctx) -> Sequence[UnbilledGroup]:
    """One group for each problem and meter, the one with the oldest usage first."""
    oldest_at = func.min(col(BillingUsage.at))
    statement = (
        select(col(BillingUsage.problem), col(BillingUsage.meter))
        .add_columns(
            func.count(),
            func.sum(col(BillingUsage.quantity) - col(BillingUsage.drawn)),
            oldest_at,
            func.max(col(BillingUsage.id)),
            func.bool_or(_is_retried()),
        )
        .where(col(BillingUsage.tenant_id) == ctx.tenant_id, _is_unbilled())
        .group_by(col(BillingUsage.problem), col(BillingUsage.meter))
        .order_by(oldest_at, col(BillingUsage.meter))
    )
    connection = await ctx.session.connection()
    return [
        UnbilledGroup(problem, meter, count, int(quantity), oldest, last_id, is_retried)
        for problem, meter, count, quantity, oldest, last_id, is_retried in await connection.execute(
            statement
        )
    ]


async def settle(ctx: Ctx, problem: str, meter: str, last_id: str) -> Sequence[int]:
    """Marks usage up to `last_id` as done. Returns the quantity of each record."""
    statement = (
        update(BillingUsage)
        .where(
            col(BillingUsage.tenant_id) == ctx.tenant_id,
            col(BillingUsage.problem) == problem,
            col(BillingUsage.meter) == meter,
            col(BillingUsage.id) <= last_id,
            _is_unbilled(),
            ~_is_retried(),
        )
        .values(reported_at=now())
        .returning(col(BillingUsage.quantity) - col(BillingUsage.drawn))
    )
    connection = await ctx.session.connection()
    return (await connection.execute(statement)).scalars().all()


def _is_unbilled() -> ColumnElement[bool]:
    return and_(col(BillingUsage.problem) != "", col(BillingUsage.reported_at).is_(None))


def _is_retried() -> ColumnElement[bool]:
    """A refused record is sent again for as long as Stripe remembers its identifier."""
    is_remembered = or_(
        col(BillingUsage.tried_at).is_(None), col(BillingUsage.tried_at) > now() - IDENTIFIER_LIFETIME
    )
    return and_(col(BillingUsage.problem) == REFUSED, is_remembered)
