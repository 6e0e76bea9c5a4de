"""The entitlements of one tenant at one time, from its history.

`EntitlementHistory.snapshot_at` uses what is known now, or with `known_at` what was known then: rows that were written
or closed later are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.entitlements.catalog import PlanOffer
from shared.entitlements.models import (
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    TimedRow,
)


@dataclass(frozen=True, slots=True)
class EntitlementSnapshot:
    """The rows in effect at one time, with their catalog offers."""

    tenant_id: str
    at: datetime
    assignment: TenantPlan | None  # None: the fallback plan applies
    offer: PlanOffer
    addons: Sequence[tuple[TenantAddon, PlanOffer]]
    overrides: Mapping[tuple[str, str], TenantOverride]  # by (target, name): the one in effect
    billing: TenantBilling | None  # None: never billed
    flag_overrides: Mapping[str, TenantFlag]
    traits: Mapping[str, TenantTrait]

    def with_plan(self, offer: PlanOffer) -> "EntitlementSnapshot":
        """The snapshot as if the tenant had this plan, without a trial, with its seeded flags."""
        seeded = {
            flag: TenantFlag(
                id=offer.id,
                tenant_id=self.tenant_id,
                flag=flag,
                by_name="Bulkhead",
                reason="Seeded by the plan",
            )
            for flag in offer.flags - self.flag_overrides.keys()
        }
        return EntitlementSnapshot(
            *(self.tenant_id, self.at, None, offer, self.addons, self.overrides),
            *(self.billing, {**self.flag_overrides, **seeded}, self.traits),
        )

    @property
    def billing_status(self) -> str:
        return self.billing.status if self.billing else "active"

    @property
    def seats(self) -> int | None:
        """Number of purchased seats; None where the plan's limit applies."""
        return self.assignment.seats if self.assignment else None

    @property
    def trial_ends_at(self) -> datetime | None:
        return self.assignment.trial_ends_at if self.assignment else None

    @property
    def trial_ended(self) -> bool:
        return self.trial_ends_at is not None and self.trial_ends_at <= self.at


def is_in_effect(row: TimedRow, at: datetime, known_at: datetime | None = None) -> bool:
    if known_at is not None and row.created_at > known_at:
        return False
    if row.starts_at > at or (row.ends_at is not None and row.ends_at <= at):
        return False
    closed = row.closed_at
    return closed is None or closed > at or (known_at is not None and closed > known_at)
