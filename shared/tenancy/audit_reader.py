"""Authorise reading the audit log. `audit.audit_log` writes it."""

from datetime import timedelta

from shared.access import actions, policy
from shared.audit import audit_log
from shared.audit.models import AuditEvent
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.paging import Page

MAX_RETENTION_DAYS = 36_500  # more would be before the earliest date, so it means unlimited


async def list_events(
    ctx: Ctx, event_filter: audit_log.AuditFilter | None = None, *, after: str = "", limit: int = 50
) -> Page[AuditEvent]:
    """This tenant's events, newest first, limited to the plan's retention. Older events are kept but not shown."""
    policy.require(ctx, actions.AUDIT_READ)
    return await audit_log.list_events(
        ctx, limit_to_retention(ctx, event_filter or audit_log.AuditFilter()), after=after, limit=limit
    )


def limit_to_retention(ctx: Ctx, event_filter: audit_log.AuditFilter) -> audit_log.AuditFilter:
    """The filter, limited to the plan's retention."""
    days = ctx.rights.limits["retention_days"].amount
    if days is None or days > MAX_RETENTION_DAYS:
        return event_filter
    return event_filter.not_before(now() - timedelta(days=days))


async def verify_audit_log(ctx: Ctx) -> audit_log.ChainVerification:
    policy.require(ctx, actions.AUDIT_READ)
    return await audit_log.verify_chain(ctx)
