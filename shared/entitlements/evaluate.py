"""The evaluator of decisions: for each layer its finding, its verdict and the source row.

The first layer that refuses decides. Plan, add-ons and overrides say what a tenant is entitled to; the tenant's state,
billing, trial and feature flags can only take something away. `compiled_rights` keeps the answers of these layers for
`access.decision.decide`, and `explain` writes the lines out.

From billing to flag, the layers see nothing of who asks: `TenantLayers` evaluates them once and keeps their lines.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

from shared.access.actions import Action, Requirements
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
MAX_PEOPLE = (
    4_096  # people whose lines are kept; above that those of the least recently asked one are dropped
)
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

    def limit_permissions(self, scopes: frozenset[str]) -> "AccessSubject":
        """The same with no more permissions than these."""
        return AccessSubject(
            self.person_name,
            self.role_name,
            self.permissions & scopes,
            self.role_source_id,
            self.state,
            self.state_source_id,
            self.ended_state,
        )


class TraceLine(NamedTuple):
    layer: Layer
    verdict: Verdict
    source_id: str  # id of the row, or "registry"
    finding: Finding
    detail: LineDetail = None  # what was found, where the inputs alone do not say it
    reason: Reason = Reason.ALLOWED  # of the decision, if this line makes it


class TraceLines(NamedTuple):
    """Lines of several layers, and what they decide together."""

    lines: tuple[TraceLine, ...]
    verdict: Verdict  # NO if one refuses, WARN if one warns, else YES
    reason: Reason


class LimitLines(NamedTuple):
    """The lines of one limit. Usage says which of them applies."""

    amount: int | None  # None: unlimited
    uncounted: TraceLine
    within: TraceLine
    reached: TraceLine


class Judgement(Protocol):
    """A line, or several together."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> Reason: ...


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
OBSTACLE_LINE = TraceLine(
    Layer.OBJECT, Verdict.NO, REGISTRY_SOURCE, Finding.OBSTACLE, reason=Reason.OBJECT_STATE
)


# A named tuple by its fields in order, in half the time of its own constructor.
_new_tuple = tuple.__new__
# Bound once, as are the kinds of lines: Python 3.11 looks a member of an enum up slowly.
_YES, _NO, _WARN, _ALLOWED = Verdict.YES, Verdict.NO, Verdict.WARN, Reason.ALLOWED


class LineKind(NamedTuple):
    """A line without its row."""

    layer: Layer
    verdict: Verdict
    finding: Finding
    reason: Reason = Reason.ALLOWED


_PAID = LineKind(Layer.BILLING, Verdict.YES, Finding.BILLING_STATUS)
_BILLING_IGNORED = LineKind(Layer.BILLING, Verdict.YES, Finding.BILLING_IGNORED)
_READ_ONLY = LineKind(Layer.BILLING, Verdict.NO, Finding.BILLING_READ_ONLY, Reason.BILLING_READ_ONLY)
_UNPAID = LineKind(Layer.BILLING, Verdict.NO, Finding.BILLING_NONE, Reason.BILLING_NONE)
_OVERDUE = LineKind(Layer.BILLING, Verdict.WARN, Finding.PAYMENT_OVERDUE, Reason.BILLING_GRACE)
_FEATURE_IGNORED = LineKind(Layer.PLAN, Verdict.IDLE, Finding.FEATURE_IGNORED)
_NO_FEATURE_REQUIRED = LineKind(Layer.PLAN, Verdict.IDLE, Finding.NO_FEATURE_REQUIRED)
_IN_PLAN = LineKind(Layer.PLAN, Verdict.YES, Finding.PLAN_FEATURE)
_PLAN_OVERRULED = LineKind(Layer.PLAN, Verdict.OVERRULED, Finding.PLAN_FEATURE)
_NOT_IN_PLAN = LineKind(Layer.PLAN, Verdict.NO, Finding.PLAN_FEATURE, Reason.NOT_IN_PLAN)
_IN_ADDON = LineKind(Layer.ADDONS, Verdict.YES, Finding.ADDON_FEATURE)
_ADDON_OVERRULED = LineKind(Layer.ADDONS, Verdict.OVERRULED, Finding.ADDON_FEATURE)
_TURNED_ON = LineKind(Layer.OVERRIDE, Verdict.YES, Finding.OVERRIDE)
_TURNED_OFF = LineKind(Layer.OVERRIDE, Verdict.NO, Finding.OVERRIDE, Reason.NOT_IN_PLAN)
_NO_TRIAL = LineKind(Layer.TRIAL, Verdict.IDLE, Finding.NO_TRIAL)
_TRIAL_RUNNING = LineKind(Layer.TRIAL, Verdict.YES, Finding.TRIAL_RUNNING)
_TRIAL_LOST = LineKind(Layer.TRIAL, Verdict.NO, Finding.TRIAL_ENDED, Reason.TRIAL_ENDED)
_TRIAL_ENDED = LineKind(Layer.TRIAL, Verdict.YES, Finding.TRIAL_ENDED)
_FLAG_MISSING_FEATURE = LineKind(Layer.FLAG, Verdict.NO, Finding.FLAG_FEATURE_MISSING, Reason.NOT_IN_PLAN)
_FLAG_ON = LineKind(Layer.FLAG, Verdict.YES, Finding.FLAG_EVALUATED)
_FLAG_IGNORED = LineKind(Layer.FLAG, Verdict.YES, Finding.FLAG_IGNORED)
_FLAG_OFF = LineKind(Layer.FLAG, Verdict.NO, Finding.FLAG_EVALUATED, Reason.FLAG_OFF)
_UNCOUNTED = LineKind(Layer.LIMIT, Verdict.IDLE, Finding.LIMIT_NOT_COUNTED)
_WITHIN_LIMIT = LineKind(Layer.LIMIT, Verdict.YES, Finding.LIMIT_USAGE)
_LIMIT_REACHED = LineKind(Layer.LIMIT, Verdict.NO, Finding.LIMIT_USAGE, Reason.LIMIT_REACHED)
_LIMIT_WARNED = LineKind(Layer.LIMIT, Verdict.WARN, Finding.LIMIT_WARNED, Reason.LIMIT_WARNED)


def _build_line(kind: LineKind, source_id: str, detail: LineDetail = None) -> TraceLine:
    layer, verdict, finding, reason = kind
    return _new_tuple(TraceLine, (layer, verdict, source_id, finding, detail, reason))


class TenantLayers:
    """The layers of one tenant at one time that don't depend on the person, on usage or on an object.

    They are evaluated once for each kind of action. The lines are kept as long as this object, whose facts don't change.
    """

    __slots__ = ("_limit_lines", "_lines", "entitlements", "provider")

    def __init__(self, entitlements: Entitlements, provider: FlagProvider) -> None:
        self.entitlements, self.provider = entitlements, provider
        self._lines: dict[Requirements, TraceLines] = {}
        self._limit_lines: dict[str, LimitLines] = {}

    def __repr__(self) -> str:
        """The ids of its rows, by which the attack compares what two tenants get."""
        snapshot = self.entitlements.snapshot
        facts = (*snapshot.overrides.values(), *snapshot.flag_overrides.values(), *snapshot.traits.values())
        rows = (snapshot.assignment, snapshot.billing, *(row for row, _ in snapshot.addons), *facts)
        ids = sorted(row.id for row in rows if row is not None)
        return f"TenantLayers({snapshot.tenant_id!r}, {snapshot.offer.id!r}, {ids})"

    def evaluate(self, requirements: Requirements) -> Iterator[TraceLine]:
        """One line for each layer from billing to flag, evaluated lazily and not kept."""
        return evaluate_tenant_layers(requirements, self.entitlements, self.provider)

    def get_lines(self, requirements: Requirements) -> TraceLines:
        """The same lines, kept."""
        lines = self._lines.get(requirements)
        if lines is None:
            lines = self._lines[requirements] = _join_lines(tuple(self.evaluate(requirements)))
        return lines

    def get_limit_lines(self, name: str) -> LimitLines:
        lines = self._limit_lines.get(name)
        if lines is None:
            lines = self._limit_lines[name] = _build_limit_lines(self.entitlements.limit(name))
        return lines


class EvaluationInputs(NamedTuple):
    """Everything that a decision depends on."""

    action: Action
    subject: AccessSubject
    tenant: TenantLayers
    used: int | None
    obstacle: str

    @property
    def entitlements(self) -> Entitlements:
        return self.tenant.entitlements


class DecisionTrace(NamedTuple):
    inputs: EvaluationInputs
    decision: Decision
    lines: tuple[TraceLine, ...]

    @property
    def decided_by(self) -> Layer | None:
        return next((line.layer for line in self.lines if line.verdict is Verdict.NO), None)


def trace_decision(
    action: Action,
    subject: AccessSubject,
    tenant: TenantLayers,
    used: int | None = None,
    obstacle: str = "",
) -> DecisionTrace:
    """One line for each layer, in the order of `Layer`, and the decision that `decide` makes of the same facts.

    `used` and `obstacle` as in `decide`.
    """
    permission_line = _build_permission_line(subject.role_source_id, action.permission in subject.permissions)
    state_line = check_tenant_state(action, subject)
    kept = tenant.get_lines(action.requirements)
    limit_line = _check_limit(action, tenant, used) if action.limit else NO_LIMIT_LINE
    object_line = OBSTACLE_LINE if obstacle else NO_OBSTACLE_LINE
    reason = kept.reason
    # Most decisions: each of the five allows, so there is no first refusal to look for.
    if not (permission_line.reason is state_line.reason is reason is limit_line.reason is object_line.reason):
        reason = get_reason((permission_line, state_line, kept, limit_line, object_line))
    lines = (permission_line, state_line, *kept.lines, limit_line, object_line)
    inputs = _new_tuple(EvaluationInputs, (action, subject, tenant, used, obstacle))
    return _new_tuple(DecisionTrace, (inputs, DECISION_BY_REASON[reason], lines))


def evaluate_tenant_layers(
    requirements: Requirements, entitlements: Entitlements, provider: FlagProvider
) -> Iterator[TraceLine]:
    """Evaluate the layers from billing to flag, lazily. They don't depend on the person."""
    yield _check_billing(requirements, entitlements)
    yield from _check_entitlement(requirements, entitlements)
    yield _check_trial(requirements, entitlements)
    yield _check_flag(requirements, entitlements, provider)


def get_reason(judgements: Iterable[Judgement]) -> Reason:
    """Of the first one that refuses, or else of the last one that warns."""
    warning = _ALLOWED
    for judgement in judgements:
        reason = judgement.reason
        if reason is _ALLOWED:
            continue
        if judgement.verdict is _NO:
            return reason
        if judgement.verdict is _WARN:
            warning = reason
    return warning


def _join_lines(lines: tuple[TraceLine, ...]) -> TraceLines:
    reason = get_reason(lines)
    verdict = _NO if not DECISION_BY_REASON[reason].allowed else _YES if reason is _ALLOWED else _WARN
    return TraceLines(lines, verdict, reason)


@lru_cache(MAX_PEOPLE)
def _build_permission_line(source_id: str, held: bool) -> TraceLine:
    layer = Layer.PERMISSION
    if held:
        return TraceLine(layer, Verdict.YES, source_id, Finding.PERMISSION_HELD)
    finding, reason = Finding.PERMISSION_MISSING, Reason.MISSING_PERMISSION
    return TraceLine(layer, Verdict.NO, source_id, finding, reason=reason)


def check_tenant_state(action: Action, subject: AccessSubject) -> TraceLine:
    state = subject.state
    is_ignored = state != "active" and (
        (state == "pending_verification" and action.allowed_when_unverified)
        or (state == "suspended" and action.allowed_when_suspended)
    )
    return _build_state_line(state, subject.state_source_id, is_ignored)


@lru_cache(MAX_PEOPLE)
def _build_state_line(state: str, source_id: str, is_ignored: bool) -> TraceLine:
    layer, reason = Layer.TENANT, STATE_REASONS.get(state)
    if reason is None:
        return TraceLine(layer, Verdict.YES, source_id, Finding.TENANT_STATE)
    if is_ignored:
        return TraceLine(layer, Verdict.YES, source_id, Finding.TENANT_STATE_IGNORED)
    return TraceLine(layer, Verdict.NO, source_id, Finding.TENANT_STATE, reason=reason)


def _check_billing(requirements: Requirements, entitlements: Entitlements) -> TraceLine:
    row = entitlements.snapshot.billing
    if row is None:
        return NOTHING_OWED_LINE
    return _build_line(_find_billing_kind(row.status, requirements, entitlements), row.id)


def _find_billing_kind(status: str, requirements: Requirements, entitlements: Entitlements) -> LineKind:
    if status == "active":
        return _PAID
    if requirements.allowed_when_unpaid:
        return _BILLING_IGNORED
    if status == "read_only" and requirements.writes:
        return _READ_ONLY
    if status == "none" and requirements.feature and not entitlements.is_included(requirements.feature):
        return _UNPAID
    if status == "grace" and requirements.writes:
        return _OVERDUE
    return _PAID


def _check_entitlement(requirements: Requirements, entitlements: Entitlements) -> Iterator[TraceLine]:
    """Plan, add-ons and override: which of them includes the feature, or removes it."""
    feature = requirements.feature
    if feature and not requirements.allowed_when_unpaid:
        entitled = entitlements.is_entitled(feature)
        yield _check_plan(feature, entitlements, entitled=entitled)
        yield _check_addons(feature, entitlements, entitled=entitled)
        yield _check_override(feature, entitlements, entitled=entitled)
        return
    kind = _FEATURE_IGNORED if feature else _NO_FEATURE_REQUIRED
    yield _build_line(kind, entitlements.snapshot.offer.id)
    yield ADDONS_IDLE_LINE
    yield OVERRIDE_IDLE_LINE


def _check_plan(feature: str, entitlements: Entitlements, *, entitled: bool) -> TraceLine:
    snapshot = entitlements.snapshot
    kind = _NOT_IN_PLAN
    if feature in snapshot.offer.features and entitled:
        kind = _IN_PLAN
    elif entitled or ("feature", feature) in snapshot.overrides:
        kind = _PLAN_OVERRULED
    return _build_line(kind, snapshot.offer.id)


def _check_addons(feature: str, entitlements: Entitlements, *, entitled: bool) -> TraceLine:
    snapshot = entitlements.snapshot
    addon = find_addon(snapshot, feature)
    if addon is not None:
        row, offer = addon
        return _build_line(_IN_ADDON if entitled else _ADDON_OVERRULED, row.id, offer)
    return OTHER_ADDONS_LINE if snapshot.addons else NO_ADDONS_LINE


def _check_override(feature: str, entitlements: Entitlements, *, entitled: bool) -> TraceLine:
    row = entitlements.snapshot.overrides.get(("feature", feature))
    if row is None:
        return NO_OVERRIDE_LINE
    return _build_line(_TURNED_ON if entitled else _TURNED_OFF, row.id, row)


def _check_trial(requirements: Requirements, entitlements: Entitlements) -> TraceLine:
    snapshot, kind = entitlements.snapshot, _TRIAL_ENDED
    if snapshot.trial_ends_at is None:
        kind = _NO_TRIAL
    elif not snapshot.trial_ended:
        kind = _TRIAL_RUNNING
    elif requirements.feature and not requirements.allowed_when_unpaid:
        is_lost = requirements.feature not in entitlements.fallback.features
        kind = _TRIAL_LOST if is_lost else _TRIAL_ENDED
    return _build_line(kind, snapshot.assignment.id if snapshot.assignment else REGISTRY_SOURCE)


def _check_flag(requirements: Requirements, entitlements: Entitlements, provider: FlagProvider) -> TraceLine:
    if not requirements.flag:
        return NO_FLAG_LINE
    rollout = entitlements.catalog.flags.get(requirements.flag)
    required = rollout.flag.required_feature if rollout else ""
    missing = required not in ("", requirements.feature) and not entitlements.is_included(required)
    if rollout and missing and not requirements.allowed_when_unpaid:
        return _build_line(_FLAG_MISSING_FEATURE, rollout.flag.id, required)
    snapshot = entitlements.snapshot
    evaluation = provider.evaluate(requirements.flag, build_target(snapshot), snapshot.at)
    kind = _FLAG_OFF
    if evaluation.is_on:
        kind = _FLAG_ON
    elif requirements.allowed_when_unpaid:
        kind = _FLAG_IGNORED
    return _build_line(kind, evaluation.source_id, evaluation)


def _check_limit(action: Action, tenant: TenantLayers, used: int | None) -> TraceLine:
    lines = tenant.get_limit_lines(action.limit)
    if used is None:
        return lines.uncounted
    return lines.within if lines.amount is None or used < lines.amount else lines.reached


def _build_limit_lines(chain: LimitChain) -> LimitLines:
    source_id, limit = chain.source_id, chain.limit
    return LimitLines(
        amount=limit.amount,
        uncounted=_build_line(_UNCOUNTED, source_id, chain),
        within=_build_line(_WITHIN_LIMIT, source_id, chain),
        reached=_build_line(_LIMIT_REACHED if limit.hard else _LIMIT_WARNED, source_id, chain),
    )
