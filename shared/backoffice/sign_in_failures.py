"""Operators' failed sign-ins in the operator audit log, a limited number an hour."""

from datetime import timedelta

from shared.audit import audit_log
from shared.audit.event_types import OperatorAuditAction
from shared.core.context import OperatorCtx

MAX_FAILURES, FAILURE_WINDOW = 5, timedelta(hours=1)
LAST_FAILURE_NOTE = "More within this hour aren’t listed"


async def record_failure(octx: OperatorCtx, cause: str, *, address: str, device: str) -> None:
    """Record that signing in to this account failed, at most `MAX_FAILURES` times an hour."""
    action = OperatorAuditAction.SESSION_FAILED
    count = await audit_log.count_operator_events_of(octx.session, octx.actor_id, action, FAILURE_WINDOW)
    if count >= MAX_FAILURES:
        return
    details = {"address": address, "device": device}
    if count + 1 == MAX_FAILURES:
        details["note"] = LAST_FAILURE_NOTE
    audit_log.record_operator(octx, "session.failed", octx.actor_id, reason=cause, **details)
