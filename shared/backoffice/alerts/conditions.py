"""The conditions of alerts. Each reads a few numbers and returns the subjects that it fires for; none for silence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice import tenant_directory_repository, webhook_inbox_repository
from shared.backoffice.alerts import alert_repository as repository
from shared.backoffice.alerts import cohorts
from shared.backoffice.alerts.alert_repository import LaneStatus
from shared.backoffice.alerts.cohorts import MIN_ERRORS, MIN_REQUESTS, Traffic
from shared.billing.inbound_webhooks import processing
from shared.core.traffic import OTHER, Dimension
from shared.jobs import queue_status

MAX_SUBJECTS = 50  # of one alert
SLOW_MS = 2_500
LATE_S = 300  # seconds that something due may wait
SILENT_S = 60  # seconds without a sign of life of any worker
SECURITY_PERIOD = timedelta(hours=1)
MANY_ATTEMPTS = 20  # of one hour


@dataclass(frozen=True, slots=True)
class Finding:
    """`subject`: "" for the platform; else the id of a tenant, or the key of a plan, flag, lane or account."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What several conditions judge, read once in a round."""

    session: AsyncSession
    at: datetime
    traffic: Traffic  # of the last minutes
    lanes: Sequence[LaneStatus]


async def check_error_rate(facts: Facts) -> Sequence[Finding]:
    total = cohorts.get_total(facts.traffic)
    share = cohorts.compute_error_share(total)
    if total.requests < MIN_REQUESTS or total.errors < MIN_ERRORS or share < cohorts.FAILING_SHARE:
        return ()
    return [Finding("", _describe_share(total.errors, total.requests))]


async def check_latency(facts: Facts) -> Sequence[Finding]:
    total = cohorts.get_total(facts.traffic)
    p95_ms = cohorts.compute_p95_ms(total)
    if total.requests < MIN_REQUESTS or p95_ms is None or p95_ms <= SLOW_MS:
        return ()
    return [Finding("", f"95 % of {total.requests:,} requests take up to {p95_ms / 1000:g} seconds.")]


async def check_tenant_errors(facts: Facts) -> Sequence[Finding]:
    return _find_failing(facts, Dimension.TENANT)


async def check_plan_errors(facts: Facts) -> Sequence[Finding]:
    return _find_failing(facts, Dimension.PLAN)


async def check_flag_errors(facts: Facts) -> Sequence[Finding]:
    return _find_failing(facts, Dimension.FLAG)


def _find_failing(facts: Facts, dimension: Dimension) -> Sequence[Finding]:
    return [
        Finding(
            cohort.value,
            f"{_describe_share(cohort.errors, cohort.requests)} Others: {cohort.others_share:.1%}.",
        )
        for cohort in cohorts.find_failing(facts.traffic, dimension)
    ]


def _describe_share(errors: int, requests: int) -> str:
    return f"{errors:,} of {requests:,} requests failed ({errors / requests:.1%})."


async def check_limits(facts: Facts) -> Sequence[Finding]:
    return [
        Finding(tenant_id, f"{tally.requests:,} decisions met a limit of its plan.")
        for (dimension, tenant_id), tally in sorted(facts.traffic.items())
        if dimension is Dimension.LIMIT and tenant_id != OTHER
    ]


async def check_failed_jobs(facts: Facts) -> Sequence[Finding]:
    return [Finding(lane.lane, f"{lane.failed:,} out of retries.") for lane in facts.lanes if lane.failed > 0]


async def check_late_jobs(facts: Facts) -> Sequence[Finding]:
    return [
        Finding(lane.lane, f"The oldest due job has waited {lane.oldest_s / 60:.0f} minutes.")
        for lane in facts.lanes
        if lane.oldest_s > LATE_S
    ]


async def check_workers(facts: Facts) -> Sequence[Finding]:
    age_s = await queue_status.get_heartbeat_age_s(facts.session)
    if age_s is not None and age_s <= SILENT_S:
        return ()
    if age_s is None and not any(lane.oldest_s > SILENT_S for lane in facts.lanes):
        return ()
    seen = "no worker is registered" if age_s is None else f"last seen {age_s / 60:.0f} minutes ago"
    return [Finding("", f"Jobs wait for a worker: {seen}.")]


async def check_late_webhooks(facts: Facts) -> Sequence[Finding]:
    wait_s = await webhook_inbox_repository.get_oldest_wait_s(facts.session)
    return [Finding("", f"The oldest has waited {wait_s / 60:.0f} minutes.")] if wait_s > LATE_S else ()


async def check_dead_webhooks(facts: Facts) -> Sequence[Finding]:
    failing_types = await webhook_inbox_repository.list_failing_types(facts.session, MAX_SUBJECTS)
    return [Finding(kind, f"{dead:,} out of retries.") for kind, dead, _ in failing_types if dead > 0]


async def check_accounts(facts: Facts) -> Sequence[Finding]:
    problems = await webhook_inbox_repository.list_account_problems(
        facts.session, processing.PROVIDER_DOWN_ERROR
    )
    texts = {
        "paused": "It is paused: {}.",
        "silent": "Stripe doesn’t answer.",
        "prices": "{} of its prices differ from ours.",
        "signatures": "Signatures of webhooks don’t match its secret.",
    }
    return [
        Finding(f"{problem.account_name}: {problem.kind}", texts[problem.kind].format(problem.detail))
        for problem in problems
    ]


async def check_late_deliveries(facts: Facts) -> Sequence[Finding]:
    findings = [
        Finding(tenant_id, f"{count:,} endpoints wait for their turn.")
        for tenant_id, count in (
            await repository.count_late_endpoints(facts.session, facts.at - timedelta(seconds=LATE_S))
        ).items()
    ]
    wait_s = await repository.get_outbox_wait_s(facts.session, facts.at)
    if wait_s > LATE_S:
        findings.insert(0, Finding("", f"The oldest event has waited {wait_s / 60:.0f} minutes."))
    return findings


async def check_paused_endpoints(facts: Facts) -> Sequence[Finding]:
    counts = await repository.count_failed_endpoints(facts.session)
    return [Finding(tenant_id, f"{count:,} paused after failures.") for tenant_id, count in counts.items()]


async def check_provisioning(facts: Facts) -> Sequence[Finding]:
    failed = await repository.list_failed_provisioning(facts.session, MAX_SUBJECTS)
    return [Finding(tenant_id, f"The step {step} failed.") for tenant_id, step in failed]


async def check_double_payments(facts: Facts) -> Sequence[Finding]:
    tenants = await tenant_directory_repository.list_paying_twice(facts.session, MAX_SUBJECTS)
    return [Finding(tenant.tenant_id, f"It pays for {tenant.extra + 1} subscriptions.") for tenant in tenants]


async def check_unbilled_usage(facts: Facts) -> Sequence[Finding]:
    rows = await tenant_directory_repository.list_unbilled_usage(facts.session, MAX_SUBJECTS)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.tenant_id] = counts.get(row.tenant_id, 0) + row.count
    return [Finding(tenant_id, f"{count:,} records can’t be billed.") for tenant_id, count in counts.items()]


async def check_billing(facts: Facts) -> Sequence[Finding]:
    return [Finding(*row) for row in await repository.list_billing_alerts(facts.session, MAX_SUBJECTS)]


async def check_audit_logs(facts: Facts) -> Sequence[Finding]:
    broken = await repository.list_broken_logs(facts.session, MAX_SUBJECTS)
    return [Finding(tenant_id, f"Its chain is broken: {problem}.") for tenant_id, problem in broken]


async def check_isolation(facts: Facts) -> Sequence[Finding]:
    counts = await tenant_directory_repository.count_security_events(
        facts.session, facts.at - SECURITY_PERIOD
    )
    missing = counts.get("missing_tenant_context", 0)
    return [Finding("", f"{missing:,} statements had no tenant. They were refused.")] if missing else ()


async def check_attempts(facts: Facts) -> Sequence[Finding]:
    counts = await tenant_directory_repository.count_security_events(
        facts.session, facts.at - SECURITY_PERIOD
    )
    return [
        Finding(kind, f"{count:,} in the last hour.")
        for kind, count in counts.items()
        if kind != "missing_tenant_context" and count >= MANY_ATTEMPTS
    ]
