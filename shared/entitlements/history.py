"""The rows that say what a tenant was entitled to at any time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.entitlements.catalog import Catalog
from shared.entitlements.models import (
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    TimedRow,
)
from shared.entitlements.snapshot import EntitlementSnapshot, is_in_effect

TimedRowType = TypeVar("TimedRowType", bound=TimedRow)


@dataclass(frozen=True, slots=True)
class EntitlementHistory:
    tenant_id: str
    assignments: Sequence[TenantPlan] = ()
    addons: Sequence[TenantAddon] = ()
    overrides: Sequence[TenantOverride] = ()
    billing: Sequence[TenantBilling] = ()
    flags: Sequence[TenantFlag] = ()
    traits: Sequence[TenantTrait] = ()
    custom_plans: Sequence[Plan] = ()  # offered to this tenant only
    custom_versions: Sequence[PlanVersion] = ()

    def snapshot_at(
        self, catalog: Catalog, at: datetime, *, known_at: datetime | None = None
    ) -> EntitlementSnapshot:
        """The entitlements at a time. `catalog`: with this tenant's custom plans (`extend_catalog`)."""

        def counting(rows: Sequence[TimedRowType]) -> list[TimedRowType]:
            return sorted((row for row in rows if is_in_effect(row, at, known_at)), key=_start_order)

        assigned, billing = counting(self.assignments), counting(self.billing)
        current_assignment = assigned[-1] if assigned else None
        return EntitlementSnapshot(
            self.tenant_id,
            at,
            current_assignment,
            catalog.resolve_offer(current_assignment.plan_version_id, at)
            if current_assignment
            else catalog.fallback_offer(at),
            [(row, catalog.resolve_offer(row.plan_version_id, at)) for row in counting(self.addons)],
            {(row.target, row.name): row for row in counting(self.overrides)},
            billing[-1] if billing else None,
            {row.flag: row for row in counting(self.flags)},
            {row.name: row for row in counting(self.traits)},
        )

    def find_last_change(self) -> tuple[str, datetime] | None:
        """Who wrote or closed a row last, and when; None without any row."""
        rows: list[TimedRow] = [
            *self.assignments,
            *self.addons,
            *self.overrides,
            *self.billing,
            *self.flags,
            *self.traits,
        ]
        changes = [
            (row.closed_at, row.closed_by) if row.closed_at else (row.created_at, row.by_name) for row in rows
        ]
        changed_at, changed_by = max(changes, default=(None, ""))
        return (changed_by, changed_at) if changed_at else None

    def extend_catalog(self, catalog: Catalog) -> Catalog:
        return (
            catalog.with_custom_plans(self.custom_plans, self.custom_versions)
            if self.custom_plans
            else catalog
        )

    def next_change(self, catalog: Catalog, at: datetime) -> datetime | None:
        """The next time at which rights can change on schedule; None without one.

        `catalog`: with this tenant's custom plans.
        """
        change_times: list[datetime | None] = []
        for row in (
            *self.assignments,
            *self.addons,
            *self.overrides,
            *self.billing,
            *self.flags,
            *self.traits,
        ):
            change_times += (row.starts_at, row.ends_at)
        change_times += [row.trial_ends_at for row in self.assignments]
        change_times += [offer.effective_at for offer in catalog.offers.values()]
        change_times += [
            _parse_moment(rule.get(side))
            for rollout in catalog.flags.values()
            for version in rollout.versions[-1:]
            for rule in version.rules
            for side in ("starts_at", "ends_at")
        ]
        return min((moment for moment in change_times if moment is not None and moment > at), default=None)

    def settled_time(self, catalog: Catalog, at: datetime) -> datetime:
        """The current time, or later: rows of machines with a faster clock are in the past."""
        rows = (*self.assignments, *self.addons, *self.overrides, *self.billing, *self.flags, *self.traits)
        written_times: list[datetime | None] = [at]
        for row in rows:
            written_times += (row.created_at, row.closed_at)
        for rollout in catalog.flags.values():
            written_times += (rollout.flag.retired_at, *(version.created_at for version in rollout.versions))
        written_times += [offer.published_at for offer in catalog.offers.values()]
        written_times += [plan.retired_at for plan in catalog.plans.values()]
        return max(moment for moment in written_times if moment is not None)

    def next_billing_change(self, after: datetime) -> datetime | None:
        """The next start or end of a billing status row after `after`; None without one."""
        change_times = [moment for row in self.billing for moment in (row.starts_at, row.ends_at)]
        return min((moment for moment in change_times if moment is not None and moment > after), default=None)


def build_histories(
    tenants: Iterable[str], *kinds: Mapping[str, Sequence[Any]]
) -> dict[str, EntitlementHistory]:
    """Histories of many tenants, from rows that were read in bulk."""
    return {
        tenant: EntitlementHistory(tenant, *(kind.get(tenant, ()) for kind in kinds)) for tenant in tenants
    }


def _start_order(row: TimedRow) -> tuple[datetime, datetime, str]:
    return row.starts_at, row.created_at, row.id


def _parse_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def group_by_tenant(rows: Iterable[TimedRowType]) -> dict[str, list[TimedRowType]]:
    rows_by_tenant: dict[str, list[TimedRowType]] = {}
    for row in rows:
        rows_by_tenant.setdefault(row.tenant_id, []).append(row)
    return rows_by_tenant
