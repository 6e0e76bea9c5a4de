"""The content of a version of a plan or add-on: validation, and comparison in words."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.core.context import Limit
from shared.core.errors import Invalid
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import Plan, PlanVersion

MAX_AMOUNT = 1_000_000_000  # amount of a limit
MAX_TRIAL_DAYS = 365


@dataclass(frozen=True, slots=True)
class PlanContent:
    """`limits` of an add-on are added to the plan's; limits that are left out stay as they are."""

    trial_days: int = 0
    features: frozenset[str] = frozenset()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()  # seeded for a tenant that is given the plan


def from_version(version: PlanVersion) -> PlanContent:
    limits = {name: Limit(limit["amount"], limit["hard"]) for name, limit in version.limits.items()}
    return PlanContent(version.trial_days, frozenset(version.features), limits, frozenset(version.flags))


def build_empty(kind: str) -> PlanContent:
    """The content of a plan or add-on without a version: every limit is 0."""
    return PlanContent(limits={name: Limit(0) for name in LIMITS} if kind == "plan" else {})


def write_to_version(version: PlanVersion, content: PlanContent) -> None:
    version.trial_days, version.features = content.trial_days, sorted(content.features)
    version.limits = {
        name: {"amount": limit.amount, "hard": limit.hard} for name, limit in content.limits.items()
    }
    version.flags = sorted(content.flags)


def validate(kind: str, content: PlanContent, flags: Collection[str]) -> None:
    """`flags`: existing keys. Raises Invalid, with a sentence for each field."""
    errors = {str(name): "A feature doesn’t exist." for name in content.features if name not in FEATURES}
    errors |= {str(name): "A flag doesn’t exist." for name in content.flags if name not in flags}
    errors |= {str(name): "A limit doesn’t exist." for name in content.limits if name not in LIMITS}
    minimum = 0 if kind == "plan" else 1
    for name in LIMITS:
        limit = content.limits.get(name)
        if limit is None and kind == "plan":
            errors[name] = f"{LIMITS[name].title} needs an amount."
        if limit is not None and not _is_amount(limit, minimum):
            errors[name] = f"{LIMITS[name].title} must be from {minimum} to {MAX_AMOUNT:,}, or unlimited."
    days = content.trial_days
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= MAX_TRIAL_DAYS:
        errors["trial_days"] = f"A trial can have 0 to {MAX_TRIAL_DAYS} days."
    elif kind != "plan" and (days or content.flags):
        errors["trial_days"] = "Add-ons can’t have a trial or flags."
    if errors:
        message = " ".join(sorted(set(errors.values())))
        raise Invalid(message, "Nothing was changed. Correct it and try again.", fields=errors)


def _is_amount(limit: Limit, minimum: int) -> bool:
    amount: Any = limit.amount
    hard: Any = limit.hard
    if not isinstance(hard, bool):
        return False
    return amount is None or (
        isinstance(amount, int) and not isinstance(amount, bool) and minimum <= amount <= MAX_AMOUNT
    )


def is_empty(content: PlanContent) -> bool:
    """Whether an add-on would add nothing."""
    return not content.features and not content.limits


def compare(before: PlanContent, after: PlanContent) -> list[tuple[str, str, str]]:
    """(title, before, after) of each difference; "" for nothing."""
    before_lines, after_lines = dict(_describe_content(before)), dict(_describe_content(after))
    names = [*before_lines, *(name for name in after_lines if name not in before_lines)]
    return [
        (name, before_lines.get(name, ""), after_lines.get(name, ""))
        for name in names
        if before_lines.get(name, "") != after_lines.get(name, "")
    ]


def _describe_content(content: PlanContent) -> Iterable[tuple[str, str]]:
    for name, kind in LIMITS.items():
        if name in content.limits:
            yield kind.title, format_limit(content.limits[name], name)
    for name, feature in FEATURES.items():
        yield feature.title, "included" if name in content.features else "not included"
    yield "Trial", f"{content.trial_days} days" if content.trial_days != 1 else "1 day"
    yield "Flags", ", ".join(sorted(content.flags))


def format_limit(limit: Limit, name: str) -> str:
    """As in "25 seats" or "100,000 calls a month, warns only"."""
    warns = "" if limit.hard or limit.amount is None else ", warns only"
    return f"{explain.format_amount(limit, name)}{warns}"


def compute_digest(version: PlanVersion, epoch: int, moves: bool, effective_at: datetime | None) -> str:
    """A digest of everything that the impact of publishing depends on. `effective_at`: None for now."""
    limits = sorted((name, limit["amount"], limit["hard"]) for name, limit in version.limits.items())
    digested = [
        *(version.id, version.revision, version.trial_days, sorted(version.features), limits),
        *(sorted(version.flags), epoch, moves, effective_at.isoformat() if effective_at else ""),
    ]
    return hashlib.sha256(json.dumps(digested).encode()).hexdigest()


def build_published_version(plan: Plan, draft: PlanVersion, moves: bool, at: datetime) -> PlanVersion:
    """A row that isn't stored, to preview the impact of the draft.

    Compiled rights are cached by version id. A draft changes under one id, so this id contains a digest of its content.
    """
    version = PlanVersion(
        id=f"{draft.id}@{compute_digest(draft, 0, moves, None)[:24]}",
        plan_id=plan.id,
        for_tenant=plan.for_tenant,
        number=draft.number,
        status="published",
        revision=draft.revision,
        moves=moves,
        effective_at=at,
        published_at=at,
        created_by=draft.created_by,
    )
    write_to_version(version, from_version(draft))
    return version
