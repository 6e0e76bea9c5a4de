"""The rows of the operator audit log, and of a search for one request."""

from dataclasses import dataclass

from admin_app import addresses, labels
from shared.access.actions import ACTIONS
from shared.access.models import DecisionCount
from shared.audit.event_types import AuditObject, AuditText, OperatorAuditAction
from shared.audit.models import BugReport, OperatorEvent, SecurityEvent
from shared.backoffice.request_search import RequestFindings
from shared.billing.models import BillingEvent
from shared.jobs.queue_status import QueuedJob
from shared.ui.audit_list import EventRow
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
    )


@dataclass(frozen=True)
class FindingRow:
    """Something that is stored under a request, beside the events of tenants. `url`: of its page, "" for none."""

    id: str
    at: str
    title: str
    note: str
    url: str


def finding_rows(findings: RequestFindings) -> list[FindingRow]:
    """Newest first."""
    names = findings.tenant_names
    rows = [
        *map(_bug_row, findings.bugs),
        *(_refusal_row(refusal, names[refusal.tenant_id]) for refusal in findings.refusals),
        *(_job_row(job, names.get(job.tenant_id, job.tenant_id)) for job in findings.jobs),
        *(_sync_row(sync, names[sync.tenant_id]) for sync in findings.syncs),
        *map(_operator_row, findings.operator_events),
        *map(_security_row, findings.security_events),
    ]
    return sorted(rows, key=lambda row: row.at, reverse=True)


def _bug_row(bug: BugReport) -> FindingRow:
    note = _join(f"{bug.problem} in the {bug.process}", bug.place)
    return FindingRow(bug.id, bug.at.isoformat(), "Unexpected error", note, "")


def _refusal_row(refusal: DecisionCount, tenant_name: str) -> FindingRow:
    action = ACTIONS.get(refusal.action)
    title = f"Refused to {action.description}" if action else "Unexpected error"
    reason = refusal.reason.replace("_", " ").capitalize() if action else ""
    note = _join(tenant_name, reason, refusal.actor_id)
    url = addresses.explain_url(refusal.tenant_id, refusal.actor_id, refusal.action) if action else ""
    return FindingRow(refusal.id, refusal.at.isoformat(), title, note, url)


def _job_row(job: QueuedJob, tenant_name: str) -> FindingRow:
    at = job.changed_at or job.scheduled_at
    note = _join(tenant_name, labels.JOB_STATUS_LABELS[job.status], job.error)
    return FindingRow(f"job_{job.id}", at.isoformat() if at else "", f"Job {job.task}", note, "/jobs")


def _sync_row(sync: BillingEvent, tenant_name: str) -> FindingRow:
    title, note = "Billing updated", _join(tenant_name, f"Cause: {sync.cause}")
    return FindingRow(sync.id, sync.at.isoformat(), title, note, addresses.billing_url(sync.tenant_id))


def _operator_row(event: OperatorEvent) -> FindingRow:
    row = operator_event_row(event)
    return FindingRow(row.id, row.at, f"{row.actor} {row.action_text} {row.subject}".strip(), row.context, "")


def _security_row(event: SecurityEvent) -> FindingRow:
    title, _ = labels.SECURITY_EVENT_LABELS.get(event.kind, (event.kind.replace("_", " ").capitalize(), ""))
    note = _join(event.actor_id, f"Requested {event.subject}" if event.subject else "")
    return FindingRow(event.id, event.at.isoformat(), title, note, "")


def _join(*texts: str) -> str:
    return " · ".join(text for text in texts if text)
