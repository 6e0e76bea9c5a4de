"""One function that decides, for pages, routes, jobs and operators alike, and says why not.

Layers in the order in which they are asked: permission, then what the tenant may use (tenant state, billing, trial,
plan, flag: compiled into `Rights` by `shared.entitlements`), then the limit, then the state of the object. The same
layers as a trace, with the rows they came from: `entitlements.explain`.
"""

from dataclasses import dataclass
from typing import Protocol

from shared.access.actions import Action, OperatorAction
from shared.access.reasons import ALLOWING, Reason
from shared.core.ctx import Rights


class Asker(Protocol):
    """A `Ctx`, or whoever looks before there is a transaction (`shared.ui.gate`)."""

    @property
    def permissions(self) -> frozenset[str]: ...
    @property
    def rights(self) -> Rights: ...


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: Reason


# Made once: a decision is asked for very often and never changes.
FOR: dict[str, Decision] = {reason: Decision(reason in ALLOWING, reason) for reason in Reason}
YES = FOR[Reason.ALLOWED]
NO = {reason: decision for reason, decision in FOR.items() if not decision.allowed}
MISSING_PERMISSION = FOR[Reason.MISSING_PERMISSION]


def decide(who: Asker, action: Action, *, used: int | None = None, obstacle: str = "") -> Decision:
    """`used`: how much of `action.limit` is taken already, counted under the lock that guards it.

    `obstacle`: why the object is in no state for this, "" when it is.
    """
    if action.permission not in who.permissions:
        return MISSING_PERMISSION
    rights = who.rights
    decision = YES
    if (reason := rights.verdicts.get(action.name)) is not None:
        decision = FOR[reason]
        if not decision.allowed:
            return decision
    if used is not None:
        limit = rights.limits[action.limit]
        if limit.amount is not None and used >= limit.amount:
            if limit.hard:
                return FOR[Reason.LIMIT_REACHED]
            decision = FOR[Reason.LIMIT_WARNED]
    if obstacle:
        return FOR[Reason.OBJECT_STATE]
    return decision


def holds(who: Asker, action: Action) -> bool:
    """For showing a control at all: people whose role lacks the permission need not know of it. Allows nothing."""
    return action.permission in who.permissions


class Operating(Protocol):
    """An `OperatorCtx`, or whoever looks before there is a transaction."""

    @property
    def permissions(self) -> frozenset[str]: ...


def decide_operator(who: Operating, action: OperatorAction) -> Decision:
    return YES if action.permission in who.permissions else MISSING_PERMISSION
