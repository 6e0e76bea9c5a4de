"""Authorise reading and verifying the audit log. `audit.audit_log` writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared.access import actions, policy
from shared.audit import audit_log, sealing, verification
from shared.audit.audit_filter import AuditFilter
from shared.audit.models import AuditEvent, AuditVerification
from shared.audit.verification import ChainStatus, LogVerification
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.paging import Page
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.jobs import queue
from shared.tenancy import recorded_decisions

VERIFY_TASK = "tenancy.verify_audit_log"
VERIFICATION_TOPIC = "audit_verification"  # of open pages that show the progress
JOB_STEP_SIZE = 5_000  # events in one job
REFRESH_PERCENT = 2  # pages load again when this much more is done
MAX_RETENTION_DAYS = 36_500  # more would be before the earliest date, so it means unlimited


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLogView:
    events: Page[AuditEvent]
    chain: ChainStatus
    decision_ids: Mapping[str, str]  # by id of the event: the record of what allowed it, where there is one


async def list_events(
    ctx: Ctx, event_filter: AuditFilter | None = None, *, after: str = "", limit: int = 50
) -> Page[AuditEvent]:
    """This tenant's events, newest first, limited to the plan's retention. Older events are kept but not shown."""
    policy.require(ctx, actions.AUDIT_READ)
    return await audit_log.list_events(
        ctx, limit_to_retention(ctx, event_filter or AuditFilter()), after=after, limit=limit
    )


async def get_event(ctx: Ctx, event_id: str) -> AuditEvent:
    """Raises NotFound, including for an event that is older than the plan's retention."""
    policy.require(ctx, actions.AUDIT_READ)
    event = await audit_log.find_event(ctx, event_id)
    since = limit_to_retention(ctx, AuditFilter()).since
    if event is None or (since is not None and event.at is not None and event.at < since):
        raise NotFound("This event doesn’t exist.", "Search the audit log for it.")
    return event


async def view_audit_log(
    ctx: Ctx, event_filter: AuditFilter | None = None, *, after: str = "", limit: int = 50
) -> AuditLogView:
    """The same, with the state of the hash chain, for the page."""
    events = await list_events(ctx, event_filter, after=after, limit=limit)
    return AuditLogView(
        events=events,
        chain=await verification.get_status(ctx),
        decision_ids=await recorded_decisions.find_event_decisions(ctx, events.rows),
    )


async def get_chain_status(ctx: Ctx) -> ChainStatus:
    """What is sealed, and how far it is verified. Raises Refused."""
    policy.require(ctx, actions.AUDIT_READ)
    return await verification.get_status(ctx)


def limit_to_retention(ctx: Ctx, event_filter: AuditFilter) -> AuditFilter:
    """The filter, limited to the plan's retention."""
    days = ctx.rights.limits["retention_days"].amount
    if days is None or days > MAX_RETENTION_DAYS:
        return event_filter
    return event_filter.not_before(now() - timedelta(days=days))


async def verify_audit_log(ctx: Ctx, *, from_start: bool = False) -> LogVerification:
    """Verify the hash chain from where it is verified already, or from the first event.

    The first step is done at once; where it is not the last, jobs do the others. One verification of a tenant runs at a
    time: the state of the running one is returned. Raises Refused.
    """
    policy.require(ctx, actions.AUDIT_READ)
    await enforce_rate_limit(RateLimit.AUDIT_VERIFY_TENANT, ctx.tenant_id)
    checkpoint = await verification.lock(ctx)
    if not verification.is_in_progress(checkpoint):
        await sealing.seal_tenant(ctx)
        verification.start(checkpoint, from_start=from_start)
        await _run_step(ctx, checkpoint, size=verification.STEP_SIZE)
    return verification.describe(checkpoint)


async def continue_verification(ctx: Ctx, checked: str) -> None:
    """The next step, by a job. `checked` names the step before it, so that a job that runs twice does nothing."""
    checkpoint = await verification.lock(ctx)
    before = verification.describe(checkpoint)
    if before.is_running and checked == _name_step(checkpoint):
        await _run_step(ctx, checkpoint, size=JOB_STEP_SIZE)
        after = verification.describe(checkpoint)
        if not after.is_running or after.percent // REFRESH_PERCENT > before.percent // REFRESH_PERCENT:
            await live_events.refresh_pages(ctx.session, ctx.tenant_id, VERIFICATION_TOPIC)


async def _run_step(ctx: Ctx, checkpoint: AuditVerification, *, size: int) -> None:
    await verification.run_step(ctx, checkpoint, size=size)
    if verification.describe(checkpoint).is_running:
        await queue.put(ctx, VERIFY_TASK, ordered=False, checked=_name_step(checkpoint))


def _name_step(checkpoint: AuditVerification) -> str:
    return f"{checkpoint.started_at.isoformat()} {checkpoint.checked_seq} {checkpoint.checked_events}"
