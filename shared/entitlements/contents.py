"""What one version of a plan or add-on gives: checked before it is kept, and compared with another in words."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.core.ctx import Limit
from shared.core.errors import Invalid
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import Plan, PlanVersion

MOST = 1_000_000_000  # amount of a limit
LONGEST_TRIAL = 365


@dataclass(frozen=True, slots=True)
class Content:
    """Of an add-on, `limits` are what it adds: those that are not named stay as they are."""

    trial_days: int = 0
    features: frozenset[str] = frozenset()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()  # seeded for a tenant that is given the plan


def of(version: PlanVersion) -> Content:
    limits = {name: Limit(one["amount"], one["hard"]) for name, one in version.limits.items()}
    return Content(version.trial_days, frozenset(version.features), limits, frozenset(version.flags))


def first(kind: str) -> Content:
    """Of what has no version yet: nothing."""
    return Content(limits={name: Limit(0) for name in LIMITS} if kind == "plan" else {})


def put(version: PlanVersion, content: Content) -> None:
    version.trial_days, version.features = content.trial_days, sorted(content.features)
    version.limits = {name: {"amount": one.amount, "hard": one.hard} for name, one in content.limits.items()}
    version.flags = sorted(content.flags)


def check(kind: str, content: Content, flags: Collection[str]) -> None:
    """`flags`: that exist. Raises Invalid, with a sentence for each field."""
    wrong = {str(name): "There is no such feature." for name in content.features if name not in FEATURES}
    wrong |= {str(name): "There is no such flag." for name in content.flags if name not in flags}
    wrong |= {str(name): "There is no such limit." for name in content.limits if name not in LIMITS}
    least = 0 if kind == "plan" else 1
    for name in LIMITS:
        limit = content.limits.get(name)
        if limit is None and kind == "plan":
            wrong[name] = f"{LIMITS[name].title} needs an amount."
        if limit is not None and not _is_amount(limit, least):
            wrong[name] = f"{LIMITS[name].title} is a number from {least} to {MOST:,}, or unlimited."
    days = content.trial_days
    if not isinstance(days, int) or isinstance(days, bool) or not 0 <= days <= LONGEST_TRIAL:
        wrong["trial_days"] = f"A trial has 0 to {LONGEST_TRIAL} days."
    elif kind != "plan" and (days or content.flags):
        wrong["trial_days"] = "An add-on has no trial and seeds no flags."
    if wrong:
        said = " ".join(sorted(set(wrong.values())))
        raise Invalid(said, "Nothing was changed. Correct it and try again.", fields=wrong)


def _is_amount(limit: Limit, least: int) -> bool:
    amount: Any = limit.amount
    hard: Any = limit.hard
    if not isinstance(hard, bool):
        return False
    return amount is None or (
        isinstance(amount, int) and not isinstance(amount, bool) and least <= amount <= MOST
    )


def is_empty(content: Content) -> bool:
    """An add-on that would add nothing."""
    return not content.features and not content.limits


def differences(before: Content, after: Content) -> list[tuple[str, str, str]]:
    """Title, before and after of what is not the same, "" for nothing."""
    one, other = dict(_lines(before)), dict(_lines(after))
    names = [*one, *(name for name in other if name not in one)]
    return [
        (name, one.get(name, ""), other.get(name, ""))
        for name in names
        if one.get(name, "") != other.get(name, "")
    ]


def _lines(content: Content) -> Iterable[tuple[str, str]]:
    for name, kind in LIMITS.items():
        if name in content.limits:
            yield kind.title, said(content.limits[name], name)
    for name, feature in FEATURES.items():
        yield feature.title, "included" if name in content.features else "not included"
    yield "Trial", f"{content.trial_days} days" if content.trial_days != 1 else "1 day"
    yield "Flags", ", ".join(sorted(content.flags))


def said(limit: Limit, name: str) -> str:
    """As in "25 seats" or "100,000 calls a month, warns above"."""
    warns = "" if limit.hard or limit.amount is None else ", warns above"
    return f"{explain.amount(limit, name)}{warns}"


def digest(version: PlanVersion, epoch: int, moves: bool, effective_at: datetime | None) -> str:
    """Of everything that decides what publishing would do. `effective_at`: None for at once."""
    limits = sorted((name, one["amount"], one["hard"]) for name, one in version.limits.items())
    told = [
        *(version.id, version.revision, version.trial_days, sorted(version.features), limits),
        *(sorted(version.flags), epoch, moves, effective_at.isoformat() if effective_at else ""),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def as_if_published(plan: Plan, draft: PlanVersion, moves: bool, at: datetime) -> PlanVersion:
    """A row of its own that is kept nowhere, for looking at what the draft would do.

    What is compiled is remembered by the id of the version. A draft changes under its id, so this one names its content.
    """
    shown = PlanVersion(
        id=f"{draft.id}@{digest(draft, 0, moves, None)[:24]}",
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
    put(shown, of(draft))
    return shown
