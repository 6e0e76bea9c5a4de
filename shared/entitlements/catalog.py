"""The immutable catalog that every process caches: published plans and add-ons over time, and flag rules.

Every entry reads `entitlement_epoch` to know whether the cached catalog is current (`entitlements.rights_cache`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from shared.core.context import Limit
from shared.entitlements.models import FlagRow, FlagVersion, Plan, PlanVersion

FALLBACK_PLAN_KEY = "free"  # key of the plan for tenants without a subscription


@dataclass(frozen=True, slots=True)
class PlanOffer:
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
    def label(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True, slots=True)
class FlagRollout:
    """A flag with all versions of its rules, oldest first."""

    flag: FlagRow
    versions: Sequence[FlagVersion]

    def version_at(self, at: datetime) -> FlagVersion | None:
        """The version in effect. Ordered by number, because clocks of machines differ."""
        return next((version for version in reversed(self.versions) if version.created_at <= at), None)


@dataclass(frozen=True, slots=True)
class Catalog:
    epoch: int
    offers: Mapping[str, PlanOffer] = field(default_factory=dict)  # by id of the version
    offers_by_plan: Mapping[str, Sequence[PlanOffer]] = field(
        default_factory=dict
    )  # by id of the plan, oldest number first
    plans: Mapping[str, Plan] = field(default_factory=dict)  # by id, retired ones included
    flags: Mapping[str, FlagRollout] = field(default_factory=dict)  # by key

    def with_custom_plans(self, plans: Iterable[Plan], versions: Iterable[PlanVersion]) -> "Catalog":
        """The catalog extended by plans for a single tenant."""
        all_plans = {**self.plans, **{plan.id: plan for plan in plans}}
        offers = {
            **self.offers,
            **{version.id: build_offer(all_plans[version.plan_id], version) for version in versions},
        }
        return Catalog(self.epoch, offers, _group_by_plan(offers.values()), all_plans, self.flags)

    def resolve_offer(self, version_id: str, at: datetime) -> PlanOffer:
        """The offer in effect for an assigned version: a later version may have replaced it."""
        assigned_offer = self.offers[version_id]
        replacements = [
            offer
            for offer in self.offers_by_plan[assigned_offer.plan_id]
            if offer.moves and offer.number > assigned_offer.number and offer.effective_at <= at
        ]
        return replacements[-1] if replacements else assigned_offer

    def newest_offer(self, plan_id: str, at: datetime) -> PlanOffer | None:
        """The version that a new subscriber gets at `at`; None where nothing is in force."""
        return next(
            (offer for offer in reversed(self.offers_by_plan.get(plan_id, ())) if offer.effective_at <= at),
            None,
        )

    def find_offer(self, key: str, at: datetime) -> PlanOffer | None:
        """The newest offer of a plan that all tenants are offered."""
        for plan in self.plans.values():
            if plan.key == key and plan.for_tenant is None:
                return self.newest_offer(plan.id, at)
        return None

    def fallback_offer(self, at: datetime) -> PlanOffer:
        offer = self.find_offer(FALLBACK_PLAN_KEY, at)
        assert offer is not None, "the migration that makes the catalogue has made this plan"
        return offer

    def list_offers(self, at: datetime, kind: str = "plan") -> list[PlanOffer]:
        """Offers that all tenants can choose at `at`, from the smallest to the largest."""
        plans = [
            plan
            for plan in self.plans.values()
            if plan.kind == kind
            and plan.for_tenant is None
            and (plan.retired_at is None or plan.retired_at > at)
        ]
        newest = [self.newest_offer(plan.id, at) for plan in sorted(plans, key=lambda plan: plan.position)]
        return [offer for offer in newest if offer is not None]


def build_catalog(
    epoch: int,
    plans: Iterable[Plan],
    versions: Iterable[PlanVersion],
    flags: Iterable[FlagRow],
    flag_versions: Iterable[FlagVersion],
) -> Catalog:
    versions_by_flag: dict[str, list[FlagVersion]] = {}
    for version in sorted(flag_versions, key=lambda version: version.number):
        versions_by_flag.setdefault(version.flag_id, []).append(version)
    rollouts = {row.key: FlagRollout(row, tuple(versions_by_flag.get(row.id, ()))) for row in flags}
    return Catalog(epoch, flags=rollouts).with_custom_plans(plans, versions)


def build_offer(plan: Plan, version: PlanVersion) -> PlanOffer:
    """The offer of a version. Accepts drafts, to preview their impact."""
    effective_at = version.effective_at or version.created_at
    return PlanOffer(
        version.id,
        plan.id,
        plan.key,
        plan.name,
        plan.kind,
        version.number,
        version.for_tenant,
        version.trial_days,
        frozenset(version.features),
        {name: Limit(limit["amount"], limit["hard"]) for name, limit in version.limits.items()},
        frozenset(version.flags),
        version.moves,
        effective_at,
        version.published_at or effective_at,
    )


def _group_by_plan(offers: Iterable[PlanOffer]) -> dict[str, tuple[PlanOffer, ...]]:
    offers_by_plan: dict[str, list[PlanOffer]] = {}
    for offer in sorted(offers, key=lambda offer: offer.number):
        offers_by_plan.setdefault(offer.plan_id, []).append(offer)
    return {plan: tuple(versions) for plan, versions in offers_by_plan.items()}
