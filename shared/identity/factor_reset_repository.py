"""SQL of resets of lost second factors. A user has at most one that is open."""

from collections.abc import Sequence

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from shared.identity.models import FactorReset, User

MAX_LISTED = 200
_is_open = (col(FactorReset.cancelled_at).is_(None), col(FactorReset.completed_at).is_(None))


async def get(session: AsyncSession, reset_id: str) -> FactorReset | None:
    return await session.get(FactorReset, reset_id)


async def lock(session: AsyncSession, reset_id: str) -> FactorReset | None:
    return await session.get(
        FactorReset, reset_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def get_open(session: AsyncSession, user_id: str) -> FactorReset | None:
    return (await session.exec(_select_open(user_id))).first()


async def lock_open(session: AsyncSession, user_id: str) -> FactorReset | None:
    statement = _select_open(user_id).with_for_update(key_share=True)
    return (await session.exec(statement.execution_options(populate_existing=True))).first()


async def list_open(session: AsyncSession) -> Sequence[tuple[FactorReset, User]]:
    """At most `MAX_LISTED`, the oldest first."""
    statement = (
        select(FactorReset, User)
        .join(User, col(User.id) == FactorReset.user_id)
        .where(*_is_open)
        .order_by(col(FactorReset.requested_at), col(FactorReset.id))
        .limit(MAX_LISTED)
    )
    return (await session.exec(statement)).all()


async def count_open(session: AsyncSession) -> int:
    return (await session.exec(select(func.count()).select_from(FactorReset).where(*_is_open))).one()


async def count_waiting(session: AsyncSession) -> int:
    statement = select(func.count()).select_from(FactorReset)
    return (await session.exec(statement.where(*_is_open, col(FactorReset.started_at).is_(None)))).one()


def _select_open(user_id: str) -> SelectOfScalar[FactorReset]:
    return select(FactorReset).where(FactorReset.user_id == user_id, *_is_open)
