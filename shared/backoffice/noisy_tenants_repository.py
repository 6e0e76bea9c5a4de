"""SQL of tenants by what they cost."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice.noisy_tenants_rows import NoisyOrder, NoisyTenant
from shared.core.context import Ctx
from shared.fairness.models import ThrottleRow

LIST_NOISY = """
    with load as (
        select tenant_id, sum(database_seconds) as database_seconds, sum(request_count)::bigint as requests,
            sum(event_count)::bigint as events, sum(job_count)::bigint as jobs, sum(refused_count)::bigint as refused
        from tenant_load where starts_at >= :since group by tenant_id
    ), queue as (
        select args ->> 'tenant_id' as tenant_id, count(*) as waiting_jobs from procrastinate_jobs
        where status = 'todo' and args ->> 'tenant_id' <> '' group by 1
    ), throttle as (
        select tenant_id, percent, reason, expires_at from tenant_throttle
        where ended_at is null and expires_at > now()
    ), numbers as (
        select tenant_id, coalesce(database_seconds, 0) as database_seconds, coalesce(requests, 0) as requests,
            coalesce(events, 0) as events, coalesce(jobs, 0) as jobs, coalesce(refused, 0) as refused,
            coalesce(waiting_jobs, 0) as waiting_jobs, percent, coalesce(reason, '') as reason, expires_at
        from load full join queue using (tenant_id) full join throttle using (tenant_id)
        order by percent is null, {order} desc, tenant_id limit :limit
    )
    select numbers.tenant_id, coalesce(tenant.name, numbers.tenant_id), database_seconds, requests, events, jobs, refused,
        waiting_jobs, percent, reason, expires_at
    from numbers left join tenant on tenant.id = numbers.tenant_id order by {order} desc, numbers.tenant_id
"""
ORDERS = {
    NoisyOrder.DATABASE: "database_seconds",
    NoisyOrder.REQUESTS: "requests + events",
    NoisyOrder.WAITING: "waiting_jobs",
    NoisyOrder.REFUSED: "refused",
}
STATEMENTS = {order: text(LIST_NOISY.replace("{order}", column)) for order, column in ORDERS.items()}


async def list_noisy(
    session: AsyncSession, since: datetime, order: NoisyOrder, *, limit: int
) -> Sequence[NoisyTenant]:
    """Across tenants, those with the largest number first. Throttled tenants are always in it, so that each can be freed."""
    connection = await session.connection()
    rows = await connection.execute(STATEMENTS[order], {"since": since, "limit": limit})
    return [NoisyTenant(*row) for row in rows.all()]


async def lock_open_throttle(ctx: Ctx) -> ThrottleRow | None:
    """The one that was not ended; it may be over by its time."""
    query = select(ThrottleRow).where(col(ThrottleRow.ended_at).is_(None)).with_for_update(key_share=True)
    return (await ctx.session.exec(query)).one_or_none()
