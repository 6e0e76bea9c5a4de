"""Decisions about the actor itself: may it do this, why or why not, now or at a past time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.actions import ACTIONS, Action
from shared.access.decision import decide as decide_now
from shared.access.decision import has_permission
from shared.access.refusal_codes import Reason
from shared.access.refusal_messages import build_refusal
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements import explain
from shared.entitlements.evaluate import AccessSubject, DecisionTrace, TraceLine
from shared.tenancy import decision_history
from shared.tenancy.decision_history import Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionLayer:
    """What one layer found. `source_id`: of the row it comes from, "registry" for what the code says."""

    layer: str
    question: str
    verdict: str
    explanation: str
    source_id: str
    decides: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDecision:
    """`detail` and `next_step`: of the refusal, "" when it is allowed. `layers`: None without `access:read`."""

    at: datetime
    action: Action
    allowed: bool
    reason: Reason
    detail: str
    next_step: str
    layers: Sequence[DecisionLayer] | None


async def decide(ctx: Ctx, action: str, *, at: datetime | None = None) -> OwnDecision:
    """`action`: its name. `at`: a past time, None for now.

    A key had its present scopes at every time. Raises Invalid for an unknown action and for a future time, NotFound for
    a time before the organisation, before the last change of the service account, and for any past time of a token,
    whose former claims aren't recorded.
    """
    policy.require(ctx, actions.HOME_READ)
    requested_action = _require_action(action)
    asked_at = _require_past(at)
    if ctx.is_test:
        return _decide_in_test_mode(ctx, requested_action, at)
    await decision_history.require_existing(ctx, asked_at)
    if ctx.actor.type == "external":
        subject = await _get_token_subject(ctx, asked_at, is_past=at is not None)
    else:
        subject = await _get_subject(ctx, asked_at)
    if ctx.scopes is not None:
        subject = subject.limit_permissions(ctx.scopes)
    explanation = await decision_history.explain_for_subject(ctx, subject, requested_action, at=at)
    return _build_decision(ctx, requested_action, explanation)


def _decide_in_test_mode(ctx: Ctx, action: Action, at: datetime | None) -> OwnDecision:
    """Without the layers, which are the live tenant's. Raises Refused for a past time."""
    if at is not None:
        raise build_refusal(Reason.TEST_MODE, actions.ACCESS_READ, ctx)
    outcome = decide_now(ctx, action)
    refusal = None if outcome.allowed else build_refusal(outcome.reason, action, ctx)
    return OwnDecision(
        at=now(),
        action=action,
        allowed=outcome.allowed,
        reason=outcome.reason,
        detail=refusal.detail if refusal else "",
        next_step=refusal.next_step if refusal else "",
        layers=None,
    )


async def _get_subject(ctx: Ctx, at: datetime) -> AccessSubject:
    """Raises NotFound."""
    if ctx.on_behalf_of is not None:
        subject = await decision_history.get_subject_at(ctx, ctx.on_behalf_of.id, at)
        return subject.limit_permissions(ctx.permissions)
    if ctx.person_id:
        return await decision_history.get_subject_at(ctx, ctx.person_id, at)
    return await decision_history.get_account_subject_at(ctx, ctx.holder_id, at)


async def _get_token_subject(ctx: Ctx, at: datetime, *, is_past: bool) -> AccessSubject:
    """Raises NotFound for a past time."""
    if is_past:
        raise NotFound("What this token could do at that time isn’t recorded.", "Leave the time out for now.")
    return await decision_history.get_token_subject(ctx, at)


def _build_decision(ctx: Ctx, action: Action, explanation: Explanation) -> OwnDecision:
    trace = explanation.trace
    reason, detail, next_step = trace.decision.reason, explanation.detail, explanation.next_step
    is_scope_missing = (
        reason is Reason.MISSING_PERMISSION and ctx.scopes is not None and action.permission not in ctx.scopes
    )
    if is_scope_missing:
        refusal = build_refusal(Reason.MISSING_SCOPE, action, ctx)
        reason, detail, next_step = Reason.MISSING_SCOPE, refusal.detail, refusal.next_step
    layers = build_layers(trace)
    if is_scope_missing:
        layers[0] = build_scope_layer(layers[0], ctx.actor_id, detail)
    return OwnDecision(
        at=explanation.at,
        action=action,
        allowed=trace.decision.allowed,
        reason=reason,
        detail=detail,
        next_step=next_step,
        layers=layers if has_permission(ctx, actions.ACCESS_READ) else None,
    )


def build_layers(trace: DecisionTrace) -> list[DecisionLayer]:
    """One for each layer, in the order in which they are asked."""
    return [_build_layer(line, trace) for line in trace.lines]


def _build_layer(line: TraceLine, trace: DecisionTrace) -> DecisionLayer:
    return DecisionLayer(
        layer=line.layer.value,
        question=explain.describe_question(line, trace.inputs),
        verdict=line.verdict.value,
        explanation=explain.describe_line(line, trace.inputs),
        source_id=line.source_id,
        decides=line.layer is trace.decided_by,
    )


def build_scope_layer(layer: DecisionLayer, key_id: str, detail: str) -> DecisionLayer:
    """The first layer, where the key lacks what its holder has. `detail`: of the refusal."""
    return DecisionLayer(
        layer=layer.layer,
        question=layer.question,
        verdict=layer.verdict,
        explanation=detail,
        source_id=key_id,
        decides=layer.decides,
    )


def _require_action(name: str) -> Action:
    action = ACTIONS.get(name)
    if action is None:
        text = "This action doesn’t exist."
        raise Invalid(text, "Choose one of GET /actions.", fields={"action": text})
    return action


def _require_past(at: datetime | None) -> datetime:
    if at is not None and at > now():
        text = "This time is in the future."
        raise Invalid(text, "Choose a past time, or leave it out for now.", fields={"at": text})
    return at or now()
