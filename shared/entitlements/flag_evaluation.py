"""Whether a flag is on for a tenant, by our own rules or by another `FlagProvider`.

A rule is `{"kind": …, "values": […], "percent": …, "starts_at": …, "ends_at": …}`; one that matches is enough. The
tenant's flag override (`tenant_flag`) turns it off against every rule, and on where a rule of kind "allowed" exists. A
killed flag is off for all tenants, even where another provider evaluates the rules (`GuardedProvider`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from shared.entitlements.catalog import Catalog, FlagRollout
from shared.entitlements.snapshot import EntitlementSnapshot

RULE_KINDS = {  # kind: description; kinds with values and `percentage` have their own texts
    "allowed": "tenants on the allow-list",
    "beta": "beta tenants",
    "cohort": "the cohort",
    "everyone": "everyone",
    "industry": "the industry",
    "internal": "internal tenants",
    "percentage": "a percentage of all tenants",
    "plan": "the plan",
    "region": "the region",
}
KINDS_WITH_VALUES = {"cohort": "cohorts", "industry": "industries", "plan": "plans", "region": "regions"}
BUCKET_COUNT = 10_000  # one bucket is a hundredth of a percent


@dataclass(frozen=True, slots=True)
class FlagTarget:
    tenant_id: str
    plan: str  # key
    traits: Mapping[str, str]
    overrides: Mapping[str, bool]  # by flag


class FlagFinding(StrEnum):
    """Why a flag is on or off."""

    UNKNOWN = "unknown"
    RETIRED = "retired"
    KILLED = "killed"
    OFF_FOR_TENANT = "off_for_tenant"
    FEATURE_MISSING = "feature_missing"
    RULE_MATCHED = "rule_matched"
    NO_RULE_MATCHED = "no_rule_matched"
    PROVIDER_ANSWERED = "provider_answered"
    PROVIDER_FAILED = "provider_failed"


@dataclass(frozen=True, slots=True)
class FlagEvaluation:
    is_on: bool
    finding: FlagFinding
    source_id: str  # id of the row that decided
    rule: Mapping[str, Any] | None = None  # the one that matched
    note: str = ""  # a feature's title, or another provider's text


# Bound once: Python 3.11 looks a member of an enum up slowly.
_RULE_MATCHED, _NO_RULE_MATCHED = FlagFinding.RULE_MATCHED, FlagFinding.NO_RULE_MATCHED
UNKNOWN_FLAG = FlagEvaluation(False, FlagFinding.UNKNOWN, "registry")


class FlagProvider(Protocol):
    """Evaluates flags on the event loop, so it must not wait. Unknown flags and failures are off."""

    def evaluate(self, flag: str, target: FlagTarget, at: datetime) -> FlagEvaluation: ...


@dataclass(frozen=True, slots=True)
class RuleProvider:
    """The provider that reads our own tables."""

    catalog: Catalog

    def evaluate(self, flag: str, target: FlagTarget, at: datetime) -> FlagEvaluation:
        rollout = self.catalog.flags.get(flag)
        version = rollout.version_at(at) if rollout else None
        if rollout is None or version is None:
            return UNKNOWN_FLAG
        return evaluate_rules(rollout, version.id, version.rules, version.killed, target, at)


@dataclass(frozen=True, slots=True)
class GuardedProvider:
    """Wraps another provider: flags that we retired, killed or turned off for the tenant stay off."""

    catalog: Catalog
    provider: FlagProvider

    def evaluate(self, flag: str, target: FlagTarget, at: datetime) -> FlagEvaluation:
        rollout = self.catalog.flags.get(flag)
        version = rollout.version_at(at) if rollout else None
        if rollout is None or version is None:
            return UNKNOWN_FLAG
        stop = evaluate_switches(rollout, version.id, version.killed, target, at)
        return stop or self.provider.evaluate(flag, target, at)


@dataclass(frozen=True, slots=True)
class EvaluatedFlags:
    """A provider that returns earlier evaluations, by flag key."""

    evaluations: Mapping[str, FlagEvaluation]

    def evaluate(self, flag: str, target: FlagTarget, at: datetime) -> FlagEvaluation:
        del target, at  # the same as before
        return self.evaluations.get(flag, UNKNOWN_FLAG)


def build_target(snapshot: EntitlementSnapshot) -> FlagTarget:
    return FlagTarget(
        tenant_id=snapshot.tenant_id,
        plan=snapshot.offer.key,
        traits={name: row.value for name, row in snapshot.traits.items()},
        overrides={flag: row.enabled for flag, row in snapshot.flag_overrides.items()},
    )


def evaluate_rules(
    rollout: FlagRollout,
    source: str,
    rules: Sequence[Mapping[str, Any]],
    killed: bool,
    target: FlagTarget,
    at: datetime,
) -> FlagEvaluation:
    if (stop := evaluate_switches(rollout, source, killed, target, at)) is not None:
        return stop
    for rule in rules:
        if is_active(rule, at) and is_match(rule, rollout.flag.key, target):
            return FlagEvaluation(True, _RULE_MATCHED, source, rule)
    return FlagEvaluation(False, _NO_RULE_MATCHED, source)


def evaluate_switches(
    rollout: FlagRollout, source: str, killed: bool, target: FlagTarget, at: datetime
) -> FlagEvaluation | None:
    """The evaluation that overrules all rules: retired, killed or turned off for the tenant.

    None to go on with the rules.
    """
    if rollout.flag.retired_at is not None and rollout.flag.retired_at <= at:
        return FlagEvaluation(False, FlagFinding.RETIRED, rollout.flag.id)
    if killed:
        return FlagEvaluation(False, FlagFinding.KILLED, source)
    if target.overrides.get(rollout.flag.key) is False:
        return FlagEvaluation(False, FlagFinding.OFF_FOR_TENANT, source)
    return None


def is_match(rule: Mapping[str, Any], flag: str, target: FlagTarget) -> bool:
    kind = rule["kind"]
    if kind == "everyone":
        return True
    if kind == "allowed":
        return target.overrides.get(flag) is True
    if kind == "percentage":
        # Rounded, because 1.1 % of the buckets would be slightly more than 110 in floating point.
        return compute_bucket(flag, target.tenant_id) < round(float(rule["percent"]) * (BUCKET_COUNT // 100))
    if kind == "plan":
        return target.plan in rule["values"]
    if kind in ("internal", "beta"):
        return target.traits.get(kind) == "yes"
    return target.traits.get(kind) in rule["values"]


def compute_bucket(flag: str, tenant_id: str) -> int:
    """0 to 9,999, stable: raising the percentage adds tenants and removes none."""
    digest = hashlib.sha256(f"{flag}:{tenant_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKET_COUNT


def describe_condition(rule: Mapping[str, Any]) -> str:
    kind = rule["kind"]
    if kind == "percentage":
        return f"{rule['percent']:g} % of all tenants"
    if kind not in KINDS_WITH_VALUES:
        return RULE_KINDS[kind]
    values = [value.replace("_", " ") for value in rule["values"]]
    return (
        f"{RULE_KINDS[kind]} {values[0]}"
        if len(values) == 1
        else f"the {KINDS_WITH_VALUES[kind]} {', '.join(values)}"
    )


def describe_evaluation(evaluation: FlagEvaluation) -> str:
    """A sentence, as in "On for the region eu."."""
    if evaluation.finding is FlagFinding.RULE_MATCHED and evaluation.rule is not None:
        return f"On for {describe_condition(evaluation.rule)}."
    return _FINDING_TEXTS[evaluation.finding].format(note=evaluation.note)


_FINDING_TEXTS = {
    FlagFinding.UNKNOWN: "This flag doesn’t exist.",
    FlagFinding.RETIRED: "The flag is retired.",
    FlagFinding.KILLED: "The kill switch is on.",
    FlagFinding.OFF_FOR_TENANT: "Turned off for this tenant.",
    FlagFinding.FEATURE_MISSING: "Requires {note}, which this tenant doesn’t have.",
    FlagFinding.RULE_MATCHED: "A rule matches this tenant.",
    FlagFinding.NO_RULE_MATCHED: "No rule matches this tenant.",
    FlagFinding.PROVIDER_ANSWERED: "The flag provider answered: {note}.",
    FlagFinding.PROVIDER_FAILED: "The flag provider failed: {note}.",
}


def is_active(rule: Mapping[str, Any], at: datetime) -> bool:
    """Whether the rule is in effect at that time."""
    since, until = rule.get("starts_at"), rule.get("ends_at")
    return (not since or datetime.fromisoformat(since) <= at) and (
        not until or at < datetime.fromisoformat(until)
    )
