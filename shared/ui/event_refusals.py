"""Why an event is refused, and the record of it."""

from typing import Any

from reflex.event import Event

from shared.access import decision, decision_counts, refusal_messages
from shared.access.actions import OperatorAction
from shared.core import log, request_ids, tenant_limits, tenant_load
from shared.core.errors import DomainError, NotFound, Refused
from shared.core.tenant_limits import TenantOverRate
from shared.tenancy import entry, operator_attempts, support_transcript
from shared.tenancy.admissions import OperatorAdmission, Principal, TenantAdmission

TENANT_PATH = "/tenants/"  # of the operators' page about one tenant


async def record_refusal(event: Event, principal: Principal, refusal: DomainError, *, path: str) -> None:
    log.get_logger(__name__).info("event_refused", handler=event.name, reason=refusal.reason)
    admission = principal.admission
    if isinstance(admission, TenantAdmission) and isinstance(refusal, Refused):
        if admission.impersonation is not None:
            await support_transcript.record_refusal(admission, refusal, surface="page")
            return
        await decision_counts.record_refused(admission, refusal, request_ids.current(), surface="page")
    elif isinstance(admission, OperatorAdmission):
        form = event.payload.get("payload")
        reason = form.get("reason") if isinstance(form, dict) else ""
        await operator_attempts.record_gate_refusal(
            admission,
            refusal,
            tenant_id=path.removeprefix(TENANT_PATH).partition("/")[0],
            reason=reason if isinstance(reason, str) else "",
        )


def find_refusal(handler: Any, principal: Principal, slug: str) -> DomainError | None:
    if principal.ended_message:
        return Refused(principal.ended_message, principal.ended_step, reason="membership_ended")
    if slug and not principal.tenant_id:
        return NotFound(entry.NOT_FOUND_MESSAGE, entry.NOT_FOUND_STEP)
    action = getattr(handler, "__action__", None)
    if action is not None:
        request_ids.note_action(action.name)
    if action is None:
        return Refused(
            "This action is not available on this page.", "Reload the page and try again.", reason="unmarked"
        )
    if isinstance(action, OperatorAction):
        verdict = decision.decide_operator(principal, action)
        return None if verdict.allowed else refusal_messages.build_refusal(verdict.reason, action)
    verdict = decision.decide(principal, action)
    return None if verdict.allowed else refusal_messages.build_refusal(verdict.reason, action, principal)


def find_excess(principal: Principal) -> DomainError | None:
    """Why an event of a tenant that sends too many is refused; None for others."""
    if not isinstance(principal.admission, TenantAdmission):
        return None
    tenant_load.count_event(principal.tenant_id)
    try:
        tenant_limits.check_event(principal.tenant_id)
    except TenantOverRate as refusal:
        return refusal
    return None
