"""One function that decides, for pages, routes, jobs and operators alike, and says why not.

Layers in the order in which they are asked: permission, then what the tenant may use (tenant state, billing, trial,
plan, flag: compiled into `Rights` by `shared.entitlements`), then the limit, then the state of the object. The same
layers as a trace, with the rows they came from: `entitlements.evaluate`.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.access.actions import Action, OperatorAction
from shared.access.refusal_codes import ALLOWED_REASONS, Reason
from shared.core.context import Rights


class RightsHolder(Protocol):
    """A `Ctx`, or whoever looks before there is a transaction (`shared.ui.authorize`)."""

    @property
    def permissions(self) -> frozenset[str]: ...
    @property
    def rights(self) -> Rights: ...


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: Reason


# Made once: a decision is asked for very often and never changes.
DECISION_BY_REASON: dict[str, Decision] = {
    reason: Decision(reason in ALLOWED_REASONS, reason) for reason in Reason
}
ALLOWED = DECISION_BY_REASON[Reason.ALLOWED]
REFUSED_BY_REASON = {
    reason: decision for reason, decision in DECISION_BY_REASON.items() if not decision.allowed
}
MISSING_PERMISSION = DECISION_BY_REASON[Reason.MISSING_PERMISSION]
SUPPORT_CLOSED = DECISION_BY_REASON[Reason.SUPPORT_CLOSED]


def decide(
    principal: RightsHolder, action: Action, *, used: int | None = None, obstacle: str = ""
) -> Decision:
    """`used`: how much of `action.limit` is taken already, counted under the lock that guards it.

    `obstacle`: why the object is in no state for this, "" when it is.
    """
    if action.permission not in principal.permissions:
        closed = principal.rights.verdicts.get(action.name) == Reason.SUPPORT_CLOSED
        return SUPPORT_CLOSED if closed else MISSING_PERMISSION
    rights = principal.rights
    decision = ALLOWED
    if (reason := rights.verdicts.get(action.name)) is not None:
        decision = DECISION_BY_REASON[reason]
        if not decision.allowed:
            return decision
    if used is not None:
        limit = rights.limits[action.limit]
        if limit.amount is not None and used >= limit.amount:
            if limit.hard:
                return DECISION_BY_REASON[Reason.LIMIT_REACHED]
            decision = DECISION_BY_REASON[Reason.LIMIT_WARNED]
    if obstacle:
        return DECISION_BY_REASON[Reason.OBJECT_STATE]
    return decision


def has_feature(holder: RightsHolder, feature: str) -> bool:
    """Whether the plan has it, for what is counted by it. What may be done is decided by `decide`."""
    return feature in holder.rights.features


def has_permission(principal: RightsHolder, action: Action) -> bool:
    """For showing a control at all: people whose role lacks the permission need not know of it. Allows nothing."""
    return action.permission in principal.permissions


class PermissionHolder(Protocol):
    """An `OperatorCtx`, or whoever looks before there is a transaction."""

    @property
    def permissions(self) -> frozenset[str]: ...


def decide_operator(principal: PermissionHolder, action: OperatorAction) -> Decision:
    return ALLOWED if action.permission in principal.permissions else MISSING_PERMISSION
