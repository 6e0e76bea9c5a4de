"""Public events of subscriptions and prepaid credits."""

from shared.access.permissions import Permission
from shared.audit.event_types import AuditAction
from shared.audit.public_events import EventType

EVENTS = (
    EventType(
        name="credits.topped_up",
        title="Prepaid credits were topped up",
        action=AuditAction.BILLING_TOPPED_UP,
        permission=Permission.BILLING_READ,
        fields={"grant_id": "object_id", "amount": "after.credits", "invoice_id": "details.invoice"},
        example={
            "grant_id": "grt_01jdcq2v7yzk3m9x5w8t6r4p1n",
            "amount": "€50.00",
            "invoice_id": "in_1Pgc6tLkdIwHu7ix",
        },
    ),
    EventType(
        name="subscription.cancellation_requested",
        title="The subscription was cancelled",
        action=AuditAction.BILLING_CANCEL_ASKED,
        permission=Permission.BILLING_READ,
        fields={"subscription_id": "object_id", "until": "after.until"},
        example={"subscription_id": "sub_1Pgc6tLkdIwHu7ix", "until": "2027-01-01T00:00:00+00:00"},
    ),
    EventType(
        name="subscription.paused",
        title="The subscription was paused",
        action=AuditAction.BILLING_PAUSE_ASKED,
        permission=Permission.BILLING_READ,
        fields={"subscription_id": "object_id"},
        example={"subscription_id": "sub_1Pgc6tLkdIwHu7ix"},
    ),
    EventType(
        name="subscription.resumed",
        title="The subscription was resumed",
        action=AuditAction.BILLING_RESUME_ASKED,
        permission=Permission.BILLING_READ,
        fields={"subscription_id": "object_id"},
        example={"subscription_id": "sub_1Pgc6tLkdIwHu7ix"},
    ),
)
