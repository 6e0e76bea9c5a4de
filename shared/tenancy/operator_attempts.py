"""What operators tried and could not do, for the audit log: with the tenant and the reason, as far as they were stated."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.access.actions import OPERATOR_ACTIONS, OperatorAction
from shared.audit import attempts
from shared.audit.attempts import Attempt
from shared.audit.event_types import AuditResult
from shared.core import db, request_ids, transaction_retries
from shared.core.context import OperatorCtx
from shared.core.errors import DomainError, NotSignedIn, Refused
from shared.core.ids import is_id
from shared.tenancy.admissions import OperatorAdmission

ERROR_CAUSE = "error"  # of a bug or an outage


class OperatorTransaction:
    """Whose transaction it is, once that is known."""

    octx: OperatorCtx | None = None


@asynccontextmanager
async def recording_attempts() -> AsyncIterator[OperatorTransaction]:
    """Around a transaction of an operator: when it was refused or failed, that is recorded after its end."""
    transaction = OperatorTransaction()
    try:
        yield transaction
    except NotSignedIn:
        raise
    except Exception as problem:
        is_lost = db.is_connection_error(problem) or transaction_retries.is_conflict(problem)
        if (octx := transaction.octx) is not None and not is_lost:  # without a database there is no record
            await _record(problem, octx)
        raise


async def record_gate_refusal(
    admission: OperatorAdmission, refusal: DomainError, *, tenant_id: str, reason: str
) -> None:
    """Of an event that was refused before its handler ran. `tenant_id`, `reason`: of its page and form, unchecked."""
    action = OPERATOR_ACTIONS.get(refusal.action) if isinstance(refusal, Refused) else None
    if action is None:
        return
    await attempts.record_operator_attempt(
        Attempt(
            actor=admission.actor,
            action=action.name,
            description=action.description,
            result=AuditResult.DENIED,
            cause=str(refusal.reason),
            request_id=request_ids.current(),
            tenant_id=tenant_id if is_id("ten", tenant_id) else "",
            reason=reason,
        )
    )


async def _record(problem: Exception, octx: OperatorCtx) -> None:
    action = _find_action(problem, octx)
    if action is None:
        return
    await attempts.record_operator_attempt(
        Attempt(
            actor=octx.actor,
            action=action.name,
            description=action.description,
            result=AuditResult.DENIED if isinstance(problem, Refused) else AuditResult.FAILED,
            cause=str(problem.reason) if isinstance(problem, DomainError) else ERROR_CAUSE,
            request_id=octx.request_id,
            tenant_id=octx.act.tenant_id if is_id("ten", octx.act.tenant_id) else "",
            reason=octx.act.reason,
            details={"operator_key": octx.key_id} if octx.key_id else {},
        )
    )


def _find_action(problem: Exception, octx: OperatorCtx) -> OperatorAction | None:
    """The action that was refused, or the one that was allowed and came to nothing. None for reading that failed."""
    if isinstance(problem, Refused) and problem.action in OPERATOR_ACTIONS:
        return OPERATOR_ACTIONS[problem.action]
    return OPERATOR_ACTIONS.get(octx.act.action)
