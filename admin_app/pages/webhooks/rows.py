"""The rows of /webhooks."""

from dataclasses import dataclass

from admin_app import addresses, labels
from shared.backoffice import webhook_inbox
from shared.backoffice.webhook_inbox import AccountStatus, WebhookSummary


@dataclass(frozen=True, kw_only=True)
class WebhookRow:
    href: str
    event_id: str
    type: str
    customer: str
    tenant_id: str
    tenant: str
    status: str
    tone: str
    error: str
    tries: str
    at: str


@dataclass(frozen=True, kw_only=True)
class FailingTypeRow:
    """An event type with failures."""

    type: str
    dead: str
    failing: str
    count: str
    maximum: str  # of any type
    share: str
    value_text: str


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    id: str
    name: str
    mode: str
    state: str
    tone: str
    status_text: str
    since: str
    is_paused: bool
    signature_failures: str  # "" for none
    signature_failed_at: str


def webhook_row(webhook: WebhookSummary) -> WebhookRow:
    status_label, tone, _ = labels.WEBHOOK_STATUS_LABELS[webhook.status]
    return WebhookRow(
        href=addresses.webhook_url(webhook.account_id, webhook.event_id),
        event_id=webhook.event_id,
        type=webhook.type,
        customer=webhook.customer_id or "No customer",
        tenant_id=webhook.tenant_id,
        tenant=webhook.tenant_name,
        status=status_label,
        tone=tone,
        error=webhook.error,
        tries=str(webhook.attempts),
        at=webhook.received_at.isoformat(),
    )


def type_rows(pulse: webhook_inbox.InboxStatus) -> list[FailingTypeRow]:
    highest = max((dead + failing for _, dead, failing in pulse.failing_types), default=1)
    return [
        FailingTypeRow(
            type=kind,
            dead=f"{dead:,} dead" if dead else "",
            failing=f"{failing:,} to be retried" if failing else "",
            count=str(dead + failing),
            maximum=str(highest),
            share=f"{(dead + failing) / highest * 100:.1f}%",
            value_text=f"{dead:,} dead, {failing:,} to be retried",
        )
        for kind, dead, failing in pulse.failing_types
    ]


def account_row(account: AccountStatus) -> AccountRow:
    status_label, tone, since = "Connected", "ok", None
    if account.unreachable_since is not None:
        status_label, tone, since = "Not responding", "warn", account.unreachable_since
    if account.paused_at is not None:
        status_label, tone, since = "Paused", "bad", account.paused_at
    waiting = labels.plural(account.waiting, "webhook waiting", "webhooks waiting")
    dead = f", {account.dead:,} dead" if account.dead else ""
    return AccountRow(
        id=account.id,
        name=account.name,
        mode="Live" if account.livemode else "Test",
        state=status_label,
        tone=tone,
        status_text=f"{account.pause_reason}. {waiting}{dead}." if account.paused_at else f"{waiting}{dead}.",
        since=labels.iso_or_empty(since),
        is_paused=account.paused_at is not None,
        signature_failures=labels.plural(
            account.signature_failures, "webhook with a wrong signature", "webhooks with a wrong signature"
        )
        if account.signature_failures
        else "",
        signature_failed_at=labels.iso_or_empty(account.signature_failed_at),
    )
