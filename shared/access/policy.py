"""The gate of every service: allowed, or `Refused` with a sentence and a next step."""

from collections.abc import Iterable

from shared.access import decision, decision_counts, decision_records, roles
from shared.access.actions import ACTIONS, Action, OperatorAction
from shared.access.decision import Decision, RightsHolder
from shared.access.refusal_codes import PAYABLE_REASONS, Reason
from shared.access.refusal_messages import build_refusal
from shared.core import request_ids
from shared.core.config import settings
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Refused


def require(
    ctx: Ctx, action: Action, *, used: int | None = None, obstacle: str = "", counted: bool = True
) -> Decision:
    """Raises Refused. Ask once before anything is read, and with `used` again under the lock of a limit.

    `counted`: False for a further step of what was counted before. What is allowed with a warning (grace, above a soft
    limit) is returned, for whoever shows warnings.
    """
    request_ids.note_action(action.name)
    outcome = decision.decide(ctx, action, used=used, obstacle=obstacle)
    if not outcome.allowed:
        reason = outcome.reason
        if (
            reason is Reason.MISSING_PERMISSION
            and ctx.scopes is not None
            and action.permission not in ctx.scopes
        ):
            reason = Reason.MISSING_SCOPE
        raise build_refusal(reason, action, ctx, used=used, obstacle=obstacle)
    if counted:
        decision_counts.count_allowed(ctx, action, outcome.reason)
    return outcome


def require_person(ctx: Ctx) -> str:
    """The id of the person who acts, or whose key acts, for what people have of their own. Raises Refused for others."""
    if not ctx.person_id:
        raise Refused("Only people have this.", "Use the key of a person.", reason=Reason.MISSING_PERMISSION)
    return ctx.person_id


def is_own_role(ctx: Ctx, role: str) -> bool:
    """For saying "You" beside it. `role`: a key."""
    return role == ctx.role


def require_unchanged(ctx: Ctx, action: Action, role: str, permissions: frozenset[str]) -> None:
    """`role`, `permissions`: the actor's, as read again under a lock. Raises Refused for one who has lost something."""
    if role != ctx.role or not ctx.permissions <= permissions:
        raise build_refusal(Reason.MISSING_PERMISSION, action)


def require_operator(octx: OperatorCtx, action: OperatorAction, *, is_request: bool = False) -> None:
    """Raises Refused. `is_request`: a second operator is asked, or decides; the action isn’t carried out here."""
    request_ids.note_action(action.name)
    outcome = decision.decide_operator(octx, action)
    if not outcome.allowed:
        lacks_scope = octx.scopes is not None and action.permission not in octx.scopes
        raise build_refusal(Reason.MISSING_SCOPE if lacks_scope else outcome.reason, action)
    if action.writes:
        octx.act.action = action.name
    if action.needs_approval and not is_request and not _is_approved(octx, action):
        raise Refused(
            f"A second operator has to approve it when you {action.description}.",
            "Ask for approval in the admin app.",
            reason="approval_needed",
            action=action.name,
        )
    if action.writes and not is_request:
        decision_records.note_allowed(octx, action, outcome.reason)


def _is_approved(octx: OperatorCtx, action: OperatorAction) -> bool:
    has_approval = octx.approval is not None and octx.approval.action == action.name
    return has_approval or settings().approval_mode == "off"


def require_grantable(ctx: Ctx, permissions: Iterable[str] | None) -> None:
    """`permissions`: of a role that is given, taken or touched; None for one that does not exist.

    Raises Refused for one that may do more than whoever does it.
    """
    if permissions is None or not roles.can_grant(ctx.permissions, permissions):
        raise Refused(
            "This role has permissions you don’t have, or no longer exists.",
            "Ask an owner to do it.",
            reason=Reason.MISSING_PERMISSION,
        )


def has_permissions(ctx: Ctx, permissions: Iterable[str]) -> bool:
    """Whether the actor has all of these. For what is no action, such as an event that a tenant may be told about."""
    return roles.can_grant(ctx.permissions, permissions)


def locked_by_plan(principal: RightsHolder) -> frozenset[str]:
    """Names of the actions that their role may do and their plan does not have."""
    reasons = {name: decision.decide(principal, action).reason for name, action in ACTIONS.items()}
    return frozenset(name for name, reason in reasons.items() if reason in PAYABLE_REASONS)


def hidden_actions(principal: RightsHolder) -> frozenset[str]:
    """Names of the actions that are not in their role, or not in test mode: they need not know of them."""
    return frozenset(
        name
        for name, action in ACTIONS.items()
        if action.permission not in principal.permissions
        or principal.rights.verdicts.get(name) == Reason.TEST_MODE
    )
