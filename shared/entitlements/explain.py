"""Sentences for what the evaluator found, for features and limits and where they come from."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from shared.core.context import Limit
from shared.entitlements.catalog import PlanOffer
from shared.entitlements.entitlement_chains import (
    FeatureChain,
    FeatureStep,
    LimitChain,
    LimitStep,
    StepKind,
)
from shared.entitlements.evaluate import DecisionTrace, EvaluationInputs, Finding, Layer, TraceLine
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import FlagEvaluation, describe_evaluation
from shared.entitlements.limits import LIMITS, LimitPeriod
from shared.entitlements.models import TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot

QUESTIONS = {
    Layer.TENANT: "Is the organisation active?",
    Layer.BILLING: "Is billing in good standing?",
    Layer.PLAN: "Does the plan include it?",
    Layer.ADDONS: "Does an add-on include it?",
    Layer.OVERRIDE: "Is there an override for this tenant?",
    Layer.TRIAL: "Is the trial running?",
    Layer.FLAG: "Is the feature flag on?",
    Layer.OBJECT: "Does the object’s state allow it?",
}
STATUS_TEXTS = {
    "active": "No payment is due",
    "grace": "A payment is overdue",
    "none": "No subscription",
    "read_only": "Read-only",
}


class TracedLine(NamedTuple):
    line: TraceLine
    inputs: EvaluationInputs  # of the line's trace


Describer = Callable[[TracedLine], str]


def describe_question(line: TraceLine, inputs: EvaluationInputs) -> str:
    """The question that the line's layer answers."""
    action = inputs.action
    if line.layer is Layer.PERMISSION:
        return f"Can {inputs.subject.person_name} {action.description}?"
    if line.layer is not Layer.LIMIT:
        return QUESTIONS[line.layer]
    if not action.limit:
        return "Is it within the limits?"
    unit = LIMITS[action.limit].singular
    return f"Is {'an' if unit[0] in 'aeiou' else 'a'} {unit} available?"


def describe_line(line: TraceLine, inputs: EvaluationInputs) -> str:
    """What the layer found, in one or two sentences."""
    return _DESCRIBERS[line.finding](TracedLine(line, inputs))


def compare_traces(before: DecisionTrace, after: DecisionTrace) -> tuple[tuple[TraceLine, TraceLine], ...]:
    """The layers that found something else: usually one, whose source is the change that did it.

    A layer that found the same and is overruled in one of them only is left out: the later layer is in.
    """
    return tuple(
        (before_line, after_line)
        for before_line, after_line in zip(before.lines, after.lines, strict=True)
        if before_line.source_id != after_line.source_id
        or describe_line(before_line, before.inputs) != describe_line(after_line, after.inputs)
    )


def describe_feature_chain(chain: FeatureChain) -> str:
    return " ".join(_describe_feature_step(chain.snapshot, step) for step in chain.steps)


def describe_limit_chain(chain: LimitChain) -> str:
    return " ".join(_describe_limit_step(chain, step) for step in chain.steps)


def format_amount(limit: Limit, name: str) -> str:
    """As in "1 seat" or "10,000 calls a month"."""
    kind = LIMITS[name]
    if limit.amount is None:
        return f"unlimited {kind.plural}"
    per = " a month" if kind.period is LimitPeriod.MONTH else ""
    return f"{limit.amount:,} {kind.singular if limit.amount == 1 else kind.plural}{per}"


def _describe_permission(traced: TracedLine) -> str:
    return f"{traced.inputs.subject.role_name} includes {traced.inputs.action.permission}."


def _describe_missing_permission(traced: TracedLine) -> str:
    subject, permission = traced.inputs.subject, traced.inputs.action.permission
    if subject.ended_state:
        return f"This person was {subject.ended_state} and has no role."
    if not subject.role_name:
        return f"This person has no role, so {permission} is missing."
    return f"{subject.role_name} doesn’t include {permission}."


def _describe_state(traced: TracedLine) -> str:
    return f"The organisation is {traced.inputs.subject.state.replace('_', ' ')}."


def _describe_allowed_state(traced: TracedLine) -> str:
    if traced.inputs.subject.state == "suspended":
        return f"{_describe_state(traced)} This action is allowed meanwhile."
    return f"{_describe_state(traced)} This action is allowed before verification."


def _describe_billing(traced: TracedLine) -> str:
    snapshot = traced.inputs.entitlements.snapshot
    return f"{STATUS_TEXTS[snapshot.billing_status]}{_format_since(snapshot)}."


def _describe_ignored_billing(traced: TracedLine) -> str:
    return f"{_describe_billing(traced)} This action is always allowed."


def _describe_read_only(traced: TracedLine) -> str:
    return f"Read-only{_format_since(traced.inputs.entitlements.snapshot)}: changes are blocked."


def _describe_unpaid(traced: TracedLine) -> str:
    fallback = traced.inputs.entitlements.fallback
    return f"No subscription{_format_since(traced.inputs.entitlements.snapshot)}: {fallback.label} applies."


def _describe_overdue(traced: TracedLine) -> str:
    snapshot = traced.inputs.entitlements.snapshot
    ends_at = snapshot.billing.ends_at if snapshot.billing else None
    until = f" until {_format_day(ends_at)}" if ends_at else ""
    return f"A payment is overdue{_format_since(snapshot)}; nothing is blocked{until}."


def _describe_no_feature(traced: TracedLine) -> str:
    plan = f" {_format_plan(traced.inputs.entitlements.snapshot)}." if traced.line.layer is Layer.PLAN else ""
    return f"No feature is required.{plan}"


def _describe_ignored_feature(traced: TracedLine) -> str:
    return f"This action is always allowed. {_format_plan(traced.inputs.entitlements.snapshot)}."


def _describe_plan_feature(traced: TracedLine) -> str:
    snapshot, feature = traced.inputs.entitlements.snapshot, traced.inputs.action.feature
    verb = "includes" if feature in snapshot.offer.features else "doesn’t include"
    return f"{_format_plan(snapshot)} {verb} {FEATURES[feature].title}."


def _describe_addon_feature(traced: TracedLine) -> str:
    assert isinstance(traced.line.detail, PlanOffer)
    return f"{traced.line.detail.label} includes {FEATURES[traced.inputs.action.feature].title}."


def _describe_other_addons(traced: TracedLine) -> str:
    count = len(traced.inputs.entitlements.snapshot.addons)
    return "The add-on doesn’t include it." if count == 1 else f"None of {count} add-ons include it."


def _describe_override(traced: TracedLine) -> str:
    assert isinstance(traced.line.detail, TenantOverride)
    return f"{'On' if traced.line.detail.value else 'Off'}{_format_override(traced.line.detail)}"


def _describe_running_trial(traced: TracedLine) -> str:
    return f"The trial runs until {_format_day(traced.inputs.entitlements.snapshot.trial_ends_at)}."


def _describe_ended_trial(traced: TracedLine) -> str:
    day = _format_day(traced.inputs.entitlements.snapshot.trial_ends_at)
    return f"The trial ended on {day} without a payment: {traced.inputs.entitlements.fallback.label} applies."


def _describe_required_feature(traced: TracedLine) -> str:
    assert isinstance(traced.line.detail, str)
    title = FEATURES[traced.line.detail].title
    return f"{traced.inputs.action.flag} requires {title}, which this tenant doesn’t have."


def _describe_flag(traced: TracedLine) -> str:
    assert isinstance(traced.line.detail, FlagEvaluation)
    return f"{traced.inputs.action.flag}: {describe_evaluation(traced.line.detail)}"


def _describe_ignored_flag(traced: TracedLine) -> str:
    return f"{_describe_flag(traced)} This action is always allowed."


def _describe_uncounted_limit(traced: TracedLine) -> str:
    return f"{describe_limit_chain(_get_limit_chain(traced))} Usage isn’t counted."


def _describe_usage(traced: TracedLine) -> str:
    chain, maximum = _get_limit_chain(traced), _get_limit_chain(traced).limit.amount
    of_maximum = "" if maximum is None else f"of {maximum:,} "
    return f"{traced.inputs.used:,} {of_maximum}in use. {describe_limit_chain(chain)}"


def _describe_soft_limit(traced: TracedLine) -> str:
    return f"{_describe_usage(traced)} This limit only warns."


def _describe_obstacle(traced: TracedLine) -> str:
    return traced.inputs.obstacle


def _fixed(sentence: str) -> Describer:
    return lambda _: sentence


_DESCRIBERS: dict[Finding, Describer] = {
    Finding.PERMISSION_HELD: _describe_permission,
    Finding.PERMISSION_MISSING: _describe_missing_permission,
    Finding.TENANT_STATE: _describe_state,
    Finding.TENANT_STATE_IGNORED: _describe_allowed_state,
    Finding.NOTHING_OWED: _fixed("No payment is due."),
    Finding.BILLING_STATUS: _describe_billing,
    Finding.BILLING_IGNORED: _describe_ignored_billing,
    Finding.BILLING_READ_ONLY: _describe_read_only,
    Finding.BILLING_NONE: _describe_unpaid,
    Finding.PAYMENT_OVERDUE: _describe_overdue,
    Finding.NO_FEATURE_REQUIRED: _describe_no_feature,
    Finding.FEATURE_IGNORED: _describe_ignored_feature,
    Finding.PLAN_FEATURE: _describe_plan_feature,
    Finding.ADDON_FEATURE: _describe_addon_feature,
    Finding.ADDONS_WITHOUT_FEATURE: _describe_other_addons,
    Finding.NO_ADDONS: _fixed("No add-ons."),
    Finding.OVERRIDE: _describe_override,
    Finding.NO_OVERRIDE: _fixed("No override."),
    Finding.NO_TRIAL: _fixed("No trial."),
    Finding.TRIAL_RUNNING: _describe_running_trial,
    Finding.TRIAL_ENDED: _describe_ended_trial,
    Finding.NO_FLAG: _fixed("No feature flag applies."),
    Finding.FLAG_EVALUATED: _describe_flag,
    Finding.FLAG_IGNORED: _describe_ignored_flag,
    Finding.FLAG_FEATURE_MISSING: _describe_required_feature,
    Finding.NO_LIMIT: _fixed("No limit applies."),
    Finding.LIMIT_NOT_COUNTED: _describe_uncounted_limit,
    Finding.LIMIT_USAGE: _describe_usage,
    Finding.LIMIT_WARNED: _describe_soft_limit,
    Finding.NO_OBSTACLE: _fixed("Nothing blocks it."),
    Finding.OBSTACLE: _describe_obstacle,
}


def _describe_feature_step(snapshot: EntitlementSnapshot, step: FeatureStep) -> str:
    if step.override is not None:
        return f"Turned {'on' if step.included else 'off'}{_format_override(step.override)}"
    assert step.offer is not None, "every other step names its plan or add-on"
    if step.kind is StepKind.ADDON:
        return f"{step.offer.label} includes it."
    if step.kind is StepKind.FALLBACK:
        return f"{_describe_fallback_reason(snapshot)}: {step.offer.label} applies."
    verb = "includes" if step.included else "doesn’t include"
    return f"{_format_plan(snapshot)} {verb} it."


def _describe_limit_step(chain: LimitChain, step: LimitStep) -> str:
    amount = format_amount(step.limit, chain.name)
    if step.override is not None:
        return f"Set to {amount}{_format_override(step.override)}"
    assert step.offer is not None, "every other step names its plan or add-on"
    if step.kind is StepKind.SEATS:
        return f"{amount} purchased."
    if step.kind is StepKind.ADDON:
        times = f"{step.quantity} × " if step.quantity > 1 else ""
        return f"{times}{step.offer.label}: {amount}."
    if step.kind is StepKind.FALLBACK:
        return f"{_describe_fallback_reason(chain.snapshot)}: {amount}, as in {step.offer.label}."
    return f"{_format_plan(chain.snapshot)}: {amount}."


def _describe_fallback_reason(snapshot: EntitlementSnapshot) -> str:
    if snapshot.billing_status == "none":
        return STATUS_TEXTS["none"]
    return f"The trial ended on {_format_day(snapshot.trial_ends_at)}"


def _get_limit_chain(traced: TracedLine) -> LimitChain:
    assert isinstance(traced.line.detail, LimitChain)
    return traced.line.detail


def _format_plan(snapshot: EntitlementSnapshot) -> str:
    since = f" (since {_format_day(snapshot.assignment.starts_at)})" if snapshot.assignment else ""
    return f"{snapshot.offer.label}{since}"


def _format_since(snapshot: EntitlementSnapshot) -> str:
    return f" since {_format_day(snapshot.billing.starts_at)}" if snapshot.billing else ""


def _format_override(row: TenantOverride) -> str:
    """How long it applies, who set it and why."""
    until = f" until {_format_day(row.ends_at)}" if row.ends_at else ""
    return f"{until}, by {row.by_name}: {_end_sentence(row.reason)}"


def _format_day(at: datetime | None) -> str:
    return f"{at:%-d %B %Y}" if at else "an unknown day"


def _end_sentence(reason: str) -> str:
    """A person's reason, with a full stop where it has none."""
    return reason if reason.endswith((".", "?", "…")) else f"{reason}."
