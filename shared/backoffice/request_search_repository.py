"""SQL of the search by request. It reads across tenants, in a transaction with a reason."""

from collections.abc import Sequence

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.models import DecisionCount, DecisionRecord
from shared.access.refusal_codes import ALLOWED_REASONS
from shared.audit.models import BugReport, OperatorEvent, SecurityEvent
from shared.billing.models import BillingEvent


async def list_bugs(session: AsyncSession, request_id: str, limit: int) -> Sequence[BugReport]:
    statement = select(BugReport).where(col(BugReport.request_id) == request_id)
    return (await session.exec(statement.order_by(col(BugReport.at).desc()).limit(limit))).all()


async def list_refusals(session: AsyncSession, request_id: str, limit: int) -> Sequence[DecisionCount]:
    """Counts of refusals and of errors."""
    statement = select(DecisionCount).where(
        col(DecisionCount.request_id) == request_id,
        col(DecisionCount.reason).not_in(sorted(ALLOWED_REASONS)),
    )
    return (await session.exec(statement.order_by(col(DecisionCount.at).desc()).limit(limit))).all()


async def find_request_of_decision(session: AsyncSession, decision_id: str) -> str:
    """The id of its request; the given id for an unknown decision."""
    statement = select(DecisionRecord.request_id).where(DecisionRecord.id == decision_id).limit(1)
    return (await session.exec(statement)).first() or decision_id


async def list_decisions(session: AsyncSession, request_id: str, limit: int) -> Sequence[DecisionRecord]:
    statement = select(DecisionRecord).where(DecisionRecord.request_id == request_id)
    return (await session.exec(statement.order_by(col(DecisionRecord.id).desc()).limit(limit))).all()


async def list_syncs(session: AsyncSession, request_id: str, limit: int) -> Sequence[BillingEvent]:
    statement = select(BillingEvent).where(col(BillingEvent.request_id) == request_id)
    # The index is of the rows that have a request.
    statement = statement.where(col(BillingEvent.request_id) != "")
    return (await session.exec(statement.order_by(col(BillingEvent.at).desc()).limit(limit))).all()


async def list_operator_events(session: AsyncSession, request_id: str, limit: int) -> Sequence[OperatorEvent]:
    statement = select(OperatorEvent).where(col(OperatorEvent.request_id) == request_id)
    return (await session.exec(statement.order_by(col(OperatorEvent.seq).desc()).limit(limit))).all()


async def list_security_events(session: AsyncSession, request_id: str, limit: int) -> Sequence[SecurityEvent]:
    """Of counts whose last request it was."""
    statement = select(SecurityEvent).where(col(SecurityEvent.request_id) == request_id)
    return (await session.exec(statement.order_by(col(SecurityEvent.at).desc()).limit(limit))).all()
