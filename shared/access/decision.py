"""One function that decides, for pages, routes, jobs and operators alike, and says why not.

Layers in the order in which they are asked: permission, tenant state, limit. Plans, flags and billing status take
their places here when they exist; nobody else asks.
"""

from dataclasses import dataclass

from shared.access.actions import Action, OperatorAction
from shared.core.ctx import Ctx, OperatorCtx

ALLOWED, LIMIT_REACHED, MISSING_PERMISSION = "allowed", "limit_reached", "missing_permission"
TENANT_DELETED, TENANT_SUSPENDED, TENANT_UNVERIFIED = (
    "tenant_deleted",
    "tenant_suspended",
    "tenant_unverified",
)


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: str


# Made once: a decision is asked for very often and never changes.
YES = Decision(True, ALLOWED)
NO = {
    reason: Decision(False, reason)
    for reason in (LIMIT_REACHED, MISSING_PERMISSION, TENANT_DELETED, TENANT_SUSPENDED, TENANT_UNVERIFIED)
}
STATES = {
    "deleted": NO[TENANT_DELETED],
    "pending_verification": NO[TENANT_UNVERIFIED],
    "suspended": NO[TENANT_SUSPENDED],
}


def decide(ctx: Ctx, action: Action, *, used: int | None = None) -> Decision:
    """`used`: how much of `action.limit` is taken already, counted under the lock that guards it."""
    return weigh(ctx.permissions, ctx.tenant_state, action, used=used, limit=ctx.limits.get(action.limit))


def weigh(
    permissions: frozenset[str],
    tenant_state: str,
    action: Action,
    *,
    used: int | None = None,
    limit: int | None = None,
) -> Decision:
    """The same decision from its parts, for those who look before there is a transaction (`shared.ui.gate`)."""
    if action.permission not in permissions:
        return NO[MISSING_PERMISSION]
    blocked = STATES.get(tenant_state)
    if blocked is not None and not (action.unverified_ok and blocked.reason == TENANT_UNVERIFIED):
        return blocked
    if used is not None and limit is not None and used >= limit:
        return NO[LIMIT_REACHED]
    return YES


def decide_operator(octx: OperatorCtx, action: OperatorAction) -> Decision:
    return YES if action.permission in octx.permissions else NO[MISSING_PERMISSION]
