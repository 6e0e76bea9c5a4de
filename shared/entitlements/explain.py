"""The same decision as a trace: one line per layer, with what was found, the verdict and the row it came from.

Every layer is asked for itself, so changing one layer changes that line only. The first line that says no decides.
Nothing of this runs when something is merely decided (`access.decision`).
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.access.actions import Action
from shared.access.decision import FOR, Decision
from shared.access.reasons import Reason
from shared.core.ctx import Limit
from shared.entitlements import compiled
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, Per
from shared.entitlements.models import TenantOverride
from shared.entitlements.rollout import Provider

REGISTRY = "registry"  # source of what code says and no row does


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


@dataclass(frozen=True, slots=True)
class Line:
    layer: Layer
    question: str
    found: str  # a sentence
    source: str  # id of the row, or "registry"
    verdict: Verdict
    reason: Reason = Reason.ALLOWED  # of the decision, if this line makes it


@dataclass(frozen=True, slots=True)
class Trace:
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
    refusing = next((line for line in lines if line.verdict is Verdict.NO), None)
    # The limit warns after the bill does, so its word is the last.
    warning = next((line for line in reversed(lines) if line.verdict is Verdict.WARN), None)
    deciding = refusing or warning
    decision = FOR[deciding.reason if deciding else Reason.ALLOWED]
    return Trace(action.name, facts.at, decision, lines)


def _permission(standing: Standing, action: Action) -> Line:
    asked = f"May {standing.who} {action.said}?"
    role = standing.role or "No role"
    if action.permission in standing.permissions:
        return Line(
            *(Layer.PERMISSION, asked, f"{role} has {action.permission}.", standing.role_source, Verdict.YES)
        )
    return Line(
        *(Layer.PERMISSION, asked, f"{role} does not have {action.permission}.", standing.role_source),
        Verdict.NO,
        Reason.MISSING_PERMISSION,
    )


def _tenant(standing: Standing, action: Action) -> Line:
    asked, blocked = "Is the organisation open?", compiled.STATES.get(standing.state)
    found = f"It is {standing.state.replace('_', ' ')}."
    if blocked is None:
        return Line(Layer.TENANT, asked, found, standing.state_source, Verdict.YES)
    if action.unverified_ok and blocked is Reason.TENANT_UNVERIFIED:
        found = f"{found} This is possible before that."
        return Line(Layer.TENANT, asked, found, standing.state_source, Verdict.YES)
    return Line(Layer.TENANT, asked, found, standing.state_source, Verdict.NO, blocked)


def _billing(facts: Facts, catalogue: Catalogue, action: Action) -> Line:
    asked, row, status = "Is commercial access valid?", facts.billing, facts.billing_status
    source = row.id if row else REGISTRY
    since = f" since {_day(row.starts_at)}" if row else ""
    if action.cleans_up and status != "active":
        found = f"{_STATUS[status]}{since}; cleaning up is always possible."
        return Line(Layer.BILLING, asked, found, source, Verdict.YES)
    if status == "read_only" and action.writes:
        found = f"Read-only{since}: nothing can be changed."
        return Line(Layer.BILLING, asked, found, source, Verdict.NO, Reason.BILLING_READ_ONLY)
    if status == "none":
        rest = catalogue.fallback(facts.at)
        if action.feature and action.feature not in (compiled.entitled(facts).features & rest.features):
            found = f"Nothing is paid{since}: what remains is {rest.said}."
            return Line(Layer.BILLING, asked, found, source, Verdict.NO, Reason.BILLING_NONE)
    if status == "grace" and action.writes:
        until = f" until {_day(row.ends_at)}" if row and row.ends_at else ""
        found = f"A payment is overdue{since}; everything works{until}."
        return Line(Layer.BILLING, asked, found, source, Verdict.WARN, Reason.BILLING_GRACE)
    return Line(Layer.BILLING, asked, f"{_STATUS[status]}{since}.", source, Verdict.YES)


_STATUS = {
    "active": "Nothing is owed",
    "grace": "A payment is overdue",
    "none": "Nothing is paid",
    "read_only": "Read-only",
}


def _entitlement(facts: Facts, action: Action) -> tuple[Line, Line, Line]:
    """Plan, add-ons, override: which of them gives the feature, or takes it away."""
    feature = action.feature
    asks = ("Does the plan include it?", "Does an add-on add it?", "Is it overridden for this tenant?")
    layers = (Layer.PLAN, Layer.ADDONS, Layer.OVERRIDE)
    if not feature or action.cleans_up:
        found, source = "No feature is needed to clean up." if feature else "No feature is needed.", REGISTRY
        first = Line(layers[0], asks[0], f"{found} {_plan(facts)}.", facts.offer.id, Verdict.IDLE)
        rest = (
            Line(layer, ask, found, source, Verdict.IDLE)
            for layer, ask in zip(layers[1:], asks[1:], strict=True)
        )
        addons, override = rest
        return first, addons, override
    title = FEATURES[feature].title
    included = feature in facts.offer.features
    adding = next((one for one in facts.addons if feature in one[1].features), None)
    row = facts.overrides.get(("feature", feature))
    gives = bool(row.value) if row else included or adding is not None

    def no(last: bool) -> tuple[Verdict, Reason]:
        if gives:
            return Verdict.OVERRULED, Reason.ALLOWED
        return (Verdict.NO, Reason.NOT_IN_PLAN) if last else (Verdict.OVERRULED, Reason.ALLOWED)

    word = "includes" if included else "does not include"
    plan = Line(
        *(layers[0], asks[0], f"{_plan(facts)} {word} {title}.", facts.offer.id),
        *((Verdict.YES, Reason.ALLOWED) if included and gives else no(row is None)),
    )
    if adding is not None:
        addon = Line(layers[1], asks[1], f"{adding[1].said} adds {title}.", adding[0].id, Verdict.YES)
        if not gives:
            addon = Line(layers[1], asks[1], addon.found, addon.source, Verdict.OVERRULED)
    else:
        had = f"None of {len(facts.addons)} add-ons does." if facts.addons else "There are no add-ons."
        addon = Line(layers[1], asks[1], had, REGISTRY, Verdict.IDLE)
    if row is None:
        return plan, addon, Line(layers[2], asks[2], "No override.", REGISTRY, Verdict.IDLE)
    found = f"{'On' if gives else 'Off'}{_until(row)}, by {row.by_name}: {_sentence(row.reason)}"
    verdict = (Verdict.YES, Reason.ALLOWED) if gives else (Verdict.NO, Reason.NOT_IN_PLAN)
    return plan, addon, Line(layers[2], asks[2], found, row.id, *verdict)


def _trial(facts: Facts, catalogue: Catalogue, action: Action) -> Line:
    asked, ends = "Is the trial still running?", facts.trial_ends_at
    source = facts.assigned.id if facts.assigned else REGISTRY
    if ends is None:
        return Line(Layer.TRIAL, asked, "This is no trial.", source, Verdict.IDLE)
    if not facts.trial_ended:
        return Line(Layer.TRIAL, asked, f"It runs until {_day(ends)}.", source, Verdict.YES)
    rest = catalogue.fallback(facts.at)
    found = f"It ended on {_day(ends)} without a payment: what remains is {rest.said}."
    if action.feature and not action.cleans_up and action.feature not in rest.features:
        return Line(Layer.TRIAL, asked, found, source, Verdict.NO, Reason.TRIAL_ENDED)
    return Line(Layer.TRIAL, asked, found, source, Verdict.YES)


def _flag(facts: Facts, catalogue: Catalogue, provider: Provider, action: Action) -> Line:
    asked = "Is it exposed?"
    if not action.flag:
        return Line(Layer.FLAG, asked, "No flag guards this.", REGISTRY, Verdict.IDLE)
    rollout = catalogue.flags.get(action.flag)
    required = rollout.row.required_feature if rollout else ""
    missing = required not in ("", action.feature) and not feature_chain(facts, catalogue, required).has
    if rollout and missing and not action.cleans_up:
        found = f"{action.flag} requires {FEATURES[required].title}, which this tenant has not got."
        return Line(Layer.FLAG, asked, found, rollout.row.id, Verdict.NO, Reason.NOT_IN_PLAN)
    exposure = provider.evaluate(action.flag, compiled.target_of(facts), facts.at)
    found = f"{action.flag}: {exposure.found}"
    if exposure.on:
        return Line(Layer.FLAG, asked, found, exposure.source, Verdict.YES)
    if action.cleans_up:
        return Line(Layer.FLAG, asked, f"{found} Cleaning up is possible.", exposure.source, Verdict.YES)
    return Line(Layer.FLAG, asked, found, exposure.source, Verdict.NO, Reason.FLAG_OFF)


def _limit(facts: Facts, catalogue: Catalogue, action: Action, used: int | None) -> Line:
    if not action.limit:
        return Line(Layer.LIMIT, "Is there room?", "No limit bounds this.", REGISTRY, Verdict.IDLE)
    kind = LIMITS[action.limit]
    asked = f"Is {'an' if kind.one[0] in 'aeiou' else 'a'} {kind.one} free?"
    chain = limit_chain(facts, catalogue, action.limit)
    source, limit = chain.source, chain.limit
    if used is None:
        return Line(Layer.LIMIT, asked, f"{chain.said} Not counted here.", source, Verdict.IDLE)
    if limit.amount is None:
        return Line(Layer.LIMIT, asked, f"{used:,} in use. {chain.said}", source, Verdict.YES)
    found = f"{used:,} of {limit.amount:,} in use. {chain.said}"
    if used < limit.amount:
        return Line(Layer.LIMIT, asked, found, source, Verdict.YES)
    if limit.hard:
        return Line(Layer.LIMIT, asked, found, source, Verdict.NO, Reason.LIMIT_REACHED)
    return Line(Layer.LIMIT, asked, f"{found} It warns only.", source, Verdict.WARN, Reason.LIMIT_WARNED)


def _object(obstacle: str) -> Line:
    asked = "Is the object in a state for it?"
    if not obstacle:
        return Line(Layer.OBJECT, asked, "Nothing stands in the way.", REGISTRY, Verdict.IDLE)
    return Line(Layer.OBJECT, asked, obstacle, REGISTRY, Verdict.NO, Reason.OBJECT_STATE)


# ── where a feature and a limit come from, for lists of all of them ──────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class LimitChain:
    limit: Limit
    said: str  # sentences: plan, add-ons, override, and what took it away
    source: str  # id of the row that says the last word


@dataclass(frozen=True, slots=True)
class FeatureChain:
    has: bool
    said: str
    source: str


def limit_chain(facts: Facts, catalogue: Catalogue, name: str) -> LimitChain:
    limit = facts.offer.limits.get(name, compiled.NOTHING)
    said, source = [f"{_plan(facts)}: {amount(limit, name)}."], facts.offer.id
    for row, addon in facts.addons:
        if name in addon.limits:
            limit = compiled.raised(limit, addon.limits[name], row.quantity)
            times = f"{row.quantity} × " if row.quantity > 1 else ""
            said.append(f"{times}{addon.said}: {amount(limit, name)}.")
            source = row.id
    if (override := facts.overrides.get(("limit", name))) is not None:
        limit, source = compiled.overridden(override), override.id
        said.append(
            f"Set to {amount(limit, name)}{_until(override)}, by {override.by_name}: {_sentence(override.reason)}"
        )
    if compiled.fallen(facts) is not None:
        rest = catalogue.fallback(facts.at)
        least = compiled.lower(limit, rest.limits.get(name, compiled.NOTHING))
        if least != limit:
            limit, source = least, _fallen_source(facts)
            said.append(f"{_fallen_said(facts)}: {amount(limit, name)}, as in {rest.said}.")
    return LimitChain(limit, " ".join(said), source)


def feature_chain(facts: Facts, catalogue: Catalogue, feature: str) -> FeatureChain:
    included = feature in facts.offer.features
    said = [f"{_plan(facts)} {'includes' if included else 'does not include'} it."]
    has, source = included, facts.offer.id
    for row, addon in facts.addons:
        if feature in addon.features:
            has, source = True, row.id
            said.append(f"{addon.said} adds it.")
    if (override := facts.overrides.get(("feature", feature))) is not None:
        has, source = bool(override.value), override.id
        word = "Switched on" if has else "Switched off"
        said.append(f"{word}{_until(override)}, by {override.by_name}: {_sentence(override.reason)}")
    if has and compiled.fallen(facts) is not None:
        rest = catalogue.fallback(facts.at)
        if feature not in rest.features:
            has, source = False, _fallen_source(facts)
            said.append(f"{_fallen_said(facts)}: what remains is {rest.said}.")
    return FeatureChain(has, " ".join(said), source)


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
