"""Record acts that changed nothing: refused by a decision (`denied`), or impossible (`failed`).

Each is recorded in a transaction of its own, because the one that was refused is rolled back. Equal attempts are recorded a
few times a minute: the audit log is never shortened, so a flood of refusals must not fill it.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from shared.audit import audit_log_repository as repository
from shared.audit.event_types import RESULT_KEY, AuditAction, AuditResult, OperatorAuditAction
from shared.audit.models import AuditEvent, OperatorEvent
from shared.core import db, log, transaction_retries
from shared.core.context import Actor
from shared.core.ids import new_id
from shared.core.token_buckets import TokenBuckets

MAX_EQUAL = 5  # of one actor and action, a minute
MAX_OF_ACTOR_A_DAY = 200  # of one member, with all keys, or of one operator
MINUTE_S, DAY_S = 60, 86_400
NO_REASON = "No reason was stated."
MAX_REASON_LENGTH = 500  # characters

_buckets = TokenBuckets()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An act that changed nothing. `cause`: the code of the refusal, as "missing_permission"."""

    actor: Actor
    action: str  # name of the action
    description: str  # completes "tried to …"
    result: AuditResult
    cause: str
    request_id: str
    tenant_id: str = ""  # "" outside of tenants
    reason: str = ""  # as the actor stated it, "" where nothing was stated yet
    holder_id: str = ""  # whose attempts are counted together, "" for the actor's own
    details: dict[str, Any] = field(default_factory=dict)

    def list_details(self) -> dict[str, Any]:
        facts = {"name": self.description, "attempt": self.action, "cause": self.cause}
        return {**self.details, **facts, RESULT_KEY: self.result.value}


async def record_member_attempt(attempt: Attempt) -> None:
    """In the audit log of the tenant."""
    if _may_record(attempt):
        await _write(attempt, AuditAction.ACTION_ATTEMPTED, role="app")


async def record_operator_attempt(attempt: Attempt) -> None:
    """In the audit log of the tenant; of the operators where it is about no tenant, or about none that exists."""
    if _may_record(attempt):
        await _write(attempt, AuditAction.OPERATOR_ATTEMPTED, role="operator")


async def _write(attempt: Attempt, action: AuditAction, *, role: db.DatabaseRole) -> None:
    try:
        with transaction_retries.outside_of_runs():
            async with db.transaction(role, tenant_id=attempt.tenant_id) as session:
                has_tenant = bool(attempt.tenant_id) and await repository.has_tenant(
                    session, attempt.tenant_id
                )
                if has_tenant:
                    session.add(_build_event(attempt, action))
                elif role == "operator":
                    await db.clear_scope(session)
                    session.add(_build_operator_event(attempt))
    except SQLAlchemyError:  # the refusal matters more than its record
        log.get_logger(__name__).exception("attempt_not_recorded", tenant_id=attempt.tenant_id)


def _build_event(attempt: Attempt, action: AuditAction) -> AuditEvent:
    return AuditEvent(
        id=new_id("aud"),
        tenant_id=attempt.tenant_id,
        actor_type=attempt.actor.type,
        actor_id=attempt.actor.id,
        actor_name=attempt.actor.name,
        action=action.value,
        object_id=attempt.tenant_id,
        reason=_clean_reason(attempt.reason) if action is AuditAction.OPERATOR_ATTEMPTED else "",
        details=attempt.list_details(),
        request_id=attempt.request_id,
    )


def _build_operator_event(attempt: Attempt) -> OperatorEvent:
    return OperatorEvent(
        actor_id=attempt.actor.id,
        actor_name=attempt.actor.name,
        action=OperatorAuditAction.ACTION_ATTEMPTED.value,
        object_id=attempt.tenant_id or "*",
        reason=_clean_reason(attempt.reason),
        details=attempt.list_details(),
        request_id=attempt.request_id,
    )


def _clean_reason(text: str) -> str:
    """What was stated is not checked: it belongs to an act that was refused."""
    return " ".join(text.replace("\0", " ").split())[:MAX_REASON_LENGTH] or NO_REASON


def _may_record(attempt: Attempt) -> bool:
    owner = attempt.holder_id or attempt.actor.id
    equal = f"{attempt.tenant_id}/{attempt.actor.id}/{attempt.action}/{attempt.result}"
    return _take(equal, MAX_EQUAL, seconds=MINUTE_S) and _take(
        f"{attempt.tenant_id}/{owner}", MAX_OF_ACTOR_A_DAY, seconds=DAY_S
    )


def _take(name: str, count: int, *, seconds: int) -> bool:
    bucket = _buckets.get(name, count / seconds, count)
    if bucket.take(1) == 0:
        return True
    bucket.give_back(1)
    return False
