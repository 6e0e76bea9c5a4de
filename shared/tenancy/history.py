"""Who may read the trail. Writing it is `audit.trail`'s."""

from datetime import timedelta

from shared.access import actions, policy
from shared.audit import trail
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.tenancy import entry

EVER = 36_500  # days; more is everything, and would be before any date there is


async def list_events(
    ctx: Ctx, wanted: trail.Filter | None = None, *, after: str = "", limit: int = 50
) -> trail.Page:
    """This tenant's own trail, newest first, as far back as its plan looks. Nothing older is deleted."""
    policy.require(ctx, actions.AUDIT_READ)
    return await trail.list_events(ctx, as_shown(ctx, wanted or trail.Filter()), after=after, limit=limit)


def as_shown(ctx: Ctx, wanted: trail.Filter) -> trail.Filter:
    """Not further back than the plan looks."""
    days = ctx.rights.limits["retention_days"].amount
    if days is None or days > EVER:
        return wanted
    return wanted.not_before(now() - timedelta(days=days))


async def verify(ctx: Ctx) -> trail.Verification:
    policy.require(ctx, actions.AUDIT_READ)
    return await trail.verify(ctx)


async def list_all(
    octx: OperatorCtx, reason: str, wanted: trail.Filter, *, after: str = "", limit: int = 50
) -> trail.Page:
    """Every tenant's trail, for a reason that goes into the operators' own. Raises Invalid without one."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    async with entry.across(octx, reason) as session:
        return await trail.list_across(session, wanted, after=after, limit=limit)
