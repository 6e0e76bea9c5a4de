"""Features and limits of one tenant at one time, with the row that each of them comes from.

A chain starts with the plan. Add-ons add to it, and an override replaces it. When the tenant has no subscription or
its trial has ended, the fallback plan is the maximum.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from shared.core.context import Limit
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantAddon, TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot

REGISTRY_SOURCE = "registry"  # the source of values that come from the code
ZERO_LIMIT = Limit(0)


class StepKind(StrEnum):
    PLAN = "plan"
    SEATS = "seats"  # purchased one by one, within the plan's limit
    ADDON = "addon"
    OVERRIDE = "override"
    FALLBACK = "fallback"  # the fallback plan, without a subscription or after the trial


# Bound once: Python 3.11 looks a member of an enum up slowly.
_PLAN, _SEATS, _ADDON = StepKind.PLAN, StepKind.SEATS, StepKind.ADDON
_OVERRIDE, _FALLBACK = StepKind.OVERRIDE, StepKind.FALLBACK


class FeatureStep(NamedTuple):
    kind: StepKind
    included: bool  # after this step
    source_id: str
    offer: PlanOffer | None = None  # of the plan, the add-on or the fallback plan
    override: TenantOverride | None = None


class LimitStep(NamedTuple):
    kind: StepKind
    limit: Limit  # after this step
    source_id: str
    offer: PlanOffer | None = None
    override: TenantOverride | None = None
    quantity: int = 1  # of the add-on


class FeatureChain(NamedTuple):
    feature: str
    entitled: bool  # by plan, add-ons and overrides alone
    included: bool  # after billing and trial
    snapshot: EntitlementSnapshot
    steps: Sequence[FeatureStep]

    @property
    def source_id(self) -> str:
        """Id of the row that decides."""
        return self.steps[-1].source_id


class LimitChain(NamedTuple):
    name: str
    limit: Limit
    snapshot: EntitlementSnapshot
    steps: Sequence[LimitStep]

    @property
    def source_id(self) -> str:
        """Id of the row that decides."""
        return self.steps[-1].source_id


class Entitlements:
    """The chains of one tenant at one time. Each is built lazily."""

    __slots__ = ("_fallback", "_features", "_limits", "catalog", "snapshot")

    def __init__(self, snapshot: EntitlementSnapshot, catalog: Catalog) -> None:
        self.snapshot, self.catalog = snapshot, catalog
        self._features: dict[str, FeatureChain] = {}
        self._limits: dict[str, LimitChain] = {}
        self._fallback: PlanOffer | None = None

    @property
    def fallback(self) -> PlanOffer:
        """The plan that applies without a subscription and after a trial."""
        if self._fallback is None:
            self._fallback = self.catalog.fallback_offer(self.snapshot.at)
        return self._fallback

    def is_entitled(self, feature: str) -> bool:
        """By plan, add-ons and overrides alone."""
        override = self.snapshot.overrides.get(("feature", feature))
        if override is not None:
            return bool(override.value)
        return feature in self.snapshot.offer.features or find_addon(self.snapshot, feature) is not None

    def is_included(self, feature: str) -> bool:
        """Also when billing and the trial are considered."""
        if not self.is_entitled(feature):
            return False
        return not has_fallen_back(self.snapshot) or feature in self.fallback.features

    def feature(self, feature: str) -> FeatureChain:
        """For explanations: every step. A decision needs `is_included` only."""
        chain = self._features.get(feature)
        if chain is None:
            chain = self._features[feature] = _build_feature_chain(self, feature)
        return chain

    def limit(self, name: str) -> LimitChain:
        chain = self._limits.get(name)
        if chain is None:
            chain = self._limits[name] = _build_limit_chain(self, name)
        return chain


def build_feature_chain(snapshot: EntitlementSnapshot, catalog: Catalog, feature: str) -> FeatureChain:
    return Entitlements(snapshot, catalog).feature(feature)


def has_fallen_back(snapshot: EntitlementSnapshot) -> bool:
    """Whether the fallback plan bounds what the tenant has."""
    return snapshot.billing_status == "none" or snapshot.trial_ended


def get_override_limit(row: TenantOverride) -> Limit:
    return Limit(row.value["amount"], row.value["hard"])


def raise_limit(limit: Limit, added_limit: Limit, quantity: int) -> Limit:
    if limit.amount is None or added_limit.amount is None:
        return Limit(None, limit.hard)
    return Limit(limit.amount + added_limit.amount * quantity, limit.hard)


def get_lower_limit(first: Limit, second: Limit) -> Limit:
    if first.amount is None or (second.amount is not None and second.amount < first.amount):
        return second
    return first


def get_plan_limit(snapshot: EntitlementSnapshot, name: str) -> Limit:
    """The limit of the plan; where seats are purchased one by one, their number up to that limit."""
    limit, seats = snapshot.offer.limits.get(name, ZERO_LIMIT), snapshot.seats
    if seats is None or not LIMITS[name].capped_by_seats:
        return limit
    return get_lower_limit(limit, Limit(seats, limit.hard))


def find_addon(snapshot: EntitlementSnapshot, feature: str) -> tuple[TenantAddon, PlanOffer] | None:
    """The first add-on that includes `feature`."""
    return next((addon for addon in snapshot.addons if feature in addon[1].features), None)


def _build_feature_chain(entitlements: Entitlements, feature: str) -> FeatureChain:
    snapshot = entitlements.snapshot
    entitled, included = entitlements.is_entitled(feature), entitlements.is_included(feature)
    in_plan = feature in snapshot.offer.features
    steps = [FeatureStep(_PLAN, in_plan, snapshot.offer.id, snapshot.offer)]
    for row, addon in snapshot.addons:
        if feature in addon.features:
            steps.append(FeatureStep(_ADDON, True, row.id, addon))
    override = snapshot.overrides.get(("feature", feature))
    if override is not None:
        steps.append(FeatureStep(_OVERRIDE, entitled, override.id, override=override))
    if entitled and not included:
        source_id = _get_fallback_source(snapshot)
        steps.append(FeatureStep(_FALLBACK, False, source_id, entitlements.fallback))
    return FeatureChain(feature, entitled, included, snapshot, steps)


def _build_limit_chain(entitlements: Entitlements, name: str) -> LimitChain:
    snapshot = entitlements.snapshot
    limit = snapshot.offer.limits.get(name, ZERO_LIMIT)
    steps = [LimitStep(_PLAN, limit, snapshot.offer.id, snapshot.offer)]
    plan_limit = get_plan_limit(snapshot, name)
    if plan_limit != limit and snapshot.assignment is not None:
        limit = plan_limit
        steps.append(LimitStep(_SEATS, limit, snapshot.assignment.id, snapshot.offer))
    for row, addon in snapshot.addons:
        if name in addon.limits:
            limit = raise_limit(limit, addon.limits[name], row.quantity)
            steps.append(LimitStep(_ADDON, limit, row.id, addon, quantity=row.quantity))
    override = snapshot.overrides.get(("limit", name))
    if override is not None:
        limit = get_override_limit(override)
        steps.append(LimitStep(_OVERRIDE, limit, override.id, override=override))
    if has_fallen_back(snapshot):
        lowered_limit = get_lower_limit(limit, entitlements.fallback.limits.get(name, ZERO_LIMIT))
        if lowered_limit != limit:
            limit, source_id = lowered_limit, _get_fallback_source(snapshot)
            steps.append(LimitStep(_FALLBACK, limit, source_id, entitlements.fallback))
    return LimitChain(name, limit, snapshot, steps)


def _get_fallback_source(snapshot: EntitlementSnapshot) -> str:
    if snapshot.billing_status == "none" and snapshot.billing:
        return snapshot.billing.id
    return snapshot.assignment.id if snapshot.assignment else REGISTRY_SOURCE
