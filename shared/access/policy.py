"""The gate of every service: allowed, or `Refused` with a sentence and a next step."""

from shared.access import decision, roles
from shared.access.actions import Action, OperatorAction
from shared.core.ctx import Ctx, OperatorCtx
from shared.core.errors import Refused


def require(ctx: Ctx, action: Action, *, used: int | None = None) -> None:
    """Raises Refused. Ask once before anything is read, and with `used` again under the lock of a limit."""
    decided = decision.decide(ctx, action, used=used)
    if not decided.allowed:
        raise refusal(decided.reason, action, used=used, limit=ctx.limits.get(action.limit))


def require_unchanged(ctx: Ctx, action: Action, role: str) -> None:
    """`role`: the actor's, as read again under a lock. Raises Refused for one who is not what they were on entering."""
    if role != ctx.role:
        raise refusal(decision.MISSING_PERMISSION, action)


def require_operator(octx: OperatorCtx, action: OperatorAction) -> None:
    decided = decision.decide_operator(octx, action)
    if not decided.allowed:
        raise refusal(decided.reason, action)


def require_grantable(ctx: Ctx, role: str) -> None:
    """Raises Refused for a role that holds more than the one who gives, takes or touches it."""
    if not roles.may_grant(ctx.permissions, role):
        raise Refused(
            "This role may do more than you may, or does not exist.",
            "Ask an owner to do it.",
            reason=decision.MISSING_PERMISSION,
        )


def refusal(
    reason: str, action: Action | OperatorAction, *, used: int | None = None, limit: int | None = None
) -> Refused:
    """The words of a decision: what was refused and what to do next."""
    operator = isinstance(action, OperatorAction)
    detail, step = {
        decision.LIMIT_REACHED: (
            f"All {limit} seats are in use ({used} of {limit})."
            if action_is_seats(action)
            else "The limit is reached.",
            "Remove a member or revoke an invitation, or ask for a larger plan.",
        ),
        decision.MISSING_PERMISSION: (
            f"You may not {action.said}.",
            "Ask an operator who is an owner." if operator else "Ask an owner or admin of your organisation.",
        ),
        decision.TENANT_DELETED: ("This organisation has been deleted.", "Open another organisation."),
        decision.TENANT_SUSPENDED: (
            "This organisation is suspended.",
            "Ask an owner to write to support; nothing has been deleted.",
        ),
        decision.TENANT_UNVERIFIED: (
            "The address of this organisation's owner is not verified yet.",
            "Open the link in the mail we sent, or ask for a new one.",
        ),
    }[reason]
    return Refused(detail, step, reason=reason)


def action_is_seats(action: Action | OperatorAction) -> bool:
    return isinstance(action, Action) and action.limit == "members"
