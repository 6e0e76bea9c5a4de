"""The catalogue as every process keeps it in memory: what was published, by when, and what flags say. Immutable.

Whether it is still the newest tells `entitlement_epoch`, which is read with every entry (`entitlements.rights`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.core.ctx import Limit
from shared.entitlements.models import FlagRow, FlagVersion, Plan, PlanVersion

FALLBACK = "free"  # key of the plan that remains when nobody pays


@dataclass(frozen=True, slots=True)
class Offer:
    """One published version of a plan or add-on."""

    id: str
    plan_id: str
    key: str
    name: str
    kind: str
    number: int
    for_tenant: str | None
    trial_days: int
    features: frozenset[str]
    limits: Mapping[str, Limit]
    flags: frozenset[str]
    moves: bool
    effective_at: datetime
    published_at: datetime

    @property
    def said(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True, slots=True)
class Rollout:
    """A flag and everything its rules ever said, oldest first."""

    row: FlagRow
    versions: Sequence[FlagVersion]

    def at(self, at: datetime) -> FlagVersion | None:
        """By number, because two machines whose clocks differ may have written them."""
        return next((one for one in reversed(self.versions) if one.created_at <= at), None)


@dataclass(frozen=True, slots=True)
class Catalogue:
    epoch: int
    offers: Mapping[str, Offer] = field(default_factory=dict)  # by id of the version
    by_plan: Mapping[str, Sequence[Offer]] = field(
        default_factory=dict
    )  # by id of the plan, oldest number first
    plans: Mapping[str, Plan] = field(default_factory=dict)  # by id, also retired ones
    flags: Mapping[str, Rollout] = field(default_factory=dict)  # by key

    def with_own(self, plans: Iterable[Plan], versions: Iterable[PlanVersion]) -> "Catalogue":
        """And what is offered to one tenant only."""
        every = {**self.plans, **{plan.id: plan for plan in plans}}
        offers = {**self.offers, **{one.id: offer(every[one.plan_id], one) for one in versions}}
        return Catalogue(self.epoch, offers, _by_plan(offers.values()), every, self.flags)

    def moved(self, assigned: str, at: datetime) -> Offer:
        """What a tenant that was given this version has now: a later one may have replaced it."""
        given = self.offers[assigned]
        later = [
            one
            for one in self.by_plan[given.plan_id]
            if one.moves and one.number > given.number and one.effective_at <= at
        ]
        return later[-1] if later else given

    def newest(self, plan_id: str, at: datetime) -> Offer | None:
        """What somebody who chooses the plan now gets."""
        return next((one for one in reversed(self.by_plan.get(plan_id, ())) if one.effective_at <= at), None)

    def by_key(self, key: str, at: datetime) -> Offer | None:
        """The same, of a plan that everybody is offered."""
        for plan in self.plans.values():
            if plan.key == key and plan.for_tenant is None:
                return self.newest(plan.id, at)
        return None

    def fallback(self, at: datetime) -> Offer:
        found = self.by_key(FALLBACK, at)
        assert found is not None, "the migration that makes the catalogue has made this plan"
        return found

    def sold(self, at: datetime, kind: str = "plan") -> list[Offer]:
        """What everybody may choose now, from the least to the most."""
        shown = [
            plan
            for plan in self.plans.values()
            if plan.kind == kind
            and plan.for_tenant is None
            and (plan.retired_at is None or plan.retired_at > at)
        ]
        newest = [self.newest(plan.id, at) for plan in sorted(shown, key=lambda one: one.position)]
        return [one for one in newest if one is not None]


def build(
    epoch: int,
    plans: Iterable[Plan],
    versions: Iterable[PlanVersion],
    flags: Iterable[FlagRow],
    flag_versions: Iterable[FlagVersion],
) -> Catalogue:
    said: dict[str, list[FlagVersion]] = {}
    for one in sorted(flag_versions, key=lambda one: one.number):
        said.setdefault(one.flag_id, []).append(one)
    rollouts = {row.key: Rollout(row, tuple(said.get(row.id, ()))) for row in flags}
    return Catalogue(epoch, flags=rollouts).with_own(plans, versions)


def offer(plan: Plan, version: PlanVersion) -> Offer:
    """A draft too, as if it were published: for looking at what it would do."""
    since = version.effective_at or version.created_at
    return Offer(
        version.id,
        plan.id,
        plan.key,
        plan.name,
        plan.kind,
        version.number,
        version.for_tenant,
        version.trial_days,
        frozenset(version.features),
        {name: Limit(one["amount"], one["hard"]) for name, one in version.limits.items()},
        frozenset(version.flags),
        version.moves,
        since,
        version.published_at or since,
    )


def _by_plan(offers: Iterable[Offer]) -> dict[str, tuple[Offer, ...]]:
    found: dict[str, list[Offer]] = {}
    for one in sorted(offers, key=lambda one: one.number):
        found.setdefault(one.plan_id, []).append(one)
    return {plan: tuple(versions) for plan, versions in found.items()}
