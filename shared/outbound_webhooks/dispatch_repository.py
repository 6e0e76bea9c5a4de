"""SQL of the dispatcher. Functions of migration 0031 work across tenants; the rest is in one tenant's transaction.

Nothing here waits for a lock of an endpoint, because members and other tenants' deliveries would wait with it.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.models import EventOutbox
from shared.core import rows
from shared.core.context import Ctx
from shared.core.ids import new_id
from shared.outbound_webhooks.models import DeliveryStatus, WebhookDelivery, WebhookEndpoint

FAN_OUT = text("select fan_out_events_in_turns(:most, :tenants)")
CLAIM = text("""
    select tenant, endpoint, delivery, slow from claim_deliveries_in_turns(
        :claim, :most, :most_slow, :places, :per_tenant, :per_endpoint, :per_slow, :batch, :slow_ms, :lease,
        cast(:by_tenant as jsonb), cast(:by_endpoint as jsonb))
""")
NEXT_OLD = text("select next_tenant_with_old_events(:before, :former)")
DELETE_OLD = text("select delete_old_events_of_tenant(:tenant, :before, :most)")
LOCK_ENDPOINTS = text("""
    select id from webhook_endpoint where tenant_id = :tenant_id and id = any(:ids) order by id
    for no key update skip locked
""")
# Only what is claimed as it was: after the claim has lapsed, another dispatcher may be sending it.
FINISH = text("""
    with own as (
        select tenant_id, id, claim from webhook_delivery
        where tenant_id = :tenant_id and id = any(cast(:ids as text[])) and status = 'pending'
    )
    update webhook_delivery d set status = r.status, due_at = coalesce(r.due_at, d.due_at), attempts = r.attempts,
        claim = '', done_at = case when r.status = 'pending' then null else clock_timestamp() end,
        last_status = r.http, last_problem = r.problem
    from unnest(cast(:ids as text[]), cast(:claims as text[]), cast(:statuses as text[]), cast(:due_at as timestamptz[]),
        cast(:attempts as int[]), cast(:http as int[]), cast(:problems as text[]))
        as r (id, claim, status, due_at, attempts, http, problem)
    join own o on o.id = r.id and o.claim = r.claim
    where d.tenant_id = o.tenant_id and d.id = o.id
""")
ADD_ATTEMPTS = text("""
    insert into webhook_attempt (tenant_id, id, delivery_id, number, at, duration_ms, request_headers, response_status,
        response_body, problem)
    select own.tenant_id, a.* from unnest(cast(:attempt_ids as text[]), cast(:ids as text[]), cast(:attempts as int[]),
        cast(:times as timestamptz[]), cast(:durations as int[]), cast(:headers as jsonb[]), cast(:http as int[]),
        cast(:bodies as text[]), cast(:problems as text[])) as a (id, delivery_id)
    join (select tenant_id, id from webhook_delivery where tenant_id = :tenant_id) own on own.id = a.delivery_id
""")
# The next one of each object that has none under way now.
RELEASE_WAITING = text("""
    update webhook_delivery d set status = 'pending', due_at = clock_timestamp()
    from (
        select first.tenant_id, first.id
        from unnest(cast(:endpoints as text[]), cast(:keys as text[])) k(endpoint_id, ordering_key)
        join (select tenant_id, id from webhook_endpoint where tenant_id = :tenant_id) e on e.id = k.endpoint_id
        cross join lateral (
            select w.tenant_id, w.id from webhook_delivery w
            where w.tenant_id = e.tenant_id and w.endpoint_id = e.id and w.ordering_key = k.ordering_key
                and w.status = 'waiting' order by w.seq limit 1
        ) first
        where not exists (
            select from webhook_delivery p where p.tenant_id = e.tenant_id and p.endpoint_id = e.id
                and p.ordering_key = k.ordering_key and p.ordering_key <> '' and p.status = 'pending')
    ) next
    where d.tenant_id = next.tenant_id and d.id = next.id
""")
NOTE_RESULTS = text("""
    update webhook_endpoint e set
        failure_count = case when r.has_success then 0 else e.failure_count + r.failures end,
        failing_since = case when r.has_success then null else coalesce(e.failing_since, r.at) end,
        last_attempt_at = r.at, last_result = case when r.is_delivered then 'delivered' else 'failed' end,
        last_status = r.http, last_problem = r.problem,
        response_ms = case when e.last_attempt_at is null then r.duration else (e.response_ms * 3 + r.duration) / 4 end,
        turn_at = least(e.turn_at, (
            select p.due_at from webhook_delivery p where p.tenant_id = e.tenant_id and p.endpoint_id = e.id
                and p.status = 'pending' order by p.due_at limit 1))
    from unnest(cast(:endpoints as text[]), cast(:successes as bool[]), cast(:failures as int[]),
        cast(:times as timestamptz[]), cast(:http as int[]), cast(:problems as text[]), cast(:delivered as bool[]),
        cast(:durations as int[])) as r (id, has_success, failures, at, http, problem, is_delivered, duration)
    join (select tenant_id, id from webhook_endpoint where tenant_id = :tenant_id) own on own.id = r.id
    where e.tenant_id = own.tenant_id and e.id = own.id
""")
# Not an attempt: it is claimed again soon, and nothing else about it changes.
POSTPONE = text("""
    with own as (
        select tenant_id, id, claim from webhook_delivery
        where tenant_id = :tenant_id and id = any(cast(:ids as text[])) and status = 'pending'
    )
    update webhook_delivery d set due_at = r.due_at, claim = ''
    from unnest(cast(:ids as text[]), cast(:claims as text[]), cast(:due_at as timestamptz[])) as r (id, claim, due_at)
    join own o on o.id = r.id and o.claim = r.claim
    where d.tenant_id = o.tenant_id and d.id = o.id
""")
BRING_FORWARD = text("""
    update webhook_endpoint e set turn_at = least(e.turn_at, (
        select p.due_at from webhook_delivery p where p.tenant_id = e.tenant_id and p.endpoint_id = e.id
            and p.status = 'pending' order by p.due_at limit 1))
    from (select tenant_id, id from webhook_endpoint where tenant_id = :tenant_id and id = any(:endpoints)) own
    where e.tenant_id = own.tenant_id and e.id = own.id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """`is_slow`: its endpoint answers late."""

    tenant_id: str
    endpoint_id: str
    delivery_id: str
    is_slow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Deliveries that a claim may take: `count` in all, and `slow` of slow endpoints.

    Each tenant has a share of `places`, at most `per_tenant`, and `batch` at least of endpoints that aren't slow. An endpoint is slow from `slow_ms` milliseconds on.
    """

    count: int
    slow: int
    places: int
    per_tenant: int
    per_endpoint: int
    per_slow_endpoint: int
    batch: int
    slow_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """One attempt and what follows from it. `due_at`: of the next attempt, None where there is none.

    `is_postponed`: nothing was tried, and `due_at` is when it is claimed again.
    """

    delivery_id: str
    endpoint_id: str
    ordering_key: str
    claim_id: str
    number: int
    at: datetime
    waited_ms: int  # how long it held a place
    duration_ms: int  # as members see it
    request_headers: Mapping[str, str]
    response_status: int
    response_body: str
    problem: str
    status: DeliveryStatus
    due_at: datetime | None
    is_postponed: bool = False

    @property
    def is_delivered(self) -> bool:
        return self.status is DeliveryStatus.DELIVERED


async def fan_out_events(session: AsyncSession, max_events: int, *, max_tenants: int) -> int:
    """Make the deliveries of events that have none yet, of tenants in turns. Returns the number of events.

    Needs the app's role, in a transaction without a tenant. Does nothing while another dispatcher does it, and leaves the
    events of a tenant for the next call while one of its endpoints is locked.
    """
    connection = await session.connection()
    values = {"most": max_events, "tenants": max_tenants}
    return int((await connection.execute(FAN_OUT, values)).scalar_one())


async def claim_deliveries(
    session: AsyncSession,
    claim_id: str,
    *,
    room: Room,
    lease: timedelta,
    by_tenant: Mapping[str, int],
    by_endpoint: Mapping[str, int],
) -> list[ClaimedDelivery]:
    """Claim due deliveries of all tenants in turns. `by_tenant`, `by_endpoint`: how many the caller sends now.

    Needs the app's role, in a transaction without a tenant.
    """
    connection = await session.connection()
    values = {
        "claim": claim_id,
        "most": room.count,
        "most_slow": room.slow,
        "places": room.places,
        "per_tenant": room.per_tenant,
        "per_endpoint": room.per_endpoint,
        "per_slow": room.per_slow_endpoint,
        "batch": room.batch,
        "slow_ms": room.slow_ms,
        "lease": lease,
        "by_tenant": json.dumps(dict(by_tenant)),
        "by_endpoint": json.dumps(dict(by_endpoint)),
    }
    return [
        ClaimedDelivery(tenant_id=row[0], endpoint_id=row[1], delivery_id=row[2], is_slow=row[3])
        for row in (await connection.execute(CLAIM, values)).all()
    ]


async def find_tenant_with_old_events(session: AsyncSession, before: datetime, former_id: str) -> str | None:
    """The next one by id after this one; None after the last one."""
    connection = await session.connection()
    values = {"before": before, "former": former_id}
    tenant_id: str | None = (await connection.execute(NEXT_OLD, values)).scalar_one()
    return tenant_id


async def delete_old_events(session: AsyncSession, tenant_id: str, before: datetime, *, limit: int) -> int:
    """The oldest events of this tenant with their deliveries and attempts. Returns the number of events.

    Nothing while one of its endpoints is locked. Needs the app's role, in a transaction without a tenant.
    """
    connection = await session.connection()
    values = {"tenant": tenant_id, "before": before, "most": limit}
    return int((await connection.execute(DELETE_OLD, values)).scalar_one())


async def load_claimed(
    ctx: Ctx, delivery_ids: Sequence[str], claim_id: str
) -> Sequence[tuple[WebhookDelivery, WebhookEndpoint, EventOutbox]]:
    """Those of these that are still claimed by this claim."""
    statement = (
        select(WebhookDelivery, WebhookEndpoint, EventOutbox)
        .join(
            WebhookEndpoint,
            and_(
                col(WebhookEndpoint.tenant_id) == WebhookDelivery.tenant_id,
                col(WebhookEndpoint.id) == WebhookDelivery.endpoint_id,
            ),
        )
        .join(
            EventOutbox,
            and_(
                col(EventOutbox.tenant_id) == WebhookDelivery.tenant_id,
                col(EventOutbox.id) == WebhookDelivery.event_id,
            ),
        )
        .where(WebhookDelivery.tenant_id == ctx.tenant_id)
        .where(col(WebhookDelivery.id).in_(delivery_ids))
        .where(WebhookDelivery.claim == claim_id)
        .where(col(WebhookDelivery.status) == DeliveryStatus.PENDING)
    )
    return await rows.all(ctx, statement)


async def lock_endpoints(ctx: Ctx, endpoint_ids: Collection[str]) -> set[str]:
    """Lock those of them that are free, until the transaction ends. Returns their ids."""
    connection = await ctx.session.connection()
    values = {"tenant_id": ctx.tenant_id, "ids": sorted(endpoint_ids)}
    return set((await connection.execute(LOCK_ENDPOINTS, values)).scalars())


async def postpone(ctx: Ctx, results: Sequence[AttemptResult]) -> None:
    """Put deliveries that were not tried back into the queue. The caller holds the locks of their endpoints."""
    connection = await ctx.session.connection()
    await connection.execute(POSTPONE, _build_columns(ctx, results))
    endpoint_ids = sorted({result.endpoint_id for result in results})
    await connection.execute(BRING_FORWARD, {"tenant_id": ctx.tenant_id, "endpoints": endpoint_ids})


async def record_results(ctx: Ctx, results: Sequence[AttemptResult]) -> None:
    """Write what became of attempts, let the next deliveries of their objects go, and note it at the endpoints.

    The caller holds the locks of the endpoints. A result whose claim has lapsed leaves its delivery as it is; the attempt is
    recorded.
    """
    connection = await ctx.session.connection()
    by_endpoint: dict[str, list[AttemptResult]] = {}
    for result in results:
        by_endpoint.setdefault(result.endpoint_id, []).append(result)
    endpoint_ids = sorted(by_endpoint)
    columns = _build_columns(ctx, results)
    await connection.execute(FINISH, columns)
    await connection.execute(ADD_ATTEMPTS, columns)
    ended_lines = {
        (result.endpoint_id, result.ordering_key)
        for result in results
        if result.ordering_key and result.due_at is None
    }
    if ended_lines:
        endpoints, keys = zip(*sorted(ended_lines), strict=True)
        values = {"tenant_id": ctx.tenant_id, "endpoints": list(endpoints), "keys": list(keys)}
        await connection.execute(RELEASE_WAITING, values)
    latest = [by_endpoint[endpoint_id][-1] for endpoint_id in endpoint_ids]
    await connection.execute(
        NOTE_RESULTS,
        {
            "tenant_id": ctx.tenant_id,
            "endpoints": endpoint_ids,
            "successes": [any(each.is_delivered for each in by_endpoint[key]) for key in endpoint_ids],
            "failures": [sum(not each.is_delivered for each in by_endpoint[key]) for key in endpoint_ids],
            "times": [result.at for result in latest],
            "http": [result.response_status for result in latest],
            "problems": [result.problem for result in latest],
            "delivered": [result.is_delivered for result in latest],
            "durations": [max(each.waited_ms for each in by_endpoint[key]) for key in endpoint_ids],
        },
    )


def _build_columns(ctx: Ctx, results: Sequence[AttemptResult]) -> dict[str, Any]:
    return {
        "tenant_id": ctx.tenant_id,
        "attempt_ids": [new_id("wha") for _ in results],
        "ids": [result.delivery_id for result in results],
        "claims": [result.claim_id for result in results],
        "statuses": [result.status.value for result in results],
        "due_at": [result.due_at for result in results],
        "attempts": [result.number for result in results],
        "http": [result.response_status for result in results],
        "problems": [result.problem for result in results],
        "times": [result.at for result in results],
        "durations": [result.duration_ms for result in results],
        "headers": [json.dumps(dict(result.request_headers)) for result in results],
        "bodies": [result.response_body for result in results],
    }
