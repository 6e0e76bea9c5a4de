"""SQL of the flags, which belong to no tenant."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.entitlements.models import FlagRow, FlagVersion, Plan


async def list_flags(session: AsyncSession) -> Sequence[FlagRow]:
    return (await session.exec(select(FlagRow))).all()


async def list_newest_versions(session: AsyncSession) -> Sequence[FlagVersion]:
    """The newest version of each flag."""
    newest = select(FlagVersion.flag_id, func.max(FlagVersion.number).label("number")).group_by(
        col(FlagVersion.flag_id)
    )
    latest = newest.subquery("newest")
    statement = select(FlagVersion).join(
        latest, (latest.c.flag_id == FlagVersion.flag_id) & (latest.c.number == FlagVersion.number)
    )
    return (await session.exec(statement)).all()


async def get_flag(session: AsyncSession, key: str) -> FlagRow | None:
    return (await session.exec(select(FlagRow).where(FlagRow.key == key))).first()


async def lock_flag(session: AsyncSession, key: str) -> FlagRow | None:
    statement = select(FlagRow).where(FlagRow.key == key).with_for_update(key_share=True)
    return (await session.exec(statement.execution_options(populate_existing=True))).first()


async def list_flag_versions(session: AsyncSession, flag_id: str) -> Sequence[FlagVersion]:
    """Newest first."""
    statement = (
        select(FlagVersion).where(FlagVersion.flag_id == flag_id).order_by(col(FlagVersion.number).desc())
    )
    return (await session.exec(statement)).all()


async def add_flag(session: AsyncSession, row: FlagRow) -> bool:
    """False where the key is taken."""
    statement = insert(FlagRow).values(row.model_dump()).on_conflict_do_nothing(index_elements=["key"])
    return (await session.exec(statement.returning(col(FlagRow.id)))).first() is not None


async def list_plans(session: AsyncSession) -> dict[str, str]:
    """Names of all plans by key, from the smallest to the largest, including those for a single tenant."""
    statement = (
        select(Plan.key, Plan.name).where(Plan.kind == "plan").order_by(col(Plan.position), col(Plan.key))
    )
    return dict((await session.exec(statement)).all())
