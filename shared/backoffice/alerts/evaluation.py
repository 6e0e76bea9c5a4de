"""Evaluate all alerts once a minute: store which fire, show them as metrics, and mail those that are new."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice.alerts import alert_repository as repository
from shared.backoffice.alerts import conditions
from shared.backoffice.alerts.alert_catalog import ALERTS, Severity
from shared.backoffice.alerts.conditions import Facts, Finding
from shared.core import db, live_events, log, metric_catalog
from shared.core.db import now
from shared.core.ids import new_id
from shared.jobs import queue
from shared.monitoring.models import AlertState

READ_REASON = (
    "Alerts"  # of the transaction: the round reads numbers across tenants, and no person sees them here
)
INTERVAL_S = 60.0
JUDGED_PERIOD = timedelta(minutes=5)
MAIL_AGAIN_AFTER = timedelta(hours=1)  # since an alert ended that fires again
RETENTION = timedelta(days=30)
MAX_DETAIL_LENGTH = 300  # characters
MAIL_TASK = "platform.send_alert"
TOPIC = "alerts"  # of pages that show them


async def run() -> None:
    """A lifespan task of the admin app, whose role may read across tenants. One process evaluates in each round."""
    while True:
        await asyncio.sleep(INTERVAL_S)
        try:
            await evaluate_in_turn()
        except Exception as problem:  # the loop has to survive until the database is back
            log.get_logger(__name__).exception("alerts_not_evaluated", problem=type(problem).__name__)


async def evaluate_in_turn() -> bool:
    """One round. False where another process is at it."""
    async with db.transaction("operator", reason=READ_REASON) as session:
        if not await repository.take_turn(session):
            return False
        await evaluate_all(session, now())
    return True


async def evaluate_all(session: AsyncSession, at: datetime) -> Sequence[AlertState]:
    """Returns what fires now. A check that fails is logged, and its alerts stay as they were."""
    facts = await read_facts(session, at)
    before = {(state.name, state.subject): state for state in await list_recent(session, at)}
    findings: list[tuple[str, str, str]] = []
    for alert in ALERTS.values():
        try:
            async with session.begin_nested():
                alert_findings = list(await alert.check(facts))[: conditions.MAX_SUBJECTS]
        except Exception as problem:  # one broken check must not silence the others
            log.report_bug(problem, alert=alert.name)
            alert_findings = [
                Finding(state.subject, state.detail)
                for state in before.values()
                if state.name == alert.name and state.ended_at is None
            ]
        findings += [
            (alert.name, finding.subject[:200], finding.detail[:MAX_DETAIL_LENGTH])
            for finding in alert_findings
        ]
        metric_catalog.alerts_firing.set(alert.name, alert.severity.value, number=len(alert_findings))
    new_findings = [finding for finding in findings if _is_new(before.get(finding[:2]), at)]
    was_firing = {key for key, state in before.items() if state.ended_at is None}
    await repository.record_states(session, findings, at, delete_before=at - RETENTION)
    session.expire_all()
    if new_findings:
        await _send_mails(session, new_findings)
    if was_firing != {finding[:2] for finding in findings}:
        await live_events.refresh_pages(session, "*", TOPIC)
    return [state for state in await list_recent(session, at) if state.ended_at is None]


async def read_facts(session: AsyncSession, at: datetime) -> Facts:
    return Facts(
        session=session,
        at=at,
        traffic=await repository.sum_traffic(session, at - JUDGED_PERIOD, at),
        lanes=await repository.list_lanes(session),
    )


async def list_recent(session: AsyncSession, at: datetime) -> Sequence[AlertState]:
    """Those that fire, and those that ended within an hour."""
    return await repository.list_states(session, ended_since=at - MAIL_AGAIN_AFTER)


def _is_new(state: AlertState | None, at: datetime) -> bool:
    """An alert that comes and goes is mailed once an hour."""
    if state is None:
        return True
    return state.ended_at is not None and state.ended_at < at - MAIL_AGAIN_AFTER


async def _send_mails(session: AsyncSession, findings: Sequence[tuple[str, str, str]]) -> None:
    """One mail to each operator who wants them. It names alerts, not tenants: mail leaves the platform."""
    titles = list(dict.fromkeys(ALERTS[name].title for name, _, _ in findings))
    urgent = any(ALERTS[name].severity is Severity.PAGE for name, _, _ in findings)
    for operator in await repository.list_subscribers(session):
        await queue.put_platform_job(
            session,
            MAIL_TASK,
            email=operator.email,
            name=operator.name,
            mail_id=new_id("alm"),
            alerts=", ".join(titles),
            urgency="now" if urgent else "today",
            alert=findings[0][0] if len({name for name, _, _ in findings}) == 1 else "",
        )
