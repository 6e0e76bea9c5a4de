"""SQL of the operators' catalog: every plan and add-on with drafts, including those for a single tenant."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, column, func, table
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.entitlements.models import FlagRow, Plan, PlanVersion

EPOCH = table("entitlement_epoch", column("number", BigInteger))


async def list_plans(session: AsyncSession) -> Sequence[Plan]:
    order = (col(Plan.kind).desc(), col(Plan.position), col(Plan.created_at), col(Plan.id))
    return (await session.exec(select(Plan).order_by(*order))).all()


async def list_versions(session: AsyncSession) -> Sequence[PlanVersion]:
    return (await session.exec(select(PlanVersion).order_by(col(PlanVersion.number)))).all()


async def list_flags(session: AsyncSession) -> Sequence[FlagRow]:
    """Flags that are not retired."""
    statement = select(FlagRow).where(col(FlagRow.retired_at).is_(None)).order_by(col(FlagRow.key))
    return (await session.exec(statement)).all()


async def get_plan(session: AsyncSession, plan_id: str) -> Plan | None:
    return await session.get(Plan, plan_id)


async def lock_plan(session: AsyncSession, plan_id: str) -> Plan | None:
    return await session.get(Plan, plan_id, with_for_update={"key_share": True}, populate_existing=True)


async def get_version(session: AsyncSession, version_id: str) -> PlanVersion | None:
    return await session.get(PlanVersion, version_id, populate_existing=True)


async def lock_version(session: AsyncSession, version_id: str) -> PlanVersion | None:
    return await session.get(
        PlanVersion, version_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def list_versions_of_plan(session: AsyncSession, plan_id: str) -> Sequence[PlanVersion]:
    statement = (
        select(PlanVersion).where(PlanVersion.plan_id == plan_id).order_by(col(PlanVersion.number).desc())
    )
    return (await session.exec(statement)).all()


async def lock_epoch(session: AsyncSession) -> int:
    """Serialises publishing until the end of the transaction. Returns the epoch; readers of the catalog never wait."""
    connection = await session.connection()
    return int(
        (await connection.execute(select(EPOCH.c.number).with_for_update(key_share=True))).scalar_one()
    )


async def get_next_position(session: AsyncSession, kind: str) -> int:
    statement = select(func.coalesce(func.max(col(Plan.position)), 0) + 1).where(Plan.kind == kind)
    return int((await session.exec(statement)).one())


async def add_plan(session: AsyncSession, plan: Plan) -> str:
    """Adds a plan. Returns "", or the name of the violated constraint. The transaction stays usable."""
    try:
        async with session.begin_nested():
            session.add(plan)
            await session.flush()
    except IntegrityError as problem:
        return str(getattr(getattr(problem.orig, "diag", None), "constraint_name", "") or "unknown")
    return ""
