"""The rows of the operator audit log."""

from admin_app import labels
from shared.audit.event_types import AuditObject, AuditText, OperatorAuditAction
from shared.audit.models import OperatorEvent
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
