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
from shared.access.decision import FOR, YES, Decision
from shared.access.reasons import Reason
from shared.core.ctx import Limit
from shared.entitlements import compiled
from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, Per
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.entitlements.rollout import Exposure, Provider

REGISTRY = "registry"  # source of what code says and no row does
Say = Callable[..., str]


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


class Line(NamedTuple):
    layer: Layer
    verdict: Verdict
    source: str  # id of the row, or "registry"
    says: Say  # of what is in `about`
    about: tuple[Any, ...] = ()
    reason: Reason = Reason.ALLOWED  # of the decision, if this line makes it

    @property
    def question(self) -> str:
        asked = _QUESTIONS[self.layer]
        return asked if isinstance(asked, str) else asked(*self.about)

    @property
    def found(self) -> str:
        """A sentence."""
        return self.says(*self.about)


class Trace(NamedTuple):
    action: str
    at: datetime
    decision: Decision
    lines: tuple[Line, ...]

    @property
    def decided_by(self) -> Layer | None:
        return next((line.layer for line in self.lines if line.verdict is Verdict.NO), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """Who asks and how the tenant stands, with the rows that say so."""

    who: str  # as in "Max Brandt"
    role: str  # name, "" for nobody
    permissions: frozenset[str]
    role_source: str = REGISTRY
    state: str = "active"
    state_source: str = REGISTRY
    ended: str = ""  # "removed" or "deactivated": who was a member once


def explain(
    standing: Standing,
    facts: Facts,
    catalogue: Catalogue,
    provider: Provider,
    action: Action,
    *,
    used: int | None = None,
    obstacle: str = "",
) -> Trace:
    """`used` and `obstacle` as in `decide`. `facts` are of the time that is asked about."""
    lines = (
        _permission(standing, action),
        _tenant(standing, action),
        _billing(facts, catalogue, action),
        *_entitlement(facts, action),
        _trial(facts, catalogue, action),
        _flag(facts, catalogue, provider, action),
        _limit(facts, catalogue, action, used),
        _object(obstacle),
    )
    decision = YES
    for line in lines:
        if line.verdict is Verdict.NO:
            decision = FOR[line.reason]
            break
        if line.verdict is Verdict.WARN:  # the limit warns after the bill does, so its word is the last
            decision = FOR[line.reason]
    return Trace(action.name, facts.at, decision, lines)


def _permission(standing: Standing, action: Action) -> Line:
    about = (standing, action)
    if action.permission in standing.permissions:
        return Line(Layer.PERMISSION, Verdict.YES, standing.role_source, _has_permission, about)
    return Line(
        *(Layer.PERMISSION, Verdict.NO, standing.role_source, _has_no_permission, about),
        Reason.MISSING_PERMISSION,
    )


def _tenant(standing: Standing, action: Action) -> Line:
    blocked, source, about = compiled.STATES.get(standing.state), standing.state_source, (standing,)
    if blocked is None:
        return Line(Layer.TENANT, Verdict.YES, source, _is_open, about)
    if action.unverified_ok and blocked is Reason.TENANT_UNVERIFIED:
        return Line(Layer.TENANT, Verdict.YES, source, _is_open_for_this, about)
    return Line(Layer.TENANT, Verdict.NO, source, _is_open, about, blocked)


def _billing(facts: Facts, catalogue: Catalogue, action: Action) -> Line:
    row = facts.billing
    if row is None:
        return PAID
    status, source = row.status, row.id
    if status == "active":
        return Line(Layer.BILLING, Verdict.YES, source, _owes, (facts,))
    if action.cleans_up:
        return Line(Layer.BILLING, Verdict.YES, source, _owes_and_cleans_up, (facts,))
    if status == "read_only" and action.writes:
        return Line(Layer.BILLING, Verdict.NO, source, _is_read_only, (facts,), Reason.BILLING_READ_ONLY)
    if status == "none" and action.feature:
        rest = catalogue.fallback(facts.at)
        if action.feature not in rest.features or not _gives(facts, action.feature):
            return Line(Layer.BILLING, Verdict.NO, source, _is_unpaid, (facts, rest), Reason.BILLING_NONE)
    if status == "grace" and action.writes:
        return Line(Layer.BILLING, Verdict.WARN, source, _is_overdue, (facts,), Reason.BILLING_GRACE)
    return Line(Layer.BILLING, Verdict.YES, source, _owes, (facts,))


def _entitlement(facts: Facts, action: Action) -> tuple[Line, Line, Line]:
    """Plan, add-ons, override: which of them gives the feature, or takes it away."""
    feature, version = action.feature, facts.offer.id
    if not feature:
        return Line(Layer.PLAN, Verdict.IDLE, version, _needs_no_feature, (facts,)), *NOT_NEEDED
    if action.cleans_up:
        return Line(Layer.PLAN, Verdict.IDLE, version, _cleans_up, (facts,)), *NOT_NEEDED
    included = feature in facts.offer.features
    adding, row, gives = (
        _adding(facts, feature),
        facts.overrides.get(("feature", feature)),
        _gives(facts, feature),
    )

    about = (facts, feature)
    if included and gives:
        plan = Line(Layer.PLAN, Verdict.YES, version, _includes, about)
    elif gives or row is not None:
        plan = Line(Layer.PLAN, Verdict.OVERRULED, version, _includes, about)
    else:
        plan = Line(Layer.PLAN, Verdict.NO, version, _includes, about, Reason.NOT_IN_PLAN)

    if adding is not None:
        counts = Verdict.YES if gives else Verdict.OVERRULED
        addon = Line(Layer.ADDONS, counts, adding[0].id, _adds, (adding[1], feature))
    else:
        addon = (
            Line(Layer.ADDONS, Verdict.IDLE, REGISTRY, _does_not_add, (facts,)) if facts.addons else NO_ADDONS
        )

    if row is None:
        return plan, addon, NO_OVERRIDE
    if gives:
        return plan, addon, Line(Layer.OVERRIDE, Verdict.YES, row.id, _overrides, (row,))
    return plan, addon, Line(Layer.OVERRIDE, Verdict.NO, row.id, _overrides, (row,), Reason.NOT_IN_PLAN)


def _adding(facts: Facts, feature: str) -> tuple[TenantAddon, Offer] | None:
    return next((one for one in facts.addons if feature in one[1].features), None)


def _gives(facts: Facts, feature: str) -> bool:
    """As in `compiled.entitled`, for one feature."""
    row = facts.overrides.get(("feature", feature))
    if row is not None:
        return bool(row.value)
    return feature in facts.offer.features or _adding(facts, feature) is not None


def _trial(facts: Facts, catalogue: Catalogue, action: Action) -> Line:
    source = facts.assigned.id if facts.assigned else REGISTRY
    if facts.trial_ends_at is None:
        return Line(Layer.TRIAL, Verdict.IDLE, source, _is_no_trial)
    if not facts.trial_ended:
        return Line(Layer.TRIAL, Verdict.YES, source, _runs, (facts,))
    about = (facts, catalogue)
    if (
        action.feature
        and not action.cleans_up
        and action.feature not in catalogue.fallback(facts.at).features
    ):
        return Line(Layer.TRIAL, Verdict.NO, source, _trial_ended, about, Reason.TRIAL_ENDED)
    return Line(Layer.TRIAL, Verdict.YES, source, _trial_ended, about)


def _flag(facts: Facts, catalogue: Catalogue, provider: Provider, action: Action) -> Line:
    if not action.flag:
        return NO_FLAG
    rollout = catalogue.flags.get(action.flag)
    required = rollout.row.required_feature if rollout else ""
    missing = required not in ("", action.feature) and not feature_chain(facts, catalogue, required).has
    if rollout and missing and not action.cleans_up:
        about = (action, required)
        return Line(Layer.FLAG, Verdict.NO, rollout.row.id, _is_held_back, about, Reason.NOT_IN_PLAN)
    exposure = provider.evaluate(action.flag, compiled.target_of(facts), facts.at)
    about_it = (action, exposure)
    if exposure.on:
        return Line(Layer.FLAG, Verdict.YES, exposure.source, _is_exposed, about_it)
    if action.cleans_up:
        return Line(Layer.FLAG, Verdict.YES, exposure.source, _is_exposed_to_clean_up, about_it)
    return Line(Layer.FLAG, Verdict.NO, exposure.source, _is_exposed, about_it, Reason.FLAG_OFF)


def _limit(facts: Facts, catalogue: Catalogue, action: Action, used: int | None) -> Line:
    if not action.limit:
        return NO_LIMIT
    chain = limit_chain(facts, catalogue, action.limit)
    source, limit, about = chain.source, chain.limit, (action.limit, chain, used)
    if used is None:
        return Line(Layer.LIMIT, Verdict.IDLE, source, _is_not_counted, about)
    if limit.amount is None or used < limit.amount:
        return Line(Layer.LIMIT, Verdict.YES, source, _is_used, about)
    if limit.hard:
        return Line(Layer.LIMIT, Verdict.NO, source, _is_used, about, Reason.LIMIT_REACHED)
    return Line(Layer.LIMIT, Verdict.WARN, source, _is_used_and_warns, about, Reason.LIMIT_WARNED)


def _object(obstacle: str) -> Line:
    if not obstacle:
        return NO_OBSTACLE
    return Line(Layer.OBJECT, Verdict.NO, REGISTRY, str, (obstacle,), Reason.OBJECT_STATE)


# ── what the lines say ───────────────────────────────────────────────────────────────────────────────────────────


def _may(standing: Standing, action: Action) -> str:
    return f"May {standing.who} {action.said}?"


def _is_free(limit: str = "", *_: object) -> str:
    if not limit:
        return "Is there room?"
    one = LIMITS[limit].one
    return f"Is {'an' if one[0] in 'aeiou' else 'a'} {one} free?"


_QUESTIONS: dict[Layer, str | Say] = {
    Layer.PERMISSION: _may,
    Layer.TENANT: "Is the organisation open?",
    Layer.BILLING: "Is commercial access valid?",
    Layer.PLAN: "Does the plan include it?",
    Layer.ADDONS: "Does an add-on add it?",
    Layer.OVERRIDE: "Is it overridden for this tenant?",
    Layer.TRIAL: "Is the trial still running?",
    Layer.FLAG: "Is it exposed?",
    Layer.LIMIT: _is_free,
    Layer.OBJECT: "Is the object in a state for it?",
}
_STATUS = {
    "active": "Nothing is owed",
    "grace": "A payment is overdue",
    "none": "Nothing is paid",
    "read_only": "Read-only",
}


def _has_permission(standing: Standing, action: Action) -> str:
    return f"{standing.role} has {action.permission}."


def _has_no_permission(standing: Standing, action: Action) -> str:
    if standing.ended:
        return f"They were {standing.ended}, so no role counts."
    if not standing.role:
        return f"There is no role that could have {action.permission}."
    return f"{standing.role} does not have {action.permission}."


def _is_open(standing: Standing) -> str:
    return f"It is {standing.state.replace('_', ' ')}."


def _is_open_for_this(standing: Standing) -> str:
    return f"{_is_open(standing)} This is possible before that."


def _owes(facts: Facts) -> str:
    return f"{_STATUS[facts.billing_status]}{_since(facts)}."


def _owes_and_cleans_up(facts: Facts) -> str:
    return f"{_STATUS[facts.billing_status]}{_since(facts)}; cleaning up is always possible."


def _is_read_only(facts: Facts) -> str:
    return f"Read-only{_since(facts)}: nothing can be changed."


def _is_unpaid(facts: Facts, rest: Offer) -> str:
    return f"Nothing is paid{_since(facts)}: what remains is {rest.said}."


def _is_overdue(facts: Facts) -> str:
    until = f" until {_day(facts.billing.ends_at)}" if facts.billing and facts.billing.ends_at else ""
    return f"A payment is overdue{_since(facts)}; everything works{until}."


def _since(facts: Facts) -> str:
    return f" since {_day(facts.billing.starts_at)}" if facts.billing else ""


def _needs_no_feature(facts: Facts) -> str:
    return f"No feature is needed. {_plan(facts)}."


def _cleans_up(facts: Facts) -> str:
    return f"No feature is needed to clean up. {_plan(facts)}."


def _includes(facts: Facts, feature: str) -> str:
    word = "includes" if feature in facts.offer.features else "does not include"
    return f"{_plan(facts)} {word} {FEATURES[feature].title}."


def _adds(addon: Offer, feature: str) -> str:
    return f"{addon.said} adds {FEATURES[feature].title}."


def _does_not_add(facts: Facts) -> str:
    return f"None of {len(facts.addons)} add-ons does."


def _overrides(row: TenantOverride) -> str:
    return f"{'On' if row.value else 'Off'}{_until(row)}, by {row.by_name}: {_sentence(row.reason)}"


def _is_no_trial() -> str:
    return "This is no trial."


def _runs(facts: Facts) -> str:
    return f"It runs until {_day(facts.trial_ends_at)}."


def _trial_ended(facts: Facts, catalogue: Catalogue) -> str:
    rest = catalogue.fallback(facts.at).said
    return f"It ended on {_day(facts.trial_ends_at)} without a payment: what remains is {rest}."


def _is_held_back(action: Action, required: str) -> str:
    return f"{action.flag} requires {FEATURES[required].title}, which this tenant has not got."


def _is_exposed(action: Action, exposure: Exposure) -> str:
    return f"{action.flag}: {exposure.found}"


def _is_exposed_to_clean_up(action: Action, exposure: Exposure) -> str:
    return f"{_is_exposed(action, exposure)} Cleaning up is possible."


def _is_not_counted(_: str, chain: "LimitChain", __: None) -> str:
    return f"{chain.said} Not counted here."


def _is_used(_: str, chain: "LimitChain", used: int) -> str:
    most = chain.limit.amount
    return f"{used:,} {'' if most is None else f'of {most:,} '}in use. {chain.said}"


def _is_used_and_warns(limit: str, chain: "LimitChain", used: int) -> str:
    return f"{_is_used(limit, chain, used)} It warns only."


def _always(layer: Layer, sentence: str, verdict: Verdict = Verdict.IDLE) -> Line:
    return Line(layer, verdict, REGISTRY, lambda: sentence)


PAID = _always(Layer.BILLING, "Nothing is owed.", Verdict.YES)
NOT_NEEDED = (
    _always(Layer.ADDONS, "No feature is needed."),
    _always(Layer.OVERRIDE, "No feature is needed."),
)
NO_ADDONS = _always(Layer.ADDONS, "There are no add-ons.")
NO_OVERRIDE = _always(Layer.OVERRIDE, "No override.")
NO_FLAG = _always(Layer.FLAG, "No flag guards this.")
NO_LIMIT = _always(Layer.LIMIT, "No limit bounds this.")
NO_OBSTACLE = _always(Layer.OBJECT, "Nothing stands in the way.")


# ── where a feature and a limit come from, for lists of all of them ──────────────────────────────────────────────


class LimitChain(NamedTuple):
    limit: Limit
    source: str  # id of the row that says the last word
    steps: Sequence[tuple[Say, tuple[Any, ...]]]  # plan, add-ons, override, and what took it away

    @property
    def said(self) -> str:
        return " ".join(say(*about) for say, about in self.steps)


class FeatureChain(NamedTuple):
    has: bool
    source: str
    steps: Sequence[tuple[Say, tuple[Any, ...]]]

    @property
    def said(self) -> str:
        return " ".join(say(*about) for say, about in self.steps)


def limit_chain(facts: Facts, catalogue: Catalogue, name: str) -> LimitChain:
    limit, source = facts.offer.limits.get(name, compiled.NOTHING), facts.offer.id
    steps: list[tuple[Say, tuple[Any, ...]]] = [(_planned, (facts, limit, name))]
    if (bought := compiled.of_plan(facts, name)) != limit and facts.assigned is not None:
        limit, source = bought, facts.assigned.id
        steps.append((_bought, (limit, name)))
    for row, addon in facts.addons:
        if name in addon.limits:
            limit, source = compiled.raised(limit, addon.limits[name], row.quantity), row.id
            steps.append((_raised, (row, addon, limit, name)))
    if (override := facts.overrides.get(("limit", name))) is not None:
        limit, source = compiled.overridden(override), override.id
        steps.append((_set_to, (override, limit, name)))
    if compiled.fallen(facts) is not None:
        rest = catalogue.fallback(facts.at)
        least = compiled.lower(limit, rest.limits.get(name, compiled.NOTHING))
        if least != limit:
            limit, source = least, _fallen_source(facts)
            steps.append((_lowered, (facts, rest, limit, name)))
    return LimitChain(limit, source, steps)


def feature_chain(facts: Facts, catalogue: Catalogue, feature: str) -> FeatureChain:
    has, source = feature in facts.offer.features, facts.offer.id
    steps: list[tuple[Say, tuple[Any, ...]]] = [(_included, (facts, has))]
    for row, addon in facts.addons:
        if feature in addon.features:
            has, source = True, row.id
            steps.append((_added, (addon,)))
    if (override := facts.overrides.get(("feature", feature))) is not None:
        has, source = bool(override.value), override.id
        steps.append((_switched, (override,)))
    if has and compiled.fallen(facts) is not None:
        rest = catalogue.fallback(facts.at)
        if feature not in rest.features:
            has, source = False, _fallen_source(facts)
            steps.append((_lost, (facts, rest)))
    return FeatureChain(has, source, steps)


def _bought(limit: Limit, name: str) -> str:
    return f"{amount(limit, name)} bought, of what the plan allows."


def _planned(facts: Facts, limit: Limit, name: str) -> str:
    return f"{_plan(facts)}: {amount(limit, name)}."


def _raised(row: TenantAddon, addon: Offer, limit: Limit, name: str) -> str:
    times = f"{row.quantity} × " if row.quantity > 1 else ""
    return f"{times}{addon.said}: {amount(limit, name)}."


def _set_to(row: TenantOverride, limit: Limit, name: str) -> str:
    return f"Set to {amount(limit, name)}{_until(row)}, by {row.by_name}: {_sentence(row.reason)}"


def _lowered(facts: Facts, rest: Offer, limit: Limit, name: str) -> str:
    return f"{_fallen_said(facts)}: {amount(limit, name)}, as in {rest.said}."


def _included(facts: Facts, included: bool) -> str:
    return f"{_plan(facts)} {'includes' if included else 'does not include'} it."


def _added(addon: Offer) -> str:
    return f"{addon.said} adds it."


def _switched(row: TenantOverride) -> str:
    word = "Switched on" if row.value else "Switched off"
    return f"{word}{_until(row)}, by {row.by_name}: {_sentence(row.reason)}"


def _lost(facts: Facts, rest: Offer) -> str:
    return f"{_fallen_said(facts)}: what remains is {rest.said}."


def differences(before: Trace, after: Trace) -> tuple[tuple[Line, Line], ...]:
    """The layers that found something else: usually one, whose source is the change that did it."""
    return tuple(
        (one, other)
        for one, other in zip(before.lines, after.lines, strict=True)
        if (one.found, one.source, one.verdict) != (other.found, other.source, other.verdict)
    )


def amount(limit: Limit, name: str) -> str:
    kind = LIMITS[name]
    if limit.amount is None:
        return f"unlimited {kind.many}"
    per = " a month" if kind.per is Per.MONTH else ""
    return f"{limit.amount:,} {kind.one if limit.amount == 1 else kind.many}{per}"


def _plan(facts: Facts) -> str:
    since = f" (since {_day(facts.assigned.starts_at)})" if facts.assigned else ""
    return f"{facts.offer.said}{since}"


def _fallen_source(facts: Facts) -> str:
    if facts.billing_status == "none" and facts.billing:
        return facts.billing.id
    return facts.assigned.id if facts.assigned else REGISTRY


def _fallen_said(facts: Facts) -> str:
    if facts.billing_status == "none":
        return "Nothing is paid"
    return f"The trial ended on {_day(facts.trial_ends_at)}"


def _until(row: TenantOverride) -> str:
    return f" until {_day(row.ends_at)}" if row.ends_at else ""


def _day(at: datetime | None) -> str:
    return f"{at:%-d %B %Y}" if at else "an unknown day"


def _sentence(words: str) -> str:
    return words if words.endswith((".", "?", "…")) else f"{words}."
