"""SQL of the comparison of aggregates with their events."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select

from shared.core.context import Ctx
from shared.metering.models import UsageCheck

RESULT = ("checked_at", "hour_count", "differing_count", "differing_hours")


async def find_check(ctx: Ctx) -> UsageCheck | None:
    statement = select(UsageCheck).where(UsageCheck.tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement.execution_options(populate_existing=True))).first()


async def save_asked(ctx: Ctx, at: datetime) -> None:
    """From now on a comparison is under way."""
    values = UsageCheck(tenant_id=ctx.tenant_id, asked_at=at).model_dump()
    statement = insert(UsageCheck).values(values)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "id"], set_={"asked_at": statement.excluded.asked_at}
    )
    await (await ctx.session.connection()).execute(statement)


async def save_result(ctx: Ctx, check: UsageCheck) -> None:
    """In the place of the former one."""
    statement = insert(UsageCheck).values(check.model_dump() | {"tenant_id": ctx.tenant_id})
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "id"], set_={name: statement.excluded[name] for name in RESULT}
    )
    await (await ctx.session.connection()).execute(statement)
