"""The delivery log of an endpoint: what was sent, what came back, and sending again.

A member reads what an event tells only with the permission that the event needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.access import policy
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, NotFound
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.outbound_webhooks import actions, endpoints, event_catalog
from shared.outbound_webhooks import delivery_repository as repository
from shared.outbound_webhooks.endpoint_repository import get_endpoint
from shared.outbound_webhooks.models import (
    DeliveryStatus,
    EndpointState,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

MAX_REPLAYED = 1_000  # in one call
MAX_PENDING_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """`due_at`: of the next attempt, while the delivery is pending. `is_readable`: the actor may see what was sent."""

    id: str
    event_id: str
    event_type: str
    is_test: bool
    status: DeliveryStatus
    attempts: int
    due_at: datetime
    created_at: datetime
    done_at: datetime | None
    last_status: int  # of HTTP, 0 without an answer
    last_problem: str
    is_readable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    number: int
    at: datetime
    duration_ms: int
    request_headers: tuple[tuple[str, str], ...]
    response_status: int  # 0 without an answer
    response_body: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail:
    delivery: DeliveryView
    endpoint_id: str
    request_id: str  # of the request in which it happened
    body: str = field(repr=False)
    attempts: Sequence[AttemptView]  # newest first


async def list_deliveries(
    ctx: Ctx, endpoint_id: str, *, status: DeliveryStatus | None = None, after: str = "", limit: int = 50
) -> Page[DeliveryView]:
    """Newest first. `after` is the previous page's `next_cursor`. Raises NotFound, Invalid."""
    policy.require(ctx, actions.WEBHOOK_READ)
    limit = clamp_limit(limit)
    if await get_endpoint(ctx, endpoint_id) is None:
        raise endpoints.endpoint_not_found()
    rows = await repository.list_deliveries(ctx, endpoint_id, status=status, after=after, limit=limit + 1)
    page = build_page(rows, limit=limit, cursor_of=repository.get_cursor)
    return map_page(page, lambda row: _build_view(ctx, row))


async def count_pending(ctx: Ctx, endpoint_id: str) -> int:
    """How many are to be sent, at most `MAX_PENDING_SHOWN`. Raises NotFound."""
    policy.require(ctx, actions.WEBHOOK_READ)
    if await get_endpoint(ctx, endpoint_id) is None:
        raise endpoints.endpoint_not_found()
    return await repository.count_pending(ctx, endpoint_id, limit=MAX_PENDING_SHOWN)


async def get_delivery(ctx: Ctx, delivery_id: str) -> DeliveryDetail:
    """With request and answers. Raises NotFound, Refused without the permission of its event."""
    policy.require(ctx, actions.WEBHOOK_READ)
    records = await repository.get_delivery(ctx, delivery_id)
    if records is None or await get_endpoint(ctx, records[0].endpoint_id) is None:
        raise _delivery_not_found()
    delivery, event = records
    event_catalog.require_readable(ctx, [delivery.event_type])
    return DeliveryDetail(
        delivery=_build_view(ctx, delivery),
        endpoint_id=delivery.endpoint_id,
        request_id=event.request_id,
        body=event.body,
        attempts=[_build_attempt(row) for row in await repository.list_attempts(ctx, delivery.id)],
    )


async def replay(ctx: Ctx, delivery_id: str) -> None:
    """Send an ended delivery again, with the same id. Raises NotFound, Refused, Conflict while it is under way."""
    policy.require(ctx, actions.WEBHOOK_REPLAY)
    records = await repository.get_delivery(ctx, delivery_id)
    if records is None:
        raise _delivery_not_found()
    endpoint = await endpoints.lock_managed(ctx, records[0].endpoint_id, actions.WEBHOOK_REPLAY)
    event_catalog.require_readable(ctx, [records[0].event_type])
    _require_active(endpoint)
    if not await repository.replay(ctx, endpoint.id, [delivery_id]):
        raise Conflict("This event is still being delivered.", "Wait for its next attempt.")
    await _finish_replay(ctx, endpoint, 1)


async def replay_failed(ctx: Ctx, endpoint_id: str, since: datetime) -> int:
    """Send again what was given up, of events since then, the oldest first and at most `MAX_REPLAYED`.

    Returns how many. Raises NotFound, Refused, Conflict for a paused endpoint.
    """
    endpoint = await endpoints.lock_managed(ctx, endpoint_id, actions.WEBHOOK_REPLAY)
    _require_active(endpoint)
    delivery_ids = await repository.list_failed_ids(ctx, endpoint_id, since, limit=MAX_REPLAYED)
    count = await repository.replay(ctx, endpoint_id, delivery_ids) if delivery_ids else 0
    if count:
        await _finish_replay(ctx, endpoint, count)
    return count


def _require_active(endpoint: WebhookEndpoint) -> None:
    if endpoint.state is EndpointState.PAUSED:
        raise Conflict("This webhook is paused.", "Resume it, then send the events again.")


async def _finish_replay(ctx: Ctx, endpoint: WebhookEndpoint, count: int) -> None:
    endpoint.turn_at = now()
    ctx.session.add(endpoint)
    audit_log.record(ctx, "webhook.replayed", endpoint.id, name=endpoint.url, events=count)
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, endpoints.TOPIC)


def _delivery_not_found() -> NotFound:
    return NotFound("This delivery doesn’t exist.", "Deliveries are kept for 30 days. Reload the page.")


def _build_view(ctx: Ctx, row: WebhookDelivery) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        event_id=row.event_id,
        event_type=row.event_type,
        is_test=row.is_test,
        status=row.status,
        attempts=row.attempts,
        due_at=row.due_at,
        created_at=row.created_at,
        done_at=row.done_at,
        last_status=row.last_status,
        last_problem=row.last_problem,
        is_readable=event_catalog.can_read(ctx, [row.event_type]),
    )


def _build_attempt(row: WebhookAttempt) -> AttemptView:
    return AttemptView(
        number=row.number,
        at=row.at,
        duration_ms=row.duration_ms,
        request_headers=tuple(sorted(row.request_headers.items())),
        response_status=row.response_status,
        response_body=row.response_body,
        problem=row.problem,
    )
