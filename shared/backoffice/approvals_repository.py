"""SQL of requests for approval."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice.models import ApprovalState, OperatorApproval
from shared.core.db import now
from shared.core.paging import after_cursor, encode_cursor
from shared.identity.models import Operator

NEWEST = (col(OperatorApproval.requested_at), col(OperatorApproval.id))


async def expire_old(session: AsyncSession) -> None:
    """Their time is over, so that others can ask for the same again."""
    await session.exec(
        update(OperatorApproval)
        .where(col(OperatorApproval.state) == ApprovalState.WAITING)
        .where(col(OperatorApproval.expires_at) <= now())
        .values(state=ApprovalState.EXPIRED, decided_at=OperatorApproval.expires_at)
    )


async def add(session: AsyncSession, approval: OperatorApproval) -> bool:
    """False where a request about the same object waits. The transaction stays usable."""
    try:
        async with session.begin_nested():
            session.add(approval)
            await session.flush()
    except IntegrityError:
        return False
    return True


async def get_approval(session: AsyncSession, approval_id: str) -> OperatorApproval | None:
    return await session.get(OperatorApproval, approval_id, populate_existing=True)


async def lock_approval(session: AsyncSession, approval_id: str) -> OperatorApproval | None:
    return await session.get(
        OperatorApproval, approval_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def lock_operator(session: AsyncSession, operator_id: str) -> Operator | None:
    return await session.get(
        Operator, operator_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def list_approvals(
    session: AsyncSession, *, waiting: bool, at: datetime, after: str, limit: int
) -> Sequence[OperatorApproval]:
    """Newest first: those that wait, or the others. Raises Invalid for an unknown page."""
    is_open = (col(OperatorApproval.state) == ApprovalState.WAITING) & (col(OperatorApproval.expires_at) > at)
    statement = (
        select(OperatorApproval)
        .where(is_open if waiting else ~is_open)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


def get_cursor(approval: OperatorApproval) -> str:
    return encode_cursor(approval.requested_at, approval.id)


async def count_waiting(session: AsyncSession, requested_by: str) -> int:
    statement = (
        select(func.count())
        .select_from(OperatorApproval)
        .where(OperatorApproval.requested_by == requested_by)
        .where(col(OperatorApproval.state) == ApprovalState.WAITING)
    )
    return (await session.exec(statement)).one()


async def count_others(session: AsyncSession, operator_id: str, roles: Collection[str]) -> int:
    """Enabled operators with one of these roles, apart from this one."""
    statement = (
        select(func.count())
        .select_from(Operator)
        .where(Operator.id != operator_id)
        .where(col(Operator.role).in_(sorted(roles)))
        .where(col(Operator.disabled_at).is_(None))
    )
    return (await session.exec(statement)).one()
