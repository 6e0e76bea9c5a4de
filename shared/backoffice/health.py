"""The health of the platform for operators: traffic, refusals, webhooks, jobs, usage warnings, operators' actions, alerts.

Read from numbers that were counted beforehand. Naming tenants is a read across tenants, which the operator audit log
records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import tenant_directory_repository, webhook_inbox, webhook_inbox_repository
from shared.backoffice.alerts import alert_repository as repository
from shared.backoffice.alerts import cohorts, evaluation
from shared.backoffice.alerts.alert_catalog import ALERTS, SubjectKind
from shared.backoffice.alerts.alert_repository import LaneStatus
from shared.backoffice.alerts.cohorts import Traffic
from shared.backoffice.alerts.conditions import LATE_S
from shared.backoffice.tenant_directory import OVERVIEW_REASON
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.traffic import OTHER, Dimension, Tally
from shared.entitlements import rights_cache
from shared.jobs.lanes import Lane
from shared.monitoring.models import AlertState
from shared.tenancy import entry

READ_REASON = "Health of the platform"  # the stated reason where the page itself is the reason
SHOWN_PERIOD = timedelta(hours=1)
LONG_PERIOD = timedelta(hours=24)  # of refusals, usage warnings and operators' actions
SHOWN_TENANTS = 10
DAILY_DIMENSIONS = (Dimension.REASON, Dimension.LIMIT)
SUBSCRIPTION_REASON = "Own mail about alerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortTraffic:
    """`value`: kind, id of a tenant, key of a plan or flag. `name`: for people. `is_failing`: an alert would fire."""

    value: str
    name: str
    requests: int
    errors: int
    p95_ms: int | None
    is_failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringAlert:
    """`subject_name`: "" for the platform. `tenant_id`: of a tenant that it is about."""

    name: str
    subject_name: str
    tenant_id: str
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookLag:
    """Seconds; 0 where nothing waits."""

    inbound_s: float
    inbound_p95_s: float | None  # of the last hour, from arrival to done
    inbound_failed: int
    outbound_s: float
    late_endpoints: int
    paused_endpoints: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthOverview:
    at: datetime
    alerts: Sequence[FiringAlert]
    minutes: Sequence[tuple[datetime, int, int]]  # minute, requests, errors
    total: CohortTraffic
    kinds: Sequence[CohortTraffic]
    tenants: Sequence[CohortTraffic]  # those that fail, then the busiest
    plans: Sequence[CohortTraffic]
    flags: Sequence[CohortTraffic]  # tenants that have the flag
    refusals: Sequence[tuple[str, int]]  # by reason
    usage_warnings: Sequence[tuple[str, str, int]]  # id and name of the tenant, decisions that met a limit
    webhooks: WebhookLag
    lanes: Sequence[LaneStatus]
    operator_actions: Sequence[tuple[str, int]]  # by event type
    is_subscribed: bool


async def get_health(octx: OperatorCtx) -> HealthOverview:
    """Of the last hour."""
    policy.require_operator(octx, actions.OP_HEALTH_READ)
    at = now()
    async with entry.read_across_tenants(octx, READ_REASON) as session:
        traffic = await repository.sum_traffic(session, at - SHOWN_PERIOD, at)
        day = await repository.sum_traffic(session, at - LONG_PERIOD, at, DAILY_DIMENSIONS)
        states = [state for state in await evaluation.list_recent(session, at) if state.ended_at is None]
        lanes = {lane.lane: lane for lane in await repository.list_lanes(session)}
        late_endpoints = await repository.count_late_endpoints(session, at - timedelta(seconds=LATE_S))
        inbox_counts = await webhook_inbox.count_by_status(session)
        catalog = await rights_cache.get_catalog(session)
        names = await tenant_directory_repository.list_tenant_names(
            session, sorted(_list_tenant_ids(traffic, day, states))
        )
        webhooks = WebhookLag(
            inbound_s=await webhook_inbox_repository.get_oldest_wait_s(session),
            inbound_p95_s=await webhook_inbox_repository.get_p95_s(session),
            inbound_failed=inbox_counts.get("dead", 0),
            outbound_s=await repository.get_outbox_wait_s(session, at),
            late_endpoints=sum(late_endpoints.values()),
            paused_endpoints=sum((await repository.count_failed_endpoints(session)).values()),
        )
        minutes = await repository.list_minutes(session, at - SHOWN_PERIOD)
        operator_actions = await repository.count_operator_actions(session, at - LONG_PERIOD)
    plan_names = {plan.key: plan.name for plan in catalog.plans.values()}
    return HealthOverview(
        at=at,
        alerts=[_describe_state(state, names) for state in states],
        minutes=minutes,
        total=_describe_cohort("", "", cohorts.get_total(traffic)),
        kinds=_list_cohorts(traffic, Dimension.KIND, {}),
        tenants=_list_cohorts(traffic, Dimension.TENANT, names)[:SHOWN_TENANTS],
        plans=_list_cohorts(traffic, Dimension.PLAN, plan_names),
        flags=_list_cohorts(traffic, Dimension.FLAG, {}),
        refusals=_count_by_value(day, Dimension.REASON),
        usage_warnings=[
            (tenant_id, names.get(tenant_id, tenant_id), count)
            for tenant_id, count in _count_by_value(day, Dimension.LIMIT)
        ],
        webhooks=webhooks,
        lanes=[lanes.get(lane.value) or _describe_idle_lane(lane) for lane in Lane],
        operator_actions=operator_actions,
        is_subscribed=await repository.is_subscribed(octx.session, octx.actor_id),
    )


async def list_firing_alerts(octx: OperatorCtx) -> Sequence[FiringAlert]:
    """For the overview. The newest first."""
    policy.require_operator(octx, actions.OP_HOME_READ)
    async with entry.read_across_tenants(octx, OVERVIEW_REASON) as session:
        states = await evaluation.list_recent(session, now())
        firing = [state for state in states if state.ended_at is None]
        names = await tenant_directory_repository.list_tenant_names(
            session, sorted(_list_tenant_ids({}, {}, firing))
        )
    return [_describe_state(state, names) for state in firing]


async def subscribe(octx: OperatorCtx, *, is_on: bool) -> None:
    """Whether the operator gets a mail when an alert begins to fire. Recorded in the operator audit log."""
    policy.require_operator(octx, actions.OP_ALERT_SUBSCRIBE)
    if await repository.set_subscribed(octx.session, octx.actor_id, is_on=is_on):
        if is_on:
            audit_log.record_operator(octx, "alerts.subscribed", octx.actor_id, reason=SUBSCRIPTION_REASON)
        else:
            audit_log.record_operator(octx, "alerts.unsubscribed", octx.actor_id, reason=SUBSCRIPTION_REASON)


def _list_tenant_ids(traffic: Traffic, day: Traffic, states: Sequence[AlertState]) -> set[str]:
    ids = {value for dimension, value in traffic if dimension is Dimension.TENANT}
    ids |= {value for dimension, value in day if dimension is Dimension.LIMIT}
    return ids | {state.subject for state in states if _is_about_tenant(state)}


def _is_about_tenant(state: AlertState) -> bool:
    alert = ALERTS.get(state.name)
    return alert is not None and alert.subject is SubjectKind.TENANT and state.subject != ""


def _describe_state(state: AlertState, names: Mapping[str, str]) -> FiringAlert:
    return FiringAlert(
        name=state.name,
        subject_name=names.get(state.subject, state.subject),
        tenant_id=state.subject if _is_about_tenant(state) else "",
        detail=state.detail,
        since=state.since,
    )


def _list_cohorts(
    traffic: Traffic, dimension: Dimension, names: Mapping[str, str]
) -> Sequence[CohortTraffic]:
    """Those that fail first, then those with most errors, then the busiest."""
    failing = {cohort.value for cohort in cohorts.find_failing(traffic, dimension)}
    rows = [
        _describe_cohort(value, names.get(value, value), tally, is_failing=value in failing)
        for (kind, value), tally in traffic.items()
        if kind is dimension and value != OTHER
    ]
    return sorted(rows, key=lambda row: (not row.is_failing, -row.errors, -row.requests, row.value))


def _describe_cohort(value: str, name: str, tally: Tally, *, is_failing: bool = False) -> CohortTraffic:
    return CohortTraffic(
        value=value,
        name=name,
        requests=tally.requests,
        errors=tally.errors,
        p95_ms=cohorts.compute_p95_ms(tally),
        is_failing=is_failing,
    )


def _count_by_value(traffic: Traffic, dimension: Dimension) -> Sequence[tuple[str, int]]:
    """The most frequent first."""
    rows = [(value, tally.requests) for (kind, value), tally in traffic.items() if kind is dimension]
    return sorted(rows, key=lambda row: (-row[1], row[0]))[:20]


def _describe_idle_lane(lane: Lane) -> LaneStatus:
    return LaneStatus(lane=lane.value, waiting=0, running=0, failed=0, oldest_s=0.0)
