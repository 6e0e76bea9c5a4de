"""The same decision as a trace: one line per layer, with what was found, the verdict and the row it came from.

Every layer is asked for itself, so changing one layer changes that line only. The first line that says no decides.
Nothing of this runs when something is merely decided (`access.decision`), and sentences are written when they are read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from shared.access.actions import Action
from shared.access.decision import ALLOWED, DECISION_BY_REASON, Decision
from shared.access.refusal_codes import Reason
from shared.core.context import Limit
from shared.entitlements import evaluate
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import FlagEvaluation, FlagProvider
from shared.entitlements.limits import LIMITS, LimitPeriod
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot

REGISTRY_SOURCE = "registry"  # source of what code says and no row does
TextFunction = Callable[..., str]


class Layer(StrEnum):
    """In the order in which they are asked."""

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
    IDLE = "idle"  # not asked
    OVERRULED = "overruled"  # said no, and a later layer knows better


class TraceLine(NamedTuple):
    layer: Layer
    verdict: Verdict
    source_id: str  # id of the row, or "registry"
    describe: TextFunction  # of what is in `about`
    arguments: tuple[Any, ...] = ()
    reason: Reason = Reason.ALLOWED  # of the decision, if this line makes it

    @property
    def question(self) -> str:
        question = _QUESTIONS[self.layer]
        return question if isinstance(question, str) else question(*self.arguments)

    @property
    def text(self) -> str:
        """A sentence."""
        return self.describe(*self.arguments)


class DecisionTrace(NamedTuple):
    action: str
    at: datetime
    decision: Decision
    lines: tuple[TraceLine, ...]

    @property
    def decided_by(self) -> Layer | None:
        return next((line.layer for line in self.lines if line.verdict is Verdict.NO), None)


@dataclass(frozen=True, slots=True)
class AccessSubject:
    """Who asks and how the tenant stands, with the rows that say so."""

    person_name: str  # as in "Max Brandt"
    role_name: str  # name, "" for nobody
    permissions: frozenset[str]
    role_source_id: str = REGISTRY_SOURCE
    state: str = "active"
    state_source_id: str = REGISTRY_SOURCE
    ended_state: str = ""  # "removed" or "deactivated": who was a member once


def explain_decision(
    standing: AccessSubject,
    snapshot: EntitlementSnapshot,
    catalog: Catalog,
    provider: FlagProvider,
    action: Action,
    *,
    used: int | None = None,
    obstacle: str = "",
) -> DecisionTrace:
    """`used` and `obstacle` as in `decide`. `facts` are of the time that is asked about."""
    lines = (
        _check_permission(standing, action),
        _check_tenant_state(standing, action),
        _check_billing(snapshot, catalog, action),
        *_check_entitlement(snapshot, action),
        _check_trial(snapshot, catalog, action),
        _check_flag(snapshot, catalog, provider, action),
        _check_limit(snapshot, catalog, action, used),
        _check_object(obstacle),
    )
    decision = ALLOWED
    for line in lines:
        if line.verdict is Verdict.NO:
            decision = DECISION_BY_REASON[line.reason]
            break
        if line.verdict is Verdict.WARN:  # the limit warns after the bill does, so its word is the last
            decision = DECISION_BY_REASON[line.reason]
    return DecisionTrace(action.name, snapshot.at, decision, lines)


def _check_permission(standing: AccessSubject, action: Action) -> TraceLine:
    arguments = (standing, action)
    if action.permission in standing.permissions:
        return TraceLine(
            Layer.PERMISSION, Verdict.YES, standing.role_source_id, _describe_permission, arguments
        )
    return TraceLine(
        *(Layer.PERMISSION, Verdict.NO, standing.role_source_id, _describe_missing_permission, arguments),
        Reason.MISSING_PERMISSION,
    )


def _check_tenant_state(standing: AccessSubject, action: Action) -> TraceLine:
    blocked, source, arguments = (
        evaluate.STATE_REASONS.get(standing.state),
        standing.state_source_id,
        (standing,),
    )
    if blocked is None:
        return TraceLine(Layer.TENANT, Verdict.YES, source, _describe_state, arguments)
    if action.allowed_when_unverified and blocked is Reason.TENANT_UNVERIFIED:
        return TraceLine(Layer.TENANT, Verdict.YES, source, _describe_allowed_state, arguments)
    return TraceLine(Layer.TENANT, Verdict.NO, source, _describe_state, arguments, blocked)


def _check_billing(snapshot: EntitlementSnapshot, catalog: Catalog, action: Action) -> TraceLine:
    row = snapshot.billing
    if row is None:
        return PAID_LINE
    status, source = row.status, row.id
    if status == "active":
        return TraceLine(Layer.BILLING, Verdict.YES, source, _describe_billing, (snapshot,))
    if action.allowed_when_unpaid:
        return TraceLine(Layer.BILLING, Verdict.YES, source, _describe_billing_cleanup, (snapshot,))
    if status == "read_only" and action.writes:
        return TraceLine(
            Layer.BILLING, Verdict.NO, source, _describe_read_only, (snapshot,), Reason.BILLING_READ_ONLY
        )
    if status == "none" and action.feature:
        fallback = catalog.fallback_offer(snapshot.at)
        if action.feature not in fallback.features or not _is_entitled(snapshot, action.feature):
            return TraceLine(
                Layer.BILLING, Verdict.NO, source, _describe_unpaid, (snapshot, fallback), Reason.BILLING_NONE
            )
    if status == "grace" and action.writes:
        return TraceLine(
            Layer.BILLING, Verdict.WARN, source, _describe_overdue, (snapshot,), Reason.BILLING_GRACE
        )
    return TraceLine(Layer.BILLING, Verdict.YES, source, _describe_billing, (snapshot,))


def _check_entitlement(
    snapshot: EntitlementSnapshot, action: Action
) -> tuple[TraceLine, TraceLine, TraceLine]:
    """Plan, add-ons, override: which of them gives the feature, or takes it away."""
    feature, version = action.feature, snapshot.offer.id
    if not feature:
        return TraceLine(
            Layer.PLAN, Verdict.IDLE, version, _describe_no_feature, (snapshot,)
        ), *NOT_NEEDED_LINES
    if action.allowed_when_unpaid:
        return TraceLine(Layer.PLAN, Verdict.IDLE, version, _describe_cleanup, (snapshot,)), *NOT_NEEDED_LINES
    included = feature in snapshot.offer.features
    grant, row, is_entitled = (
        _find_addon(snapshot, feature),
        snapshot.overrides.get(("feature", feature)),
        _is_entitled(snapshot, feature),
    )

    arguments = (snapshot, feature)
    if included and is_entitled:
        plan = TraceLine(Layer.PLAN, Verdict.YES, version, _describe_plan_feature, arguments)
    elif is_entitled or row is not None:
        plan = TraceLine(Layer.PLAN, Verdict.OVERRULED, version, _describe_plan_feature, arguments)
    else:
        plan = TraceLine(
            Layer.PLAN, Verdict.NO, version, _describe_plan_feature, arguments, Reason.NOT_IN_PLAN
        )

    if grant is not None:
        verdict = Verdict.YES if is_entitled else Verdict.OVERRULED
        addon = TraceLine(Layer.ADDONS, verdict, grant[0].id, _describe_addon_feature, (grant[1], feature))
    else:
        addon = (
            TraceLine(Layer.ADDONS, Verdict.IDLE, REGISTRY_SOURCE, _describe_other_addons, (snapshot,))
            if snapshot.addons
            else NO_ADDONS_LINE
        )

    if row is None:
        return plan, addon, NO_OVERRIDE_LINE
    if is_entitled:
        return plan, addon, TraceLine(Layer.OVERRIDE, Verdict.YES, row.id, _describe_override, (row,))
    return (
        plan,
        addon,
        TraceLine(Layer.OVERRIDE, Verdict.NO, row.id, _describe_override, (row,), Reason.NOT_IN_PLAN),
    )


def _find_addon(snapshot: EntitlementSnapshot, feature: str) -> tuple[TenantAddon, PlanOffer] | None:
    return next((grant for grant in snapshot.addons if feature in grant[1].features), None)


def _is_entitled(snapshot: EntitlementSnapshot, feature: str) -> bool:
    """As in `compiled.entitled`, for one feature."""
    row = snapshot.overrides.get(("feature", feature))
    if row is not None:
        return bool(row.value)
    return feature in snapshot.offer.features or _find_addon(snapshot, feature) is not None


def _check_trial(snapshot: EntitlementSnapshot, catalog: Catalog, action: Action) -> TraceLine:
    source = snapshot.assignment.id if snapshot.assignment else REGISTRY_SOURCE
    if snapshot.trial_ends_at is None:
        return TraceLine(Layer.TRIAL, Verdict.IDLE, source, _describe_no_trial)
    if not snapshot.trial_ended:
        return TraceLine(Layer.TRIAL, Verdict.YES, source, _describe_running_trial, (snapshot,))
    arguments = (snapshot, catalog)
    if (
        action.feature
        and not action.allowed_when_unpaid
        and action.feature not in catalog.fallback_offer(snapshot.at).features
    ):
        return TraceLine(
            Layer.TRIAL, Verdict.NO, source, _describe_ended_trial, arguments, Reason.TRIAL_ENDED
        )
    return TraceLine(Layer.TRIAL, Verdict.YES, source, _describe_ended_trial, arguments)


def _check_flag(
    snapshot: EntitlementSnapshot, catalog: Catalog, provider: FlagProvider, action: Action
) -> TraceLine:
    if not action.flag:
        return NO_FLAG_LINE
    rollout = catalog.flags.get(action.flag)
    required = rollout.flag.required_feature if rollout else ""
    missing = (
        required not in ("", action.feature) and not build_feature_chain(snapshot, catalog, required).included
    )
    if rollout and missing and not action.allowed_when_unpaid:
        required_arguments = (action, required)
        return TraceLine(
            Layer.FLAG,
            Verdict.NO,
            rollout.flag.id,
            _describe_required_feature,
            required_arguments,
            Reason.NOT_IN_PLAN,
        )
    evaluation = provider.evaluate(action.flag, evaluate.build_target(snapshot), snapshot.at)
    arguments = (action, evaluation)
    if evaluation.is_on:
        return TraceLine(Layer.FLAG, Verdict.YES, evaluation.source_id, _describe_flag, arguments)
    if action.allowed_when_unpaid:
        return TraceLine(Layer.FLAG, Verdict.YES, evaluation.source_id, _describe_flag_cleanup, arguments)
    return TraceLine(Layer.FLAG, Verdict.NO, evaluation.source_id, _describe_flag, arguments, Reason.FLAG_OFF)


def _check_limit(
    snapshot: EntitlementSnapshot, catalog: Catalog, action: Action, used: int | None
) -> TraceLine:
    if not action.limit:
        return NO_LIMIT_LINE
    chain = build_limit_chain(snapshot, catalog, action.limit)
    source, limit, arguments = chain.source_id, chain.limit, (action.limit, chain, used)
    if used is None:
        return TraceLine(Layer.LIMIT, Verdict.IDLE, source, _describe_uncounted_limit, arguments)
    if limit.amount is None or used < limit.amount:
        return TraceLine(Layer.LIMIT, Verdict.YES, source, _describe_usage, arguments)
    if limit.hard:
        return TraceLine(Layer.LIMIT, Verdict.NO, source, _describe_usage, arguments, Reason.LIMIT_REACHED)
    return TraceLine(Layer.LIMIT, Verdict.WARN, source, _describe_soft_limit, arguments, Reason.LIMIT_WARNED)


def _check_object(obstacle: str) -> TraceLine:
    if not obstacle:
        return NO_OBSTACLE_LINE
    return TraceLine(Layer.OBJECT, Verdict.NO, REGISTRY_SOURCE, str, (obstacle,), Reason.OBJECT_STATE)


# ── what the lines say ───────────────────────────────────────────────────────────────────────────────────────────


def _build_permission_question(standing: AccessSubject, action: Action) -> str:
    return f"May {standing.person_name} {action.description}?"


def _build_limit_question(limit: str = "", *_: object) -> str:
    if not limit:
        return "Is there room?"
    unit = LIMITS[limit].singular
    return f"Is {'an' if unit[0] in 'aeiou' else 'a'} {unit} free?"


_QUESTIONS: dict[Layer, str | TextFunction] = {
    Layer.PERMISSION: _build_permission_question,
    Layer.TENANT: "Is the organisation open?",
    Layer.BILLING: "Is commercial access valid?",
    Layer.PLAN: "Does the plan include it?",
    Layer.ADDONS: "Does an add-on add it?",
    Layer.OVERRIDE: "Is it overridden for this tenant?",
    Layer.TRIAL: "Is the trial still running?",
    Layer.FLAG: "Is it exposed?",
    Layer.LIMIT: _build_limit_question,
    Layer.OBJECT: "Is the object in a state for it?",
}
_STATUS_TEXTS = {
    "active": "Nothing is owed",
    "grace": "A payment is overdue",
    "none": "Nothing is paid",
    "read_only": "Read-only",
}


def _describe_permission(standing: AccessSubject, action: Action) -> str:
    return f"{standing.role_name} has {action.permission}."


def _describe_missing_permission(standing: AccessSubject, action: Action) -> str:
    if standing.ended_state:
        return f"They were {standing.ended_state}, so no role counts."
    if not standing.role_name:
        return f"There is no role that could have {action.permission}."
    return f"{standing.role_name} does not have {action.permission}."


def _describe_state(standing: AccessSubject) -> str:
    return f"It is {standing.state.replace('_', ' ')}."


def _describe_allowed_state(standing: AccessSubject) -> str:
    return f"{_describe_state(standing)} This is possible before that."


def _describe_billing(snapshot: EntitlementSnapshot) -> str:
    return f"{_STATUS_TEXTS[snapshot.billing_status]}{_format_since(snapshot)}."


def _describe_billing_cleanup(snapshot: EntitlementSnapshot) -> str:
    return (
        f"{_STATUS_TEXTS[snapshot.billing_status]}{_format_since(snapshot)}; cleaning up is always possible."
    )


def _describe_read_only(snapshot: EntitlementSnapshot) -> str:
    return f"Read-only{_format_since(snapshot)}: nothing can be changed."


def _describe_unpaid(snapshot: EntitlementSnapshot, fallback: PlanOffer) -> str:
    return f"Nothing is paid{_format_since(snapshot)}: what remains is {fallback.label}."


def _describe_overdue(snapshot: EntitlementSnapshot) -> str:
    until = (
        f" until {_format_day(snapshot.billing.ends_at)}"
        if snapshot.billing and snapshot.billing.ends_at
        else ""
    )
    return f"A payment is overdue{_format_since(snapshot)}; everything works{until}."


def _format_since(snapshot: EntitlementSnapshot) -> str:
    return f" since {_format_day(snapshot.billing.starts_at)}" if snapshot.billing else ""


def _describe_no_feature(snapshot: EntitlementSnapshot) -> str:
    return f"No feature is needed. {_format_plan(snapshot)}."


def _describe_cleanup(snapshot: EntitlementSnapshot) -> str:
    return f"No feature is needed to clean up. {_format_plan(snapshot)}."


def _describe_plan_feature(snapshot: EntitlementSnapshot, feature: str) -> str:
    word = "includes" if feature in snapshot.offer.features else "does not include"
    return f"{_format_plan(snapshot)} {word} {FEATURES[feature].title}."


def _describe_addon_feature(addon: PlanOffer, feature: str) -> str:
    return f"{addon.label} adds {FEATURES[feature].title}."


def _describe_other_addons(snapshot: EntitlementSnapshot) -> str:
    return f"None of {len(snapshot.addons)} add-ons does."


def _describe_override(row: TenantOverride) -> str:
    return (
        f"{'On' if row.value else 'Off'}{_format_until(row)}, by {row.by_name}: {_end_sentence(row.reason)}"
    )


def _describe_no_trial() -> str:
    return "This is no trial."


def _describe_running_trial(snapshot: EntitlementSnapshot) -> str:
    return f"It runs until {_format_day(snapshot.trial_ends_at)}."


def _describe_ended_trial(snapshot: EntitlementSnapshot, catalog: Catalog) -> str:
    fallback_label = catalog.fallback_offer(snapshot.at).label
    return f"It ended on {_format_day(snapshot.trial_ends_at)} without a payment: what remains is {fallback_label}."


def _describe_required_feature(action: Action, required: str) -> str:
    return f"{action.flag} requires {FEATURES[required].title}, which this tenant has not got."


def _describe_flag(action: Action, evaluation: FlagEvaluation) -> str:
    return f"{action.flag}: {evaluation.explanation}"


def _describe_flag_cleanup(action: Action, evaluation: FlagEvaluation) -> str:
    return f"{_describe_flag(action, evaluation)} Cleaning up is possible."


def _describe_uncounted_limit(_: str, chain: "LimitChain", __: None) -> str:
    return f"{chain.text} Not counted here."


def _describe_usage(_: str, chain: "LimitChain", used: int) -> str:
    maximum = chain.limit.amount
    return f"{used:,} {'' if maximum is None else f'of {maximum:,} '}in use. {chain.text}"


def _describe_soft_limit(limit: str, chain: "LimitChain", used: int) -> str:
    return f"{_describe_usage(limit, chain, used)} It warns only."


def _build_fixed_line(layer: Layer, sentence: str, verdict: Verdict = Verdict.IDLE) -> TraceLine:
    return TraceLine(layer, verdict, REGISTRY_SOURCE, lambda: sentence)


PAID_LINE = _build_fixed_line(Layer.BILLING, "Nothing is owed.", Verdict.YES)
NOT_NEEDED_LINES = (
    _build_fixed_line(Layer.ADDONS, "No feature is needed."),
    _build_fixed_line(Layer.OVERRIDE, "No feature is needed."),
)
NO_ADDONS_LINE = _build_fixed_line(Layer.ADDONS, "There are no add-ons.")
NO_OVERRIDE_LINE = _build_fixed_line(Layer.OVERRIDE, "No override.")
NO_FLAG_LINE = _build_fixed_line(Layer.FLAG, "No flag guards this.")
NO_LIMIT_LINE = _build_fixed_line(Layer.LIMIT, "No limit bounds this.")
NO_OBSTACLE_LINE = _build_fixed_line(Layer.OBJECT, "Nothing stands in the way.")


# ── where a feature and a limit come from, for lists of all of them ──────────────────────────────────────────────


class LimitChain(NamedTuple):
    limit: Limit
    source_id: str  # id of the row that says the last word
    steps: Sequence[tuple[TextFunction, tuple[Any, ...]]]  # plan, add-ons, override, and what took it away

    @property
    def text(self) -> str:
        return " ".join(describe(*arguments) for describe, arguments in self.steps)


class FeatureChain(NamedTuple):
    included: bool
    source_id: str
    steps: Sequence[tuple[TextFunction, tuple[Any, ...]]]

    @property
    def text(self) -> str:
        return " ".join(describe(*arguments) for describe, arguments in self.steps)


def build_limit_chain(snapshot: EntitlementSnapshot, catalog: Catalog, name: str) -> LimitChain:
    limit, source = snapshot.offer.limits.get(name, evaluate.ZERO_LIMIT), snapshot.offer.id
    steps: list[tuple[TextFunction, tuple[Any, ...]]] = [(_describe_plan_limit, (snapshot, limit, name))]
    if (plan_limit := evaluate.get_plan_limit(snapshot, name)) != limit and snapshot.assignment is not None:
        limit, source = plan_limit, snapshot.assignment.id
        steps.append((_describe_bought_seats, (limit, name)))
    for row, addon in snapshot.addons:
        if name in addon.limits:
            limit, source = evaluate.raise_limit(limit, addon.limits[name], row.quantity), row.id
            steps.append((_describe_addon_limit, (row, addon, limit, name)))
    if (override := snapshot.overrides.get(("limit", name))) is not None:
        limit, source = evaluate.get_override_limit(override), override.id
        steps.append((_describe_limit_override, (override, limit, name)))
    if evaluate.get_fallback_reason(snapshot) is not None:
        fallback = catalog.fallback_offer(snapshot.at)
        lowered_limit = evaluate.get_lower_limit(limit, fallback.limits.get(name, evaluate.ZERO_LIMIT))
        if lowered_limit != limit:
            limit, source = lowered_limit, _get_fallback_source(snapshot)
            steps.append((_describe_fallback_limit, (snapshot, fallback, limit, name)))
    return LimitChain(limit, source, steps)


def build_feature_chain(snapshot: EntitlementSnapshot, catalog: Catalog, feature: str) -> FeatureChain:
    has, source = feature in snapshot.offer.features, snapshot.offer.id
    steps: list[tuple[TextFunction, tuple[Any, ...]]] = [(_describe_inclusion, (snapshot, has))]
    for row, addon in snapshot.addons:
        if feature in addon.features:
            has, source = True, row.id
            steps.append((_describe_addition, (addon,)))
    if (override := snapshot.overrides.get(("feature", feature))) is not None:
        has, source = bool(override.value), override.id
        steps.append((_describe_feature_override, (override,)))
    if has and evaluate.get_fallback_reason(snapshot) is not None:
        fallback = catalog.fallback_offer(snapshot.at)
        if feature not in fallback.features:
            has, source = False, _get_fallback_source(snapshot)
            steps.append((_describe_lost_feature, (snapshot, fallback)))
    return FeatureChain(has, source, steps)


def _describe_bought_seats(limit: Limit, name: str) -> str:
    return f"{format_amount(limit, name)} bought, of what the plan allows."


def _describe_plan_limit(snapshot: EntitlementSnapshot, limit: Limit, name: str) -> str:
    return f"{_format_plan(snapshot)}: {format_amount(limit, name)}."


def _describe_addon_limit(row: TenantAddon, addon: PlanOffer, limit: Limit, name: str) -> str:
    times = f"{row.quantity} × " if row.quantity > 1 else ""
    return f"{times}{addon.label}: {format_amount(limit, name)}."


def _describe_limit_override(row: TenantOverride, limit: Limit, name: str) -> str:
    return f"Set to {format_amount(limit, name)}{_format_until(row)}, by {row.by_name}: {_end_sentence(row.reason)}"


def _describe_fallback_limit(
    snapshot: EntitlementSnapshot, fallback: PlanOffer, limit: Limit, name: str
) -> str:
    return f"{_describe_fallback_reason(snapshot)}: {format_amount(limit, name)}, as in {fallback.label}."


def _describe_inclusion(snapshot: EntitlementSnapshot, included: bool) -> str:
    return f"{_format_plan(snapshot)} {'includes' if included else 'does not include'} it."


def _describe_addition(addon: PlanOffer) -> str:
    return f"{addon.label} adds it."


def _describe_feature_override(row: TenantOverride) -> str:
    word = "Switched on" if row.value else "Switched off"
    return f"{word}{_format_until(row)}, by {row.by_name}: {_end_sentence(row.reason)}"


def _describe_lost_feature(snapshot: EntitlementSnapshot, fallback: PlanOffer) -> str:
    return f"{_describe_fallback_reason(snapshot)}: what remains is {fallback.label}."


def compare_traces(before: DecisionTrace, after: DecisionTrace) -> tuple[tuple[TraceLine, TraceLine], ...]:
    """The layers that found something else: usually one, whose source is the change that did it."""
    return tuple(
        (before_line, after_line)
        for before_line, after_line in zip(before.lines, after.lines, strict=True)
        if (before_line.text, before_line.source_id, before_line.verdict)
        != (after_line.text, after_line.source_id, after_line.verdict)
    )


def format_amount(limit: Limit, name: str) -> str:
    kind = LIMITS[name]
    if limit.amount is None:
        return f"unlimited {kind.plural}"
    per = " a month" if kind.period is LimitPeriod.MONTH else ""
    return f"{limit.amount:,} {kind.singular if limit.amount == 1 else kind.plural}{per}"


def _format_plan(snapshot: EntitlementSnapshot) -> str:
    since = f" (since {_format_day(snapshot.assignment.starts_at)})" if snapshot.assignment else ""
    return f"{snapshot.offer.label}{since}"


def _get_fallback_source(snapshot: EntitlementSnapshot) -> str:
    if snapshot.billing_status == "none" and snapshot.billing:
        return snapshot.billing.id
    return snapshot.assignment.id if snapshot.assignment else REGISTRY_SOURCE


def _describe_fallback_reason(snapshot: EntitlementSnapshot) -> str:
    if snapshot.billing_status == "none":
        return "Nothing is paid"
    return f"The trial ended on {_format_day(snapshot.trial_ends_at)}"


def _format_until(row: TenantOverride) -> str:
    return f" until {_format_day(row.ends_at)}" if row.ends_at else ""


def _format_day(at: datetime | None) -> str:
    return f"{at:%-d %B %Y}" if at else "an unknown day"


def _end_sentence(words: str) -> str:
    return words if words.endswith((".", "?", "…")) else f"{words}."
