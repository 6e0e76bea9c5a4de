"""Rows of the health page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from admin_app import labels
from shared.audit.event_types import OperatorAuditAction
from shared.backoffice.alerts.alert_catalog import ALERTS, Severity
from shared.backoffice.health import CohortTraffic, FiringAlert, LaneStatus
from shared.jobs.lanes import Lane
from shared.ui.charts import BarChart, draw_bars

KIND_TITLES = {
    "page": "Pages and forms",
    "event": "Events of open pages",
    "api": "API",
    "webhook": "Payment webhooks",
    "job": "Jobs",
}
LANE_TITLES = {
    Lane.WORK: "Our own work",
    Lane.MAIL: "Mail",
    Lane.PROVIDER: "Payment provider",
    Lane.FILES: "Files",
    Lane.BULK: "Bulk work",
}


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    name: str
    title: str
    subject: str
    href: str  # of the tenant or the flag that it is about, "" for none
    detail: str
    owner: str
    urgency: str
    tone: str
    since: str


@dataclass(frozen=True, kw_only=True)
class CohortRow:
    name: str
    href: str
    requests: str
    errors: str
    latency: str
    state: str
    tone: str


@dataclass(frozen=True, kw_only=True)
class LaneRow:
    title: str
    waiting: str
    running: str
    failed: str
    oldest: str
    is_failing: bool


@dataclass(frozen=True, kw_only=True)
class CountRow:
    title: str
    count: str
    href: str = ""


def alert_row(alert: FiringAlert) -> AlertRow:
    declared = ALERTS[alert.name]
    href = f"/tenants/{alert.tenant_id}" if alert.tenant_id else ""
    if declared.subject == "flag":
        href = f"/flags/{alert.subject_name}"
    is_urgent = declared.severity is Severity.PAGE
    return AlertRow(
        name=alert.name,
        title=declared.title,
        subject=alert.subject_name,
        href=href,
        detail=alert.detail,
        owner=declared.owner.capitalize(),
        urgency="Now" if is_urgent else "Today",
        tone="bad" if is_urgent else "warn",
        since=alert.since.isoformat(),
    )


def cohort_row(cohort: CohortTraffic, *, href: str = "", name: str = "") -> CohortRow:
    share = cohort.errors / cohort.requests if cohort.requests else 0.0
    return CohortRow(
        name=name or cohort.name,
        href=href,
        requests=f"{cohort.requests:,}",
        errors=f"{cohort.errors:,} ({share:.1%})" if cohort.errors else "0",
        latency=describe_ms(cohort.p95_ms),
        state="Failing" if cohort.is_failing else "",
        tone="bad" if cohort.is_failing else "",
    )


def lane_row(lane: LaneStatus) -> LaneRow:
    return LaneRow(
        title=LANE_TITLES.get(Lane(lane.lane), lane.lane) if lane.lane in list(Lane) else lane.lane,
        waiting=f"{lane.waiting:,}",
        running=f"{lane.running:,}",
        failed=f"{lane.failed:,}",
        oldest=describe_wait(lane.oldest_s),
        is_failing=lane.failed > 0,
    )


def reason_row(reason: str, count: int) -> CountRow:
    return CountRow(title=reason.replace("_", " ").capitalize(), count=f"{count:,}")


def action_row(event_type: str, count: int) -> CountRow:
    is_known = event_type in list(OperatorAuditAction)
    text = labels.OPERATOR_AUDIT_TEXTS[OperatorAuditAction(event_type)].text if is_known else event_type
    return CountRow(title=text[:1].upper() + text[1:], count=f"{count:,}")


def describe_ms(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "–"
    return f"≤ {milliseconds} ms" if milliseconds < 1_000 else f"≤ {milliseconds / 1000:g} s"


def describe_inbound(p95_s: float | None, failed: int) -> str:
    """How long webhooks of the last hour took. `p95_s`: None where none came."""
    took = "None came in the last hour" if p95_s is None else f"95 % done within {p95_s:,.1f} s"
    return f"{took}, {failed:,} failed"


def describe_wait(seconds: float) -> str:
    if seconds < 1:
        return "Nothing waits"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"


def traffic_chart(minutes: Sequence[tuple[datetime, int, int]], last_minute: datetime) -> BarChart:
    """Requests of each minute of the last hour; each bar says how many failed."""
    counts = {at: (requests, errors) for at, requests, errors in minutes}
    times = [last_minute - timedelta(minutes=ago) for ago in reversed(range(60))]
    minutes = [(at, *counts.get(at, (0, 0))) for at in times]
    labels_shown = [f"{at:%H:%M}" if at.minute % 15 == 0 else "" for at, _, _ in minutes]
    tips = [f"{at:%H:%M} UTC: {requests:,} requests, {errors:,} failed" for at, requests, errors in minutes]
    total, failed = sum(row[1] for row in minutes), sum(row[2] for row in minutes)
    return draw_bars(
        [requests for _, requests, _ in minutes],
        labels_shown,
        tips,
        f"Requests of each minute of the last hour: {total:,} in all, {failed:,} failed.",
    )
