"""Webhooks for operators: their status, payload and changes, and replaying them.

The list is read across tenants. Payload and changes belong to the tenant: reading them needs a reason, recorded in the
tenant's audit log, or in the operator audit log where the tenant is unknown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import webhook_inbox_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.backoffice.webhook_inbox_repository import (
    AccountProblem,
    AccountStatus,
    WebhookFilter,
    WebhookSummary,
)
from shared.billing.inbound_webhooks import processing
from shared.billing.models import BillingEvent
from shared.core import live_events
from shared.core.context import OperatorCtx
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.paging import Page, build_page, clamp_limit
from shared.tenancy import entry

STATUSES = ("pending", "working", "parked", "dead", "done", "ignored")
LIST_REASON = "List of webhooks"  # the stated reason where the page itself is the reason
MAX_FAILING_TYPES = 8
MAX_FILTER_LENGTH = 255
MAX_PAYLOAD_LENGTH = 60_000  # characters of a payload that a page shows
HIDDEN = "[hidden]"


@dataclass(frozen=True, slots=True)
class InboxStatus:
    """Numbers of webhooks by status, and delays."""

    counts: Mapping[str, int]  # every status
    oldest_s: float  # wait of the oldest due webhook
    p95_s: float | None  # from arrival to done, in the last hour
    failing_types: Sequence[tuple[str, int, int]]  # type, dead, to be retried
    accounts: Sequence[AccountStatus]

    @property
    def backlog(self) -> int:
        """Webhooks that are due for us. Parked ones wait for their tenant and don't count."""
        return self.counts["pending"] + self.counts["working"]


@dataclass(frozen=True, slots=True)
class WebhookContent:
    """The payload of a webhook as text, and the changes of the syncs that it triggered."""

    payload: str
    effects: Sequence[BillingEvent]


async def list_webhooks(
    octx: OperatorCtx, webhook_filter: WebhookFilter | None = None, *, after: str = "", limit: int = 50
) -> Page[WebhookSummary]:
    """Newest first. Raises Invalid for a status that does not exist."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    webhook_filter = webhook_filter or WebhookFilter()
    if webhook_filter.status and webhook_filter.status not in STATUSES:
        raise Invalid("This webhook status doesn’t exist.", "Choose one from the list.")
    for filter_text in (webhook_filter.type, webhook_filter.customer_id, webhook_filter.event_id):
        if len(filter_text) > MAX_FILTER_LENGTH or "\0" in filter_text:
            raise Invalid(f"Filters can have at most {MAX_FILTER_LENGTH} characters.", "Shorten the text.")
    limit = clamp_limit(limit)
    async with entry.read_across_tenants(octx, LIST_REASON) as session:
        rows = await repository.list_webhooks(session, webhook_filter, after=after, limit=limit + 1)
    return build_page(rows, limit=limit, cursor_of=repository.get_cursor)


async def get_webhook(octx: OperatorCtx, account_id: str, event_id: str) -> WebhookSummary:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    async with entry.read_across_tenants(octx, LIST_REASON) as session:
        webhook = await repository.get_webhook(session, account_id, event_id)
    if webhook is None:
        raise _not_found()
    return webhook


async def read_content(octx: OperatorCtx, account_id: str, event_id: str, reason: Reason) -> WebhookContent:
    """The payload and its changes. Raises Invalid without a reason, NotFound."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    policy.require_operator(octx, actions.OP_BILLING_READ)
    reason_text = use_reason(octx, reason)
    webhook = await get_webhook(octx, account_id, event_id)
    if not webhook.tenant_id:
        async with entry.read_across_tenants(octx, reason_text) as session:
            return WebhookContent(
                _format_payload(await repository.get_payload(session, account_id, event_id)), ()
            )
    async with entry.enter_as_operator(octx, webhook.tenant_id, reason_text) as ctx:
        payload = await repository.get_payload(ctx.session, account_id, event_id)
        return WebhookContent(
            _format_payload(payload), await repository.list_billing_events(ctx, account_id, event_id)
        )


async def get_inbox_status(octx: OperatorCtx) -> InboxStatus:
    """Webhooks by status, how long the oldest has waited, the delay of the last hour, and failures by type and account."""
    policy.require_operator(octx, actions.OP_WEBHOOK_READ)
    session = octx.session
    return InboxStatus(
        await count_by_status(session),
        await repository.get_oldest_wait_s(session),
        await repository.get_p95_s(session),
        await repository.list_failing_types(session, MAX_FAILING_TYPES),
        await repository.list_account_statuses(session, processing.PROVIDER_DOWN_ERROR),
    )


async def list_account_problems(octx: OperatorCtx) -> Sequence[AccountProblem]:
    """Problems of our accounts, as of the worker's last request, for the banner on every page."""
    policy.require_operator(octx, actions.OP_HOME_READ)
    return await repository.list_account_problems(octx.session, processing.PROVIDER_DOWN_ERROR)


async def replay(octx: OperatorCtx, account_id: str, event_id: str, reason: Reason) -> None:
    """Queues the webhook again, as if it had just arrived. Raises Invalid without a reason, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_WEBHOOK_REPLAY)
    reason_text = use_reason(octx, reason)
    webhook = await get_webhook(octx, account_id, event_id)
    if webhook.status == "ignored" and not webhook.can_be_replayed:
        raise Conflict("This webhook has no customer.", "There is nothing to replay.")
    if not await processing.replay(octx.session, account_id, event_id):
        raise Conflict("This webhook is already queued.", "Reload the page to see its status.")
    audit_log.record_operator(
        octx,
        "webhook.replayed",
        event_id,
        reason=reason_text,
        name=event_id,
        account=account_id,
        was=webhook.status,
    )
    await live_events.refresh_pages(octx.session, "*", "webhooks")


async def replay_dead(octx: OperatorCtx, reason: Reason, *, type: str = "") -> int:
    """Queues all dead letters again, or those of one type.

    Returns how many. Raises Invalid without a reason, Conflict for none.
    """
    policy.require_operator(octx, actions.OP_WEBHOOK_REPLAY)
    reason_text = use_reason(octx, reason)
    count = await repository.replay_dead_webhooks(octx.session, type)
    if not count:
        raise Conflict("There are no dead letters.", "Reload the page.")
    audit_log.record_operator(
        octx, "webhooks.replayed", type or "*", reason=reason_text, count=count, type=type
    )
    await live_events.refresh_pages(octx.session, "*", "webhooks")
    return count


async def count_by_status(session: AsyncSession) -> dict[str, int]:
    """Numbers of webhooks by status. The caller checks the permission."""
    counts_by_status = await repository.count_by_status(session)
    return {status: counts_by_status.get(status, 0) for status in STATUSES}


async def get_oldest_wait_s(session: AsyncSession) -> float:
    """Seconds that the oldest due webhook has waited."""
    return await repository.get_oldest_wait_s(session)


def _format_payload(payload: bytes) -> str:
    """The payload as text, without secrets that would allow acting in the customer's name."""
    try:
        text = json.dumps(_mask_secrets(json.loads(payload)), indent=2, ensure_ascii=False)
    except ValueError:
        text = payload.decode("utf-8", "replace")
    is_truncated = len(text) > MAX_PAYLOAD_LENGTH
    return (
        f"{text[:MAX_PAYLOAD_LENGTH]}\n… {len(text) - MAX_PAYLOAD_LENGTH:,} more characters"
        if is_truncated
        else text
    )


def _mask_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if "secret" in key and item else _mask_secrets(item) for key, item in value.items()
        }
    return [_mask_secrets(item) for item in value] if isinstance(value, list) else value


def _not_found() -> NotFound:
    return NotFound("This webhook doesn’t exist.", "Search for it in the list of webhooks.")
