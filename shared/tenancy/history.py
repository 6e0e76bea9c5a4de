"""Who may read the trail. Writing it is `audit.trail`'s."""

from shared.access import actions, policy
from shared.audit import trail
from shared.core.ctx import Ctx, OperatorCtx
from shared.tenancy import entry


async def list_events(
    ctx: Ctx, wanted: trail.Filter | None = None, *, after: str = "", limit: int = 50
) -> trail.Page:
    """This tenant's own trail, newest first."""
    policy.require(ctx, actions.AUDIT_READ)
    return await trail.list_events(ctx, wanted, after=after, limit=limit)


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
