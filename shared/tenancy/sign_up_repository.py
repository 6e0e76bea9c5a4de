"""SQL of sign-ups that are not verified yet."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, text
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.db import now
from shared.tenancy.models import (
    SignUp,
    Tenant,
)


async def get_sign_up(session: AsyncSession, sign_up_id: str) -> SignUp | None:
    return await session.get(SignUp, sign_up_id)


async def pop_sign_ups(session: AsyncSession, email: str) -> Sequence[SignUp]:
    """Delete and return the waiting sign-ups of this address, oldest first."""
    statement = select(SignUp).where(SignUp.email == email).order_by(col(SignUp.created_at), col(SignUp.id))
    sign_ups = (await session.exec(statement)).all()
    await session.exec(delete(SignUp).where(col(SignUp.id).in_([sign_up.id for sign_up in sign_ups])))
    return sign_ups


async def delete_old_sign_ups(session: AsyncSession, max_age: timedelta) -> None:
    await session.exec(delete(SignUp).where(col(SignUp.created_at) < now() - max_age))


async def lock_tenant_creation(session: AsyncSession, user_id: str) -> None:
    """Serialise tenant creation per user, so that a double click creates one tenant."""
    await session.exec(select(func.pg_advisory_xact_lock(func.hashtextextended(f"founder:{user_id}", 0))))


async def find_recent_tenant(session: AsyncSession, name: str, within: str = "1 minute") -> Tenant | None:
    """A tenant of this name that the user has just created. Needs `db.set_user`."""
    statement = (
        select(Tenant)
        .where(Tenant.name == name)
        .where(col(Tenant.created_at) > text(f"now() - interval '{within}'"))
        .limit(1)
    )
    return (await session.exec(statement)).first()
