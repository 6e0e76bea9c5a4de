"""Is a flag on for this tenant? By our own rules, or by whoever implements `Provider`.

A rule is `{"kind": …, "values": […], "percent": …, "starts_at": …, "ends_at": …}`; one that matches is enough. The
tenant's own word (`tenant_flag`) says no against every rule, and yes where a rule of kind "allowed" asks for it. A
killed flag is off for everybody, also where somebody else evaluates the rules (`Switched`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.entitlements.catalogue import Catalogue, Rollout

KINDS = {  # kind: what it says; those with values name them, `percentage` its percent
    "allowed": "tenants that were let in one by one",
    "beta": "tenants that try things first",
    "cohort": "the cohort",
    "everyone": "everyone",
    "industry": "the industry",
    "internal": "our own tenants",
    "percentage": "a share of all tenants",
    "plan": "the plan",
    "region": "the region",
}
WITH_VALUES = {"cohort": "cohorts", "industry": "industries", "plan": "plans", "region": "regions"}
BUCKETS = 10_000  # of a hundredth of a percent


@dataclass(frozen=True, slots=True)
class Target:
    tenant_id: str
    plan: str  # key
    traits: Mapping[str, str]
    own: Mapping[str, bool]  # flag: this tenant's own word


@dataclass(frozen=True, slots=True)
class Exposure:
    on: bool
    found: str  # a sentence
    source: str  # id of the row that decided


class Provider(Protocol):
    """Asked on the event loop, so an answer waits for nothing. What it does not know, or cannot say, is off."""

    def evaluate(self, flag: str, target: Target, at: datetime) -> Exposure: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """The provider that reads our own tables."""

    catalogue: Catalogue

    def evaluate(self, flag: str, target: Target, at: datetime) -> Exposure:
        rollout = self.catalogue.flags.get(flag)
        version = rollout.at(at) if rollout else None
        if rollout is None or version is None:
            return Exposure(False, "There is no such flag.", "registry")
        return weigh(rollout, version.id, version.rules, version.killed, target, at)


@dataclass(frozen=True, slots=True)
class Switched:
    """Another provider behind our own switches: what is retired, killed or refused here is off, whatever it says."""

    catalogue: Catalogue
    other: Provider

    def evaluate(self, flag: str, target: Target, at: datetime) -> Exposure:
        rollout = self.catalogue.flags.get(flag)
        version = rollout.at(at) if rollout else None
        if rollout is None or version is None:
            return Exposure(False, "There is no such flag.", "registry")
        off = stopped(rollout, version.id, version.killed, target, at)
        return off or self.other.evaluate(flag, target, at)


def weigh(
    rollout: Rollout,
    source: str,
    rules: Sequence[Mapping[str, Any]],
    killed: bool,
    target: Target,
    at: datetime,
) -> Exposure:
    if (off := stopped(rollout, source, killed, target, at)) is not None:
        return off
    for rule in rules:
        if is_open(rule, at) and matches(rule, rollout.row.key, target):
            return Exposure(True, f"On for {said(rule)}.", source)
    return Exposure(False, "No rule is about this tenant.", source)


def stopped(rollout: Rollout, source: str, killed: bool, target: Target, at: datetime) -> Exposure | None:
    """What no rule overrules."""
    if rollout.row.retired_at is not None and rollout.row.retired_at <= at:
        return Exposure(False, "The flag is retired.", rollout.row.id)
    if killed:
        return Exposure(False, "The kill switch is on.", source)
    if target.own.get(rollout.row.key) is False:
        return Exposure(False, "Switched off for this tenant.", source)
    return None


def matches(rule: Mapping[str, Any], flag: str, target: Target) -> bool:
    kind = rule["kind"]
    if kind == "everyone":
        return True
    if kind == "allowed":
        return target.own.get(flag) is True
    if kind == "percentage":
        # In whole buckets: 1.1 % of them would otherwise be a hair more than 110.
        return bucket(flag, target.tenant_id) < round(float(rule["percent"]) * (BUCKETS // 100))
    if kind == "plan":
        return target.plan in rule["values"]
    if kind in ("internal", "beta"):
        return target.traits.get(kind) == "yes"
    return target.traits.get(kind) in rule["values"]


def bucket(flag: str, tenant_id: str) -> int:
    """0 to 9,999, the same for ever: raising the percentage adds tenants and takes none away."""
    digest = hashlib.sha256(f"{flag}:{tenant_id}".encode()).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def said(rule: Mapping[str, Any]) -> str:
    kind = rule["kind"]
    if kind == "percentage":
        return f"{rule['percent']:g} % of all tenants"
    if kind not in WITH_VALUES:
        return KINDS[kind]
    values = [value.replace("_", " ") for value in rule["values"]]
    return (
        f"{KINDS[kind]} {values[0]}" if len(values) == 1 else f"the {WITH_VALUES[kind]} {', '.join(values)}"
    )


def is_open(rule: Mapping[str, Any], at: datetime) -> bool:
    """Within its time."""
    since, until = rule.get("starts_at"), rule.get("ends_at")
    return (not since or datetime.fromisoformat(since) <= at) and (
        not until or at < datetime.fromisoformat(until)
    )
