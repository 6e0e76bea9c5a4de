"""Public events of plans and access."""

from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction
from shared.audit.public_events import EventOrder, EventType

EVENTS = (
    EventType(
        name="billing.status_changed",
        title="The billing status changed",
        action=AuditAction.BILLING_STATUS_CHANGED,
        permission=Permission.BILLING_READ,
        fields={"status": "after.status", "previous_status": "before.status"},
        example={"status": "grace", "previous_status": "active"},
        order=EventOrder.TENANT,
    ),
    EventType(
        name="plan.changed",
        title="The organisation got another plan",
        action=AuditAction.PLAN_ASSIGNED,
        permission=Permission.ACCESS_READ,
        fields={"plan": "after.plan", "previous_plan": "before.plan"},
        example={"plan": "Business", "previous_plan": "Starter"},
        order=EventOrder.TENANT,
    ),
)
