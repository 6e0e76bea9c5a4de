"""SQL of alerts and of the traffic that they judge. It reads across tenants, in a transaction with a reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, text
from sqlalchemy import select as columns
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.models import AuditVerification, EventOutbox, OperatorEvent, VerificationState
from shared.billing.models import BillingSnapshot
from shared.core.traffic import Dimension, Tally
from shared.identity.models import Operator
from shared.monitoring.models import AlertState, AlertSubscription, TrafficMinute
from shared.outbound_webhooks.models import EndpointState, PauseReason, WebhookEndpoint
from shared.tenancy.models import ProvisioningStep, StepState, Tenant, TenantState

# One at a time in all processes of the admin app; the others skip the round.
TAKE_TURN = text("select pg_try_advisory_xact_lock(hashtextextended('alerts', 0))")
SUM_TRAFFIC = text("""
    with counted as (
        select dimension, value, requests, errors, total_ms, latency from traffic_minute
        where minute >= :since and minute < :until and dimension = any(cast(:dimensions as text[]))
    ), buckets as (
        select dimension, value, place, sum(bucket)::bigint as number
        from counted, unnest(latency) with ordinality as each_bucket(bucket, place) group by dimension, value, place
    ), latencies as (
        select dimension, value, array_agg(number order by place) as latency from buckets group by dimension, value
    )
    select dimension, value, sum(requests)::bigint, sum(errors)::bigint, sum(total_ms)::bigint, latencies.latency
    from counted join latencies using (dimension, value) group by dimension, value, latencies.latency
    order by dimension, value
""")
LIST_LANES = text("""
    select queue_name, count(*) filter (where status = 'todo'), count(*) filter (where status = 'doing'),
        count(*) filter (where status in ('failed', 'aborted')),
        coalesce(extract(epoch from now() - min(coalesce(j.scheduled_at, queued.at)) filter (
            where status = 'todo' and coalesce(j.scheduled_at, queued.at) <= now())), 0)::float8
    from procrastinate_jobs j
    left join lateral (
        select min(e.at) as at from procrastinate_events e where e.job_id = j.id and j.status = 'todo'
    ) queued on true
    where status in ('todo', 'doing', 'failed', 'aborted')
    group by queue_name order by queue_name
""")
RECORD_FIRING = text("""
    insert into alert_state as kept (name, subject, detail, since, seen_at)
    select name, subject, detail, :at, :at
    from unnest(cast(:names as text[]), cast(:subjects as text[]), cast(:details as text[])) as found(name, subject, detail)
    order by name, subject
    on conflict (name, subject) do update set detail = excluded.detail, seen_at = excluded.seen_at, ended_at = null,
        since = case when kept.ended_at is null then kept.since else excluded.since end
""")
END_OTHERS = text("""
    update alert_state set ended_at = :at where ended_at is null and seen_at < :at
""")
DELETE_OLD = text("delete from alert_state where ended_at < :before")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """`oldest_s`: seconds that the oldest due job has waited; 0 without one."""

    lane: str  # stored name of the queue
    waiting: int
    running: int
    failed: int
    oldest_s: float


async def _fetch_all(session: AsyncSession, statement: Any, **values: Any) -> Sequence[Any]:
    connection = await session.connection()
    return (await connection.execute(statement, values)).all()


async def take_turn(session: AsyncSession) -> bool:
    return bool((await _fetch_all(session, TAKE_TURN))[0][0])


async def sum_traffic(
    session: AsyncSession,
    since: datetime,
    until: datetime,
    dimensions: Sequence[Dimension] = tuple(Dimension),
) -> dict[tuple[Dimension, str], Tally]:
    """By dimension and value. `until`: not included."""
    names = [dimension.value for dimension in dimensions]
    rows = await _fetch_all(session, SUM_TRAFFIC, since=since, until=until, dimensions=names)
    return {
        (Dimension(dimension), value): Tally(requests, errors, total_ms, list(latency))
        for dimension, value, requests, errors, total_ms, latency in rows
    }


async def list_minutes(session: AsyncSession, since: datetime) -> Sequence[tuple[datetime, int, int]]:
    """Minute, requests and errors of all traffic, the oldest first."""
    statement = (
        select(TrafficMinute.minute, TrafficMinute.requests, TrafficMinute.errors)
        .where(TrafficMinute.dimension == Dimension.ALL, col(TrafficMinute.minute) >= since)
        .order_by(col(TrafficMinute.minute))
    )
    return [(row[0], row[1], row[2]) for row in (await session.exec(statement)).all()]


async def list_lanes(session: AsyncSession) -> Sequence[LaneStatus]:
    return [
        LaneStatus(lane=lane, waiting=waiting, running=running, failed=failed, oldest_s=oldest_s)
        for lane, waiting, running, failed, oldest_s in await _fetch_all(session, LIST_LANES)
    ]


async def get_outbox_wait_s(session: AsyncSession, at: datetime) -> float:
    """Seconds that the oldest public event waits for its deliveries; 0 without one."""
    statement = select(func.min(EventOutbox.created_at)).where(col(EventOutbox.fanned_out_at).is_(None))
    oldest = (await session.exec(statement)).one()
    return max(0.0, (at - oldest).total_seconds()) if oldest else 0.0


async def count_late_endpoints(session: AsyncSession, before: datetime) -> dict[str, int]:
    """By tenant: endpoints whose turn to be sent something came before that time."""
    return await _count_endpoints(
        session, WebhookEndpoint.state == EndpointState.ACTIVE, col(WebhookEndpoint.turn_at) < before
    )


async def count_failed_endpoints(session: AsyncSession) -> dict[str, int]:
    """By tenant: endpoints that we paused, because they took nothing."""
    failed = col(WebhookEndpoint.pause_reason).in_([PauseReason.FAILURES, PauseReason.GONE])
    return await _count_endpoints(session, WebhookEndpoint.state == EndpointState.PAUSED, failed)


async def _count_endpoints(session: AsyncSession, *conditions: Any) -> dict[str, int]:
    tenant = col(WebhookEndpoint.tenant_id)
    statement = (
        columns(tenant, func.count())
        .where(col(WebhookEndpoint.deleted_at).is_(None), *conditions)
        .group_by(tenant)
        .order_by(tenant)
    )
    return {tenant_id: int(count) for tenant_id, count in await _fetch_all(session, statement)}


async def list_broken_logs(session: AsyncSession, limit: int) -> Sequence[tuple[str, str]]:
    """Tenants whose audit log was found broken, and what was found."""
    statement = (
        select(AuditVerification.tenant_id, AuditVerification.problem)
        .where(AuditVerification.state == VerificationState.BROKEN)
        .order_by(col(AuditVerification.tenant_id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in (await session.exec(statement)).all()]


async def list_failed_provisioning(session: AsyncSession, limit: int) -> Sequence[tuple[str, str]]:
    """Tenants with a step that failed, and its key."""
    statement = (
        select(ProvisioningStep.tenant_id, func.min(ProvisioningStep.key))
        .join(Tenant, col(Tenant.id) == col(ProvisioningStep.tenant_id))
        .where(ProvisioningStep.state == StepState.FAILED, Tenant.state != TenantState.DELETED)
        .group_by(col(ProvisioningStep.tenant_id))
        .order_by(col(ProvisioningStep.tenant_id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in (await session.exec(statement)).all()]


async def list_billing_alerts(session: AsyncSession, limit: int) -> Sequence[tuple[str, str]]:
    """Tenants whose billing needs a review, and why."""
    statement = (
        select(BillingSnapshot.tenant_id, BillingSnapshot.alert)
        .where(BillingSnapshot.alert != "")
        .order_by(col(BillingSnapshot.tenant_id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in (await session.exec(statement)).all()]


async def count_operator_actions(session: AsyncSession, since: datetime) -> Sequence[tuple[str, int]]:
    """By event type, the most frequent first."""
    count = func.count()
    statement = (
        columns(col(OperatorEvent.action), count)
        .where(col(OperatorEvent.at) >= since)
        .group_by(col(OperatorEvent.action))
        .order_by(count.desc(), col(OperatorEvent.action))
        .limit(20)
    )
    return [(action, int(number)) for action, number in await _fetch_all(session, statement)]


async def list_states(session: AsyncSession, *, ended_since: datetime) -> Sequence[AlertState]:
    """Those that fire, and those that ended since then. The newest first."""
    statement = (
        select(AlertState)
        .where((col(AlertState.ended_at).is_(None)) | (col(AlertState.ended_at) >= ended_since))
        .order_by(col(AlertState.since).desc(), col(AlertState.name), col(AlertState.subject))
        .limit(500)
    )
    return (await session.exec(statement)).all()


async def record_states(
    session: AsyncSession, findings: Sequence[tuple[str, str, str]], at: datetime, *, delete_before: datetime
) -> None:
    """`findings`: name, subject and detail of all that fire now. The others have ended."""
    names, subjects, details = (
        [finding[0] for finding in findings],
        [finding[1] for finding in findings],
        [finding[2] for finding in findings],
    )
    connection = await session.connection()
    values: Mapping[str, Any] = {"names": names, "subjects": subjects, "details": details, "at": at}
    await connection.execute(RECORD_FIRING, values)
    await connection.execute(END_OTHERS, {"at": at})
    await connection.execute(DELETE_OLD, {"before": delete_before})


async def list_subscribers(session: AsyncSession) -> Sequence[Operator]:
    statement = (
        select(Operator)
        .join(AlertSubscription, col(AlertSubscription.operator_id) == col(Operator.id))
        .where(col(Operator.disabled_at).is_(None))
        .order_by(col(Operator.id))
    )
    return (await session.exec(statement)).all()


async def is_subscribed(session: AsyncSession, operator_id: str) -> bool:
    return await session.get(AlertSubscription, operator_id) is not None


async def set_subscribed(session: AsyncSession, operator_id: str, *, is_on: bool) -> bool:
    """Returns whether that changed anything."""
    subscription = await session.get(AlertSubscription, operator_id)
    if is_on == (subscription is not None):
        return False
    if subscription is None:
        session.add(AlertSubscription(operator_id=operator_id))
    else:
        await session.delete(subscription)
    await session.flush()
    return True
