"""Webhooks of the attacked tenants: a delivery with an attempt, and what the dispatcher hands to its statements."""

from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.outbound_webhooks import dispatch_repository, endpoints
from shared.outbound_webhooks.dispatch_repository import AttemptResult
from shared.outbound_webhooks.models import DeliveryStatus

CLAIM = "clm_attack"


async def deliver(ctx: Ctx) -> None:
    """A test event to each endpoint of this tenant, tried once and under way."""
    for endpoint in await endpoints.list_endpoints(ctx):
        delivery_id = await endpoints.send_test(ctx, endpoint.id)
        await ctx.session.flush()
        await dispatch_repository.record_results(ctx, [build_result(endpoint.id, delivery_id)])


def build_result(endpoint_id: str, delivery_id: str) -> AttemptResult:
    return AttemptResult(
        delivery_id=delivery_id,
        endpoint_id=endpoint_id,
        ordering_key="",
        claim_id="",
        number=1,
        at=now(),
        duration_ms=12,
        request_headers={"webhook-id": new_id("evt")},
        response_status=500,
        response_body="away",
        problem="bad_status",
        status=DeliveryStatus.PENDING,
        due_at=now(),
    )
