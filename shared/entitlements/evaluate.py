"""The evaluator of decisions: for each layer its finding, its verdict and the source row.

The first layer that refuses decides. Plan, add-ons and overrides say what a tenant is entitled to; the tenant's state,
billing, trial and feature flags can only take something away. `compiled_rights` keeps the answers of these layers for
`access.decision.decide`, and `explain` writes the lines out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from shared.access.actions import Action
from shared.access.decision import DECISION_BY_REASON, Decision
from shared.access.refusal_codes import Reason
from shared.entitlements.catalog import PlanOffer
from shared.entitlements.entitlement_chains import (
    REGISTRY_SOURCE,
    Entitlements,
    LimitChain,
    find_addon,
)
from shared.entitlements.flag_evaluation import FlagEvaluation, FlagProvider, build_target
from shared.entitlements.models import TenantOverride

STATE_REASONS = {
    "deleted": Reason.TENANT_DELETED,
    "pending_verification": Reason.TENANT_UNVERIFIED,
    "suspended": Reason.TENANT_SUSPENDED,
}
LineDetail = PlanOffer | TenantOverride | FlagEvaluation | LimitChain | str | None


class Layer(StrEnum):
    """In the order in which they are evaluated."""

    PERMISSION = "permission"
    TENANT = "tenant"
    BILLING = "billing"
    PLAN = "plan"
    ADDONS = "addons"
    OVERRIDE = "override"
    TRIAL = "trial"
    FLAG = "flag"
    LIMIT = "limit"
    OBJECT = "object"


class Verdict(StrEnum):
    YES = "yes"
    NO = "no"  # refuses
    WARN = "warn"  # allows, for now
    IDLE = "idle"  # does not apply
    OVERRULED = "overruled"  # a later layer says the opposite


class Finding(StrEnum):
    """What a layer found. `explain` has a sentence for each."""

    PERMISSION_HELD = "permission_held"
    PERMISSION_MISSING = "permission_missing"
    TENANT_STATE = "tenant_state"
    TENANT_STATE_IGNORED = "tenant_state_ignored"
    NOTHING_OWED = "nothing_owed"
    BILLING_STATUS = "billing_status"
    BILLING_IGNORED = "billing_ignored"
    BILLING_READ_ONLY = "billing_read_only"
    BILLING_NONE = "billing_none"
    PAYMENT_OVERDUE = "payment_overdue"
    NO_FEATURE_REQUIRED = "no_feature_required"
    FEATURE_IGNORED = "feature_ignored"
    PLAN_FEATURE = "plan_feature"
    ADDON_FEATURE = "addon_feature"
    ADDONS_WITHOUT_FEATURE = "addons_without_feature"
    NO_ADDONS = "no_addons"
    OVERRIDE = "override"
    NO_OVERRIDE = "no_override"
    NO_TRIAL = "no_trial"
    TRIAL_RUNNING = "trial_running"
    TRIAL_ENDED = "trial_ended"
    NO_FLAG = "no_flag"
    FLAG_EVALUATED = "flag_evaluated"
    FLAG_IGNORED = "flag_ignored"
    FLAG_FEATURE_MISSING = "flag_feature_missing"
    NO_LIMIT = "no_limit"
    LIMIT_NOT_COUNTED = "limit_not_counted"
    LIMIT_USAGE = "limit_usage"
    LIMIT_WARNED = "limit_warned"
    NO_OBSTACLE = "no_obstacle"
    OBSTACLE = "obstacle"


@dataclass(frozen=True, slots=True)
class AccessSubject:
    """A person and the state of the tenant, with the rows that say so."""

    person_name: str  # as in "Max Brandt"
    role_name: str  # "" without a role
    permissions: frozenset[str]
    role_source_id: str = REGISTRY_SOURCE
    state: str = "active"
    state_source_id: str = REGISTRY_SOURCE
    ended_state: str = ""  # "removed" or "deactivated", of a former member


class EvaluationInputs(NamedTuple):
    """Everything that a decision depends on. `used` and `obstacle` as in `decide`."""

    action: Action
    subject: AccessSubject
    entitlements: Entitlements
    provider: FlagProvider
    used: int | None = None
    obstacle: str = ""


class TraceLine(NamedTuple):
    layer: Layer
    verdict: Verdict
    source_id: str  # id of the row, or "registry"
    finding: Finding
    detail: LineDetail = None  # what was found, where the inputs alone do not say it
    reason: Reason = Reason.ALLOWED  # of the decision, if this line makes it


def _build_idle_line(layer: Layer, finding: Finding, verdict: Verdict = Verdict.IDLE) -> TraceLine:
    return TraceLine(layer, verdict, REGISTRY_SOURCE, finding)


# Made once: most lines of most decisions.
NOTHING_OWED_LINE = _build_idle_line(Layer.BILLING, Finding.NOTHING_OWED, Verdict.YES)
ADDONS_IDLE_LINE = _build_idle_line(Layer.ADDONS, Finding.NO_FEATURE_REQUIRED)
OVERRIDE_IDLE_LINE = _build_idle_line(Layer.OVERRIDE, Finding.NO_FEATURE_REQUIRED)
OTHER_ADDONS_LINE = _build_idle_line(Layer.ADDONS, Finding.ADDONS_WITHOUT_FEATURE)
NO_ADDONS_LINE = _build_idle_line(Layer.ADDONS, Finding.NO_ADDONS)
NO_OVERRIDE_LINE = _build_idle_line(Layer.OVERRIDE, Finding.NO_OVERRIDE)
NO_FLAG_LINE = _build_idle_line(Layer.FLAG, Finding.NO_FLAG)
NO_LIMIT_LINE = _build_idle_line(Layer.LIMIT, Finding.NO_LIMIT)
NO_OBSTACLE_LINE = _build_idle_line(Layer.OBJECT, Finding.NO_OBSTACLE)


class DecisionTrace(NamedTuple):
    inputs: EvaluationInputs
    decision: Decision
    lines: tuple[TraceLine, ...]

    @property
    def at(self) -> datetime:
        return self.inputs.entitlements.snapshot.at

    @property
    def decided_by(self) -> Layer | None:
        return next((line.layer for line in self.lines if line.verdict is Verdict.NO), None)


def trace_decision(inputs: EvaluationInputs) -> DecisionTrace:
    """All lines, and the decision that `decide` makes of the same facts."""
    lines = tuple(evaluate(inputs))
    return DecisionTrace(inputs, DECISION_BY_REASON[get_reason(lines)], lines)


def evaluate(inputs: EvaluationInputs) -> Iterator[TraceLine]:
    """One line for each layer, in the order of `Layer`, evaluated lazily."""
    yield _check_permission(inputs)
    yield from evaluate_tenant_layers(inputs)
    yield _check_limit(inputs)
    yield _check_object(inputs)


def evaluate_tenant_layers(inputs: EvaluationInputs) -> Iterator[TraceLine]:
    """The layers that do not depend on the person, on the use of a limit or on an object."""
    yield _check_tenant_state(inputs)
    yield _check_billing(inputs)
    yield from _check_entitlement(inputs)
    yield _check_trial(inputs)
    yield _check_flag(inputs)


def get_reason(lines: Iterable[TraceLine]) -> Reason:
    """Of the first line that refuses, or else of the last line that warns."""
    reason = Reason.ALLOWED
    for line in lines:
        if line.verdict is Verdict.NO:
            return line.reason
        if line.verdict is Verdict.WARN:
            reason = line.reason
    return reason


def _check_permission(inputs: EvaluationInputs) -> TraceLine:
    layer, source_id = Layer.PERMISSION, inputs.subject.role_source_id
    if inputs.action.permission in inputs.subject.permissions:
        return TraceLine(layer, Verdict.YES, source_id, Finding.PERMISSION_HELD)
    finding, reason = Finding.PERMISSION_MISSING, Reason.MISSING_PERMISSION
    return TraceLine(layer, Verdict.NO, source_id, finding, reason=reason)


def _check_tenant_state(inputs: EvaluationInputs) -> TraceLine:
    layer, subject = Layer.TENANT, inputs.subject
    reason, source_id = STATE_REASONS.get(subject.state), subject.state_source_id
    if reason is None:
        return TraceLine(layer, Verdict.YES, source_id, Finding.TENANT_STATE)
    if inputs.action.allowed_when_unverified and reason is Reason.TENANT_UNVERIFIED:
        return TraceLine(layer, Verdict.YES, source_id, Finding.TENANT_STATE_IGNORED)
    return TraceLine(layer, Verdict.NO, source_id, Finding.TENANT_STATE, reason=reason)


def _check_billing(inputs: EvaluationInputs) -> TraceLine:
    action, layer, row = inputs.action, Layer.BILLING, inputs.entitlements.snapshot.billing
    if row is None:
        return NOTHING_OWED_LINE
    status = row.status
    if status == "active":
        return TraceLine(layer, Verdict.YES, row.id, Finding.BILLING_STATUS)
    if action.allowed_when_unpaid:
        return TraceLine(layer, Verdict.YES, row.id, Finding.BILLING_IGNORED)
    if status == "read_only" and action.writes:
        finding, reason = Finding.BILLING_READ_ONLY, Reason.BILLING_READ_ONLY
        return TraceLine(layer, Verdict.NO, row.id, finding, reason=reason)
    if status == "none" and action.feature and not inputs.entitlements.is_included(action.feature):
        finding, reason = Finding.BILLING_NONE, Reason.BILLING_NONE
        return TraceLine(layer, Verdict.NO, row.id, finding, reason=reason)
    if status == "grace" and action.writes:
        finding, reason = Finding.PAYMENT_OVERDUE, Reason.BILLING_GRACE
        return TraceLine(layer, Verdict.WARN, row.id, finding, reason=reason)
    return TraceLine(layer, Verdict.YES, row.id, Finding.BILLING_STATUS)


def _check_entitlement(inputs: EvaluationInputs) -> Iterator[TraceLine]:
    """Plan, add-ons and override: which of them includes the feature, or removes it."""
    if inputs.action.feature and not inputs.action.allowed_when_unpaid:
        entitled = inputs.entitlements.is_entitled(inputs.action.feature)
        yield _check_plan(inputs, entitled=entitled)
        yield _check_addons(inputs, entitled=entitled)
        yield _check_override(inputs, entitled=entitled)
        return
    finding = Finding.FEATURE_IGNORED if inputs.action.feature else Finding.NO_FEATURE_REQUIRED
    version_id = inputs.entitlements.snapshot.offer.id
    yield TraceLine(Layer.PLAN, Verdict.IDLE, version_id, finding)
    yield ADDONS_IDLE_LINE
    yield OVERRIDE_IDLE_LINE


def _check_plan(inputs: EvaluationInputs, *, entitled: bool) -> TraceLine:
    feature, snapshot = inputs.action.feature, inputs.entitlements.snapshot
    layer, version_id, finding = Layer.PLAN, snapshot.offer.id, Finding.PLAN_FEATURE
    if feature in snapshot.offer.features and entitled:
        return TraceLine(layer, Verdict.YES, version_id, finding)
    if entitled or ("feature", feature) in snapshot.overrides:
        return TraceLine(layer, Verdict.OVERRULED, version_id, finding)
    return TraceLine(layer, Verdict.NO, version_id, finding, reason=Reason.NOT_IN_PLAN)


def _check_addons(inputs: EvaluationInputs, *, entitled: bool) -> TraceLine:
    layer, snapshot = Layer.ADDONS, inputs.entitlements.snapshot
    addon = find_addon(snapshot, inputs.action.feature)
    if addon is not None:
        row, offer = addon
        verdict = Verdict.YES if entitled else Verdict.OVERRULED
        return TraceLine(layer, verdict, row.id, Finding.ADDON_FEATURE, offer)
    return OTHER_ADDONS_LINE if snapshot.addons else NO_ADDONS_LINE


def _check_override(inputs: EvaluationInputs, *, entitled: bool) -> TraceLine:
    layer, row = (
        Layer.OVERRIDE,
        inputs.entitlements.snapshot.overrides.get(("feature", inputs.action.feature)),
    )
    if row is None:
        return NO_OVERRIDE_LINE
    if entitled:
        return TraceLine(layer, Verdict.YES, row.id, Finding.OVERRIDE, row)
    return TraceLine(layer, Verdict.NO, row.id, Finding.OVERRIDE, row, Reason.NOT_IN_PLAN)


def _check_trial(inputs: EvaluationInputs) -> TraceLine:
    action, layer, snapshot = inputs.action, Layer.TRIAL, inputs.entitlements.snapshot
    source_id = snapshot.assignment.id if snapshot.assignment else REGISTRY_SOURCE
    if snapshot.trial_ends_at is None:
        return TraceLine(layer, Verdict.IDLE, source_id, Finding.NO_TRIAL)
    if not snapshot.trial_ended:
        return TraceLine(layer, Verdict.YES, source_id, Finding.TRIAL_RUNNING)
    lost = action.feature and action.feature not in inputs.entitlements.fallback.features
    if lost and not action.allowed_when_unpaid:
        finding, reason = Finding.TRIAL_ENDED, Reason.TRIAL_ENDED
        return TraceLine(layer, Verdict.NO, source_id, finding, reason=reason)
    return TraceLine(layer, Verdict.YES, source_id, Finding.TRIAL_ENDED)


def _check_flag(inputs: EvaluationInputs) -> TraceLine:
    action, layer, entitlements = inputs.action, Layer.FLAG, inputs.entitlements
    if not action.flag:
        return NO_FLAG_LINE
    rollout = entitlements.catalog.flags.get(action.flag)
    required = rollout.flag.required_feature if rollout else ""
    missing = required not in ("", action.feature) and not entitlements.is_included(required)
    if rollout and missing and not action.allowed_when_unpaid:
        finding, reason = Finding.FLAG_FEATURE_MISSING, Reason.NOT_IN_PLAN
        return TraceLine(layer, Verdict.NO, rollout.flag.id, finding, required, reason)
    snapshot = entitlements.snapshot
    evaluation = inputs.provider.evaluate(action.flag, build_target(snapshot), snapshot.at)
    source_id, finding = evaluation.source_id, Finding.FLAG_EVALUATED
    if evaluation.is_on:
        return TraceLine(layer, Verdict.YES, source_id, finding, evaluation)
    if action.allowed_when_unpaid:
        return TraceLine(layer, Verdict.YES, source_id, Finding.FLAG_IGNORED, evaluation)
    return TraceLine(layer, Verdict.NO, source_id, finding, evaluation, Reason.FLAG_OFF)


def _check_limit(inputs: EvaluationInputs) -> TraceLine:
    layer, used = Layer.LIMIT, inputs.used
    if not inputs.action.limit:
        return NO_LIMIT_LINE
    chain = inputs.entitlements.limit(inputs.action.limit)
    source_id, limit = chain.source_id, chain.limit
    if used is None:
        return TraceLine(layer, Verdict.IDLE, source_id, Finding.LIMIT_NOT_COUNTED, chain)
    if limit.amount is None or used < limit.amount:
        return TraceLine(layer, Verdict.YES, source_id, Finding.LIMIT_USAGE, chain)
    if limit.hard:
        finding, reason = Finding.LIMIT_USAGE, Reason.LIMIT_REACHED
        return TraceLine(layer, Verdict.NO, source_id, finding, chain, reason)
    finding, reason = Finding.LIMIT_WARNED, Reason.LIMIT_WARNED
    return TraceLine(layer, Verdict.WARN, source_id, finding, chain, reason)


def _check_object(inputs: EvaluationInputs) -> TraceLine:
    """Refuses when the caller has named an obstacle in the object's state."""
    layer = Layer.OBJECT
    if not inputs.obstacle:
        return NO_OBSTACLE_LINE
    finding, reason = Finding.OBSTACLE, Reason.OBJECT_STATE
    return TraceLine(layer, Verdict.NO, REGISTRY_SOURCE, finding, reason=reason)
