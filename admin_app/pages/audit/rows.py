"""The rows of the operator audit log, and of a search for one request."""

from dataclasses import dataclass

from admin_app import addresses, labels
from shared.access import decision_counts
from shared.access.actions import ACTIONS
from shared.access.models import DecisionCount, DecisionRecord
from shared.audit.event_types import RESULT_KEY, AuditObject, AuditText, OperatorAuditAction
from shared.audit.models import BugReport, OperatorEvent, SecurityEvent
from shared.backoffice.request_search import RequestFindings
from shared.billing.models import BillingEvent
from shared.jobs.queue_status import QueuedJob
from shared.ui.audit_list import EventRow, result_label
from shared.ui.decision_trace import list_changes
from shared.ui.tables import initials_of


def operator_event_row(event: OperatorEvent) -> EventRow:
    is_known = event.action in set(OperatorAuditAction)
    audit_text = (
        labels.OPERATOR_AUDIT_TEXTS[OperatorAuditAction(event.action)]
        if is_known
        else AuditText(event.action)
    )
    details = dict(event.details)
    result = result_label(details)
    details.pop(RESULT_KEY, None)
    before, after, impact = (details.pop(name, None) or {} for name in ("before", "after", "effect"))
    subject = details.pop("name", "") or details.get("email", event.object_id)
    facts = [
        f"{key.replace('_', ' ').capitalize()}: {value}"
        for key, value in {**details, **impact}.items()
        if value
    ]
    return EventRow(
        event.id,
        event.at.isoformat() if event.at else "",
        event.actor_name,
        initials_of(event.actor_name),
        True,
        audit_text.text,
        str(subject) if audit_text.object is AuditObject.NAME else "",
        " · ".join([f"Reason: {event.reason}", *facts, event.action]),
        event.action,
        event.request_id,
        list_changes(before, after),
        url=addresses.audit_url({"event": event.id}, tab="operators"),
        result=result,
    )


@dataclass(frozen=True, kw_only=True)
class FindingRow:
    """Something that is stored under a request, beside the events of tenants. `url`: of its page, "" for none."""

    id: str
    at: str
    title: str
    note: str
    url: str = ""


def finding_rows(findings: RequestFindings) -> list[FindingRow]:
    """Newest first. An error that was reported is not shown as a count of its tenant as well."""
    names = findings.tenant_names
    counted = [
        refusal
        for refusal in findings.refusals
        if not (findings.bugs and refusal.reason == decision_counts.ERROR_REASON)
    ]
    recorded = {(each.tenant_id, each.actor_id, each.action, each.reason) for each in findings.decisions}
    counted = [
        refusal
        for refusal in counted
        if (refusal.tenant_id, refusal.actor_id, refusal.action, refusal.reason) not in recorded
    ]
    rows = [
        *map(_bug_row, findings.bugs),
        *(_decision_row(each, names.get(each.tenant_id, each.tenant_id)) for each in findings.decisions),
        *(_refusal_row(refusal, names.get(refusal.tenant_id, refusal.tenant_id)) for refusal in counted),
        *(_job_row(job, names.get(job.tenant_id, job.tenant_id)) for job in findings.jobs),
        *(_sync_row(sync, names.get(sync.tenant_id, sync.tenant_id)) for sync in findings.syncs),
        *map(_operator_row, findings.operator_events),
        *map(_security_row, findings.security_events),
    ]
    return sorted(rows, key=lambda row: row.at, reverse=True)


def _bug_row(bug: BugReport) -> FindingRow:
    note = _join(f"{bug.problem} in the {bug.process}", bug.place)
    return FindingRow(id=bug.id, at=bug.at.isoformat(), title="Unexpected error", note=note)


def _decision_row(record: DecisionRecord, tenant_name: str) -> FindingRow:
    action = ACTIONS.get(record.action)
    verb = "Allowed" if record.allowed else "Refused"
    reason = labels.REFUSAL_LABELS.get(record.reason, record.reason.replace("_", " "))
    return FindingRow(
        id=record.id,
        at=record.at.isoformat(),
        title=f"{verb} to {action.description if action else record.action}",
        note=_join(tenant_name, reason, record.actor_id, record.id),
        url=addresses.decision_url(record.tenant_id, record.id),
    )


def _refusal_row(refusal: DecisionCount, tenant_name: str) -> FindingRow:
    if refusal.reason == decision_counts.ERROR_REASON:
        return FindingRow(
            id=refusal.id, at=refusal.at.isoformat(), title="Unexpected error", note=tenant_name
        )
    action = ACTIONS.get(refusal.action)
    reason = labels.REFUSAL_LABELS.get(refusal.reason, refusal.reason.replace("_", " "))
    return FindingRow(
        id=refusal.id,
        at=refusal.at.isoformat(),
        title=f"Refused to {action.description if action else refusal.action}",
        note=_join(tenant_name, reason, refusal.actor_id),
        url=addresses.explain_url(refusal.tenant_id, refusal.actor_id, refusal.action) if action else "",
    )


def _job_row(job: QueuedJob, tenant_name: str) -> FindingRow:
    at = job.changed_at or job.scheduled_at
    return FindingRow(
        id=f"job_{job.id}",
        at=at.isoformat() if at else "",
        title=f"Job {job.task}",
        note=_join(tenant_name, labels.JOB_STATUS_LABELS[job.status], job.error),
        url="/jobs",
    )


def _sync_row(sync: BillingEvent, tenant_name: str) -> FindingRow:
    return FindingRow(
        id=sync.id,
        at=sync.at.isoformat(),
        title="Billing updated",
        note=_join(tenant_name, f"Cause: {sync.cause}"),
        url=addresses.billing_url(sync.tenant_id),
    )


def _operator_row(event: OperatorEvent) -> FindingRow:
    row = operator_event_row(event)
    title = f"{row.actor} {row.action_text} {row.subject}".strip()
    return FindingRow(id=row.id, at=row.at, title=title, note=row.context)


def _security_row(event: SecurityEvent) -> FindingRow:
    title, _ = labels.SECURITY_EVENT_LABELS.get(event.kind, (event.kind.replace("_", " ").capitalize(), ""))
    note = _join(event.actor_id, f"Requested {event.subject}" if event.subject else "")
    return FindingRow(id=event.id, at=event.at.isoformat(), title=title, note=note)


def _join(*texts: str) -> str:
    return " · ".join(text for text in texts if text)
