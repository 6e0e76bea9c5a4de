"""The comparison of tenants' rights with and without a change: gains, losses, exceeded limits, changed decisions.

Pure functions of the rights of each tenant before and after. `backoffice.impact` loads the facts and defines the
change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.access.actions import ACTIONS, Action
from shared.access.decision import Decision, decide
from shared.access.refusal_codes import ALLOWED_REASONS, Reason
from shared.access.roles import OWNER, ROLES
from shared.core.context import Limit, Rights
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS

MAX_NAMED_TENANTS = 50  # tenants that a line lists; its count includes all
# Refusals that no plan changes, because of the role or the object.
NOT_TENANT_REASONS = frozenset({Reason.MISSING_PERMISSION.value, Reason.OBJECT_STATE.value})
TENANT_REASONS = frozenset(reason.value for reason in Reason) - NOT_TENANT_REASONS


@dataclass(frozen=True, slots=True)
class CountedDecision:
    """Counted decisions of one tenant (`access.decision_counts`)."""

    action: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class TenantCase:
    """One tenant without the change and with it."""

    tenant_id: str
    name: str
    before: Rights
    after: Rights
    usage: Mapping[str, int] = field(default_factory=dict)  # by limit, where usage is counted
    decisions: Sequence[CountedDecision] = ()


@dataclass(frozen=True, slots=True)
class AffectedTenant:
    id: str
    name: str
    usage: int = 0  # of an exceeded limit


@dataclass(slots=True)
class EntitlementChange:
    """Tenants for whom the same feature or limit changes in the same way."""

    target: str  # "feature" or "limit"
    name: str
    before: Limit | None = None  # of a limit
    after: Limit | None = None
    tenant_count: int = 0
    tenants: list[AffectedTenant] = field(default_factory=list)  # the first of them, by name

    def add(self, tenant: AffectedTenant) -> None:
        self.tenant_count += 1
        if len(self.tenants) < MAX_NAMED_TENANTS:
            self.tenants.append(tenant)


@dataclass(slots=True)
class DecisionChange:
    """Decisions whose outcome would change."""

    action: str
    reason: str  # of the new or the previous refusal
    is_allowed: bool  # with the change
    decision_count: int = 0
    tenant_count: int = 0  # tenants
    tenants: list[AffectedTenant] = field(default_factory=list)


@dataclass(slots=True)
class ImpactReport:
    """Largest first."""

    compared_tenants: int = 0
    gaining_tenants: int = 0  # tenants; one tenant can be in both
    losing_tenants: int = 0
    exceeding_tenants: int = 0
    newly_refused: int = 0  # decisions
    newly_allowed: int = 0
    gains: list[EntitlementChange] = field(default_factory=list)
    losses: list[EntitlementChange] = field(default_factory=list)
    exceeded_limits: list[EntitlementChange] = field(default_factory=list)
    decision_changes: list[DecisionChange] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.gains or self.losses or self.exceeded_limits or self.decision_changes)

    @property
    def numbers(self) -> dict[str, int]:
        """Numbers for the audit event."""
        return {
            "tenants_looked_at": self.compared_tenants,
            "tenants_gaining": self.gaining_tenants,
            "tenants_losing": self.losing_tenants,
            "tenants_going_over_a_limit": self.exceeding_tenants,
            "decisions_that_would_be_refused": self.newly_refused,
            "decisions_that_would_be_allowed": self.newly_allowed,
        }


class ImpactComparison:
    """Collects one tenant at a time, in order of their names, so that the caller can yield between many."""

    def __init__(self) -> None:
        self._report = ImpactReport()
        self._gains: dict[object, EntitlementChange] = {}
        self._losses: dict[object, EntitlementChange] = {}
        self._exceeded_limits: dict[object, EntitlementChange] = {}
        self._decision_changes: dict[tuple[str, str, bool], DecisionChange] = {}

    def add(self, case: TenantCase) -> None:
        report = self._report
        report.compared_tenants += 1
        if (
            case.before is case.after
            or (case.before.features == case.after.features and case.before.limits == case.after.limits)
        ) and case.before.verdicts == case.after.verdicts:
            return
        tenant = AffectedTenant(case.tenant_id, case.name)
        gained_count = _collect_changes(
            self._gains, tenant, _list_entitlement_changes(case.before, case.after, better=True)
        )
        lost_count = _collect_changes(
            self._losses, tenant, _list_entitlement_changes(case.before, case.after, better=False)
        )
        exceeded_count = 0
        for name, used in case.usage.items():
            before, after = case.before.limits[name], case.after.limits[name]
            if _is_exceeded(used, after) and not _is_exceeded(used, before):
                exceeded_count += 1
                change = self._exceeded_limits.setdefault(
                    (name, before, after), EntitlementChange("limit", name, before=before, after=after)
                )
                change.add(AffectedTenant(case.tenant_id, case.name, used))
        report.gaining_tenants += gained_count > 0
        report.losing_tenants += lost_count > 0
        report.exceeding_tenants += exceeded_count > 0
        self._count_decision_changes(case, tenant)

    def _count_decision_changes(self, case: TenantCase, tenant: AffectedTenant) -> None:
        seen_keys: set[tuple[str, str, bool]] = set()
        for decision in case.decisions:
            decision_change = find_decision_change(case, decision)
            if decision_change is None:
                continue
            reason, allowed = decision_change
            key = (decision.action, reason, allowed)
            change = self._decision_changes.setdefault(key, DecisionChange(*key))
            change.decision_count += decision.count
            if allowed:
                self._report.newly_allowed += decision.count
            else:
                self._report.newly_refused += decision.count
            if key not in seen_keys:
                seen_keys.add(key)
                change.tenant_count += 1
                if len(change.tenants) < MAX_NAMED_TENANTS:
                    change.tenants.append(tenant)

    def build_report(self) -> ImpactReport:
        report = self._report
        report.gains, report.losses, report.exceeded_limits = (
            sorted(changes.values(), key=lambda change: (-change.tenant_count, change.target, change.name))
            for changes in (self._gains, self._losses, self._exceeded_limits)
        )
        report.decision_changes = sorted(
            self._decision_changes.values(),
            key=lambda change: (change.is_allowed, -change.decision_count, change.action),
        )
        return report


def find_decision_change(case: TenantCase, counted_decision: CountedDecision) -> tuple[str, bool] | None:
    """The reason of the refusal, and whether the decision would be allowed; None for an unchanged decision.

    The decision is made again with and without the change, as of now. The change is the cause only where the outcome
    without it is the counted one, and the outcome with it differs.
    """
    action = ACTIONS.get(counted_decision.action)
    if action is None or counted_decision.reason not in TENANT_REASONS:
        return None
    used = case.usage.get(action.limit) if action.limit else None
    before, after = decide_again(case.before, action, used), decide_again(case.after, action, used)
    was_allowed = Reason(counted_decision.reason) in ALLOWED_REASONS
    if was_allowed != before.allowed or before.allowed == after.allowed:
        return None
    return (before.reason.value, True) if after.allowed else (after.reason.value, False)


@dataclass(frozen=True, slots=True)
class AnyPermittedPerson:
    """A person with every permission, because only the tenant's side is compared."""

    rights: Rights
    permissions: frozenset[str] = field(default_factory=lambda: ROLES[OWNER].permissions)


def decide_again(rights: Rights, action: Action, used: int | None) -> Decision:
    return decide(AnyPermittedPerson(rights), action, used=used)


def _collect_changes(
    changes_by_key: dict[object, EntitlementChange],
    tenant: AffectedTenant,
    changes: Iterator[EntitlementChange],
) -> int:
    count = 0
    for change in changes:
        count += 1
        changes_by_key.setdefault((change.target, change.name, change.before, change.after), change).add(
            tenant
        )
    return count


def _list_entitlement_changes(before: Rights, after: Rights, *, better: bool) -> Iterator[EntitlementChange]:
    larger, smaller = (after, before) if better else (before, after)
    for name in FEATURES:
        if name in larger.features and name not in smaller.features:
            yield EntitlementChange("feature", name)
    for name in LIMITS:
        limit_before, limit_after = before.limits[name], after.limits[name]
        if limit_before != limit_after and (_rank_limit(limit_after) > _rank_limit(limit_before)) is better:
            yield EntitlementChange("limit", name, before=limit_before, after=limit_after)


def _rank_limit(limit: Limit) -> tuple[float, bool]:
    """Sort key: a larger amount is better, and for equal amounts a soft limit."""
    return (float("inf"), True) if limit.amount is None else (limit.amount, not limit.hard)


def _is_exceeded(used: int, limit: Limit) -> bool:
    return limit.amount is not None and used > limit.amount
