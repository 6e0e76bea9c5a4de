"""Who may read the trail. Writing it is `audit.trail`'s."""

from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.audit import trail
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.db import now
from shared.tenancy import entry


async def list_events(
    ctx: Ctx, wanted: trail.Filter | None = None, *, after: str = "", limit: int = 50
) -> trail.Page:
    """This tenant's own trail, newest first, as far back as its plan looks. Nothing older is deleted."""
    policy.require(ctx, actions.AUDIT_READ)
    since, asked = shown_since(ctx), wanted or trail.Filter()
    return await trail.list_events(ctx, asked.not_before(since) if since else asked, after=after, limit=limit)


def shown_since(ctx: Ctx) -> datetime | None:
    """None: everything."""
    days = ctx.rights.limits["retention_days"].amount
    return None if days is None else now() - timedelta(days=days)


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
