"""SQL of deliveries: the log that members read, and putting deliveries back into the queue."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, text
from sqlmodel import col, select

from shared.audit.models import EventOutbox
from shared.core import rows
from shared.core.context import Ctx
from shared.core.paging import after_cursor, encode_cursor
from shared.outbound_webhooks.models import DeliveryStatus, WebhookAttempt, WebhookDelivery

MAX_ATTEMPTS_SHOWN = 50

# A delivery whose object has another one under way waits behind it: the callers hold the lock of the endpoint.
REPLAY = text("""
    with ended as (
        select tenant_id, id, endpoint_id, ordering_key, seq from webhook_delivery
        where tenant_id = :tenant_id and endpoint_id = :endpoint_id and id = any(:ids)
            and status in ('delivered', 'failed')
    ), chosen as (
        select e.tenant_id, e.id, e.ordering_key <> '' and (
            row_number() over (partition by e.ordering_key order by e.seq) > 1 or exists (
                select from webhook_delivery p where p.tenant_id = e.tenant_id and p.endpoint_id = e.endpoint_id
                    and p.ordering_key = e.ordering_key and p.ordering_key <> '' and p.status = 'pending')
        ) as waits
        from ended e
    )
    update webhook_delivery d set status = case when c.waits then 'waiting' else 'pending' end, attempts = 0, claim = '',
        due_at = clock_timestamp(), done_at = null
    from chosen c where d.tenant_id = c.tenant_id and d.id = c.id returning d.id
""")
LIST_FAILED = text("""
    select id from webhook_delivery where tenant_id = :tenant_id and endpoint_id = :endpoint_id and status = 'failed'
        and created_at >= :since order by created_at, id limit :most
""")
LIST_UNDELIVERED_TYPES = text("""
    select distinct event_type from webhook_delivery
    where tenant_id = :tenant_id and endpoint_id = :endpoint_id and status <> 'delivered'
""")
MAKE_DUE = text("""
    update webhook_delivery set due_at = clock_timestamp(), attempts = 0
    where tenant_id = :tenant_id and endpoint_id = :endpoint_id and status = 'pending' and claim = ''
""")
# With the queue's index: an endpoint may have very many.
COUNT_OPEN = text("""
    select count(*) from (
        select from webhook_delivery where tenant_id = :tenant_id and endpoint_id = :endpoint_id and status = 'pending'
        limit :most
    ) pending
""")


def get_cursor(delivery: WebhookDelivery) -> str:
    return encode_cursor(delivery.created_at, delivery.id)


async def list_deliveries(
    ctx: Ctx, endpoint_id: str, *, status: DeliveryStatus | None, after: str, limit: int
) -> Sequence[WebhookDelivery]:
    """Newest first. Raises Invalid for a cursor of another list."""
    sort_key = (col(WebhookDelivery.created_at), col(WebhookDelivery.id))
    statement = (
        select(WebhookDelivery)
        .where(WebhookDelivery.tenant_id == ctx.tenant_id)
        .where(WebhookDelivery.endpoint_id == endpoint_id)
        .where(*after_cursor(sort_key, after, descending=True))
        .order_by(*(column.desc() for column in sort_key))
        .limit(limit)
    )
    if status is not None:
        statement = statement.where(col(WebhookDelivery.status) == status)
    return await rows.all(ctx, statement)


async def get_delivery(ctx: Ctx, delivery_id: str) -> tuple[WebhookDelivery, EventOutbox] | None:
    """With its event; None where this tenant has no such delivery."""
    statement = (
        select(WebhookDelivery, EventOutbox)
        .join(
            EventOutbox,
            and_(
                col(EventOutbox.tenant_id) == WebhookDelivery.tenant_id,
                col(EventOutbox.id) == WebhookDelivery.event_id,
            ),
        )
        .where(WebhookDelivery.tenant_id == ctx.tenant_id)
        .where(WebhookDelivery.id == delivery_id)
    )
    return await rows.one(ctx, statement)


async def list_attempts(ctx: Ctx, delivery_id: str) -> Sequence[WebhookAttempt]:
    """Newest first."""
    statement = (
        select(WebhookAttempt)
        .where(WebhookAttempt.tenant_id == ctx.tenant_id)
        .where(WebhookAttempt.delivery_id == delivery_id)
        .order_by(col(WebhookAttempt.at).desc(), col(WebhookAttempt.id).desc())
        .limit(MAX_ATTEMPTS_SHOWN)
    )
    return await rows.all(ctx, statement)


async def replay(ctx: Ctx, endpoint_id: str, delivery_ids: Sequence[str]) -> int:
    """Put ended deliveries back into the queue. Returns how many. The caller holds the endpoint's lock."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "endpoint_id": endpoint_id, "ids": list(delivery_ids)}
    return len((await connection.execute(REPLAY, values)).all())


async def list_failed_ids(ctx: Ctx, endpoint_id: str, since: datetime, *, limit: int) -> list[str]:
    """Oldest first."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "endpoint_id": endpoint_id, "since": since, "most": limit}
    return list((await connection.execute(LIST_FAILED, values)).scalars())


async def list_undelivered_types(ctx: Ctx, endpoint_id: str) -> list[str]:
    """Of events that are queued, or were given up and may be sent again."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "endpoint_id": endpoint_id}
    return list((await connection.execute(LIST_UNDELIVERED_TYPES, values)).scalars())


async def make_due(ctx: Ctx, endpoint_id: str) -> None:
    """All pending ones now, as if they had not been tried. The caller holds the endpoint's lock."""
    connection = await ctx.session.connection()
    await connection.execute(MAKE_DUE, {"tenant_id": ctx.tenant_id, "endpoint_id": endpoint_id})


async def count_pending(ctx: Ctx, endpoint_id: str, *, limit: int) -> int:
    """At most `limit`. Those that wait for an earlier one are not counted."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "endpoint_id": endpoint_id, "most": limit}
    return int((await connection.execute(COUNT_OPEN, values)).scalar_one())
