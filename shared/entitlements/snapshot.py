"""What is true of one tenant at one time, out of all that was ever written about it.

`History.at(T)` answers as it is known now; `known=T2` as it was known then: rows that were written, or closed, later
do not count.
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
    """Rows and what they mean in the catalogue, at one time."""

    tenant_id: str
    at: datetime
    assignment: TenantPlan | None  # None: nobody gave it a plan, so it has the fallback
    offer: PlanOffer
    addons: Sequence[tuple[TenantAddon, PlanOffer]]
    overrides: Mapping[tuple[str, str], TenantOverride]  # by (target, name): the one that counts
    billing: TenantBilling | None  # None: nothing was ever owed
    flag_overrides: Mapping[str, TenantFlag]
    traits: Mapping[str, TenantTrait]

    def with_plan(self, offer: PlanOffer) -> "EntitlementSnapshot":
        """As if the tenant had been given this plan, without a trial; with the flags that it seeds."""
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
        """Bought one by one; None where the plan's limit is what there is."""
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
