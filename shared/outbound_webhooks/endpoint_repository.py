"""SQL of webhook endpoints."""

from collections.abc import Sequence

from sqlalchemy import func
from sqlmodel import col, select

from shared.core import rows
from shared.core.context import Ctx
from shared.outbound_webhooks.models import WebhookEndpoint


async def list_endpoints(ctx: Ctx) -> Sequence[WebhookEndpoint]:
    """Oldest first."""
    statement = (
        select(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == ctx.tenant_id)
        .where(col(WebhookEndpoint.deleted_at).is_(None))
        .order_by(col(WebhookEndpoint.created_at), col(WebhookEndpoint.id))
    )
    return await rows.all(ctx, statement)


async def get_endpoint(ctx: Ctx, endpoint_id: str) -> WebhookEndpoint | None:
    """None where this tenant has no such endpoint any more."""
    statement = (
        select(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == ctx.tenant_id)
        .where(WebhookEndpoint.id == endpoint_id)
        .where(col(WebhookEndpoint.deleted_at).is_(None))
    )
    return await rows.one(ctx, statement)


async def lock_endpoint(ctx: Ctx, endpoint_id: str) -> WebhookEndpoint | None:
    """As `get_endpoint`, locked until the transaction ends."""
    endpoint = await rows.lock(ctx, WebhookEndpoint, endpoint_id)
    return endpoint if endpoint is not None and endpoint.deleted_at is None else None


async def lock_new_endpoints(ctx: Ctx) -> None:
    """Until the transaction ends: two people who add one at the same time do not both add the last one."""
    key = func.hashtextextended(f"webhooks:{ctx.tenant_id}", 0)
    await ctx.session.exec(select(func.pg_advisory_xact_lock(key)))


async def count_endpoints(ctx: Ctx) -> int:
    statement = (
        select(func.count())
        .select_from(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == ctx.tenant_id)
        .where(col(WebhookEndpoint.deleted_at).is_(None))
    )
    return (await ctx.session.exec(statement)).one()
