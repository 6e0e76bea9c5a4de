"""Webhooks of the attacked tenants: deliveries in every status, an attempt, and what the dispatcher hands to its statements."""

from typing import Any

from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.outbound_webhooks import dispatch_repository, endpoints
from shared.outbound_webhooks.dispatch_repository import AttemptResult
from shared.outbound_webhooks.models import DeliveryStatus, WebhookDelivery

LINE = "organisation"  # an ordering key


async def deliver(ctx: Ctx) -> None:
    """Test events to each endpoint of this tenant: one under way, one that was given up, and one that waits for it."""
    for endpoint in await endpoints.list_endpoints(ctx):
        for status in (DeliveryStatus.PENDING, DeliveryStatus.FAILED, DeliveryStatus.WAITING):
            delivery_id = await endpoints.send_test(ctx, endpoint.id)
            await ctx.session.flush()
            delivery = await ctx.session.get_one(WebhookDelivery, (ctx.tenant_id, delivery_id))
            if status is DeliveryStatus.PENDING:
                result = build_result(endpoint.id, delivery_id, status)
                await dispatch_repository.record_results(ctx, [result])
            else:
                delivery.status, delivery.ordering_key = status, LINE
                ctx.session.add(delivery)
                await ctx.session.flush()


def build_result(endpoint_id: str, delivery_id: str, status: DeliveryStatus) -> AttemptResult:
    return AttemptResult(
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        ordering_key=LINE,
        claim_id="",
        number=1,
        at=now(),
        waited_ms=12,
        duration_ms=12,
        request_headers={"webhook-id": new_id("evt")},
        response_status=500,
        response_body="away",
        problem="bad_status",
        status=status,
        due_at=now() if status is DeliveryStatus.PENDING else None,
    )


def build_results(
    rows: list[dict[str, Any]], status: DeliveryStatus = DeliveryStatus.FAILED
) -> list[AttemptResult]:
    """The delivery that is under way is given up, or whatever `status` says."""
    return [
        build_result(row["endpoint_id"], row["id"], status)
        for row in rows
        if row["status"] == DeliveryStatus.PENDING
    ]
