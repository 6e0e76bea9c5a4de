"""The rows of a webhook's page."""

from dataclasses import dataclass, field

from admin_app import addresses, labels
from shared.backoffice.webhook_inbox import WebhookSummary
from shared.billing.models import BillingEvent
from shared.ui.decision_trace import Change


@dataclass(frozen=True, kw_only=True)
class WebhookDetail:
    id: str = ""
    account: str = ""
    type: str = ""
    status: str = ""
    tone: str = ""
    explanation: str = ""
    mode: str = ""
    version: str = ""
    customer: str = ""
    tenant_id: str = ""
    tenant: str = ""
    created_at: str = ""
    received_at: str = ""
    done_at: str = ""
    due_at: str = ""
    tries: str = ""
    error: str = ""
    is_waiting: bool = False
    can_replay: bool = False


@dataclass(frozen=True, kw_only=True)
class BillingEventRow:
    id: str
    at: str
    cause: str
    ticket: str
    has_new_access: bool
    request_url: str  # address of the request's events
    request_id: str
    changes: list[Change] = field(default_factory=list)


def webhook_detail(received: WebhookSummary) -> WebhookDetail:
    status_label, tone, explanation = labels.WEBHOOK_STATUS_LABELS[received.status]
    is_waiting = received.status in ("pending", "working", "parked")
    return WebhookDetail(
        id=received.event_id,
        account=received.account_id,
        type=received.type,
        status=status_label,
        tone=tone,
        explanation=explanation,
        mode="Live mode" if received.livemode else "Test mode",
        version=received.api_version or "Unknown",
        customer=received.customer_id,
        tenant_id=received.tenant_id,
        tenant=received.tenant_name,
        created_at=received.created_at.isoformat(),
        received_at=received.received_at.isoformat(),
        done_at=labels.iso_or_empty(received.done_at),
        due_at=received.due_at.isoformat() if is_waiting else "",
        tries=str(received.attempts),
        error=received.error,
        is_waiting=is_waiting,
        can_replay=received.can_be_replayed,
    )


def billing_event_row(event: BillingEvent) -> BillingEventRow:
    return BillingEventRow(
        id=event.id,
        at=event.at.isoformat(),
        cause=labels.CAUSE_LABELS.get(event.cause, event.cause),
        ticket=str(event.ticket),
        has_new_access=event.recalculated,
        request_url=addresses.request_url(event.tenant_id, event.request_id),
        request_id=event.request_id,
        changes=labels.list_billing_changes(event.previous, event.next),
    )
