"""What is true of one tenant at one time, out of all that was ever written about it.

`History.at(T)` answers as it is known now; `known=T2` as it was known then: rows that were written, or closed, later
do not count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.models import (
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    Valid,
)

Row = TypeVar("Row", bound=Valid)


@dataclass(frozen=True, slots=True)
class Facts:
    """Rows and what they mean in the catalogue, at one time."""

    tenant_id: str
    at: datetime
    assigned: TenantPlan | None  # None: nobody gave it a plan, so it has the fallback
    offer: Offer
    addons: Sequence[tuple[TenantAddon, Offer]]
    overrides: Mapping[tuple[str, str], TenantOverride]  # by (target, name): the one that counts
    billing: TenantBilling | None  # None: nothing was ever owed
    own_flags: Mapping[str, TenantFlag]
    traits: Mapping[str, TenantTrait]

    def on(self, offer: Offer) -> "Facts":
        """As if the tenant had been given this plan, without a trial; with the flags that it seeds."""
        seeded = {
            flag: TenantFlag(
                id=offer.id,
                tenant_id=self.tenant_id,
                flag=flag,
                by_name="Bulkhead",
                reason="Seeded by the plan",
            )
            for flag in offer.flags - self.own_flags.keys()
        }
        return Facts(
            *(self.tenant_id, self.at, None, offer, self.addons, self.overrides),
            *(self.billing, {**self.own_flags, **seeded}, self.traits),
        )

    @property
    def billing_status(self) -> str:
        return self.billing.status if self.billing else "active"

    @property
    def seats(self) -> int | None:
        """Bought one by one; None where the plan's limit is what there is."""
        return self.assigned.seats if self.assigned else None

    @property
    def trial_ends_at(self) -> datetime | None:
        return self.assigned.trial_ends_at if self.assigned else None

    @property
    def trial_ended(self) -> bool:
        return self.trial_ends_at is not None and self.trial_ends_at <= self.at


@dataclass(frozen=True, slots=True)
class History:
    tenant_id: str
    assigned: Sequence[TenantPlan] = ()
    addons: Sequence[TenantAddon] = ()
    overrides: Sequence[TenantOverride] = ()
    billing: Sequence[TenantBilling] = ()
    flags: Sequence[TenantFlag] = ()
    traits: Sequence[TenantTrait] = ()
    plans: Sequence[Plan] = ()  # offered to this tenant only
    versions: Sequence[PlanVersion] = ()

    def at(self, catalogue: Catalogue, at: datetime, *, known: datetime | None = None) -> Facts:
        """`catalogue`: with this tenant's own plans (`catalogue_of`)."""

        def counting(rows: Sequence[Row]) -> list[Row]:
            return sorted((row for row in rows if counts(row, at, known)), key=_started)

        assigned, billing = counting(self.assigned), counting(self.billing)
        given = assigned[-1] if assigned else None
        return Facts(
            self.tenant_id,
            at,
            given,
            catalogue.moved(given.plan_version_id, at) if given else catalogue.fallback(at),
            [(row, catalogue.moved(row.plan_version_id, at)) for row in counting(self.addons)],
            {(row.target, row.name): row for row in counting(self.overrides)},
            billing[-1] if billing else None,
            {row.flag: row for row in counting(self.flags)},
            {row.name: row for row in counting(self.traits)},
        )

    def catalogue_of(self, catalogue: Catalogue) -> Catalogue:
        return catalogue.with_own(self.plans, self.versions) if self.plans else catalogue

    def until(self, catalogue: Catalogue, at: datetime) -> datetime | None:
        """When the clock alone may change an answer, at the earliest. `catalogue`: with this tenant's own plans."""
        turns: list[datetime | None] = []
        for row in (*self.assigned, *self.addons, *self.overrides, *self.billing, *self.flags, *self.traits):
            turns += (row.starts_at, row.ends_at)
        turns += [row.trial_ends_at for row in self.assigned]
        turns += [one.effective_at for one in catalogue.offers.values()]
        turns += [
            _moment(rule.get(side))
            for rollout in catalogue.flags.values()
            for version in rollout.versions[-1:]
            for rule in version.rules
            for side in ("starts_at", "ends_at")
        ]
        return min((one for one in turns if one is not None and one > at), default=None)

    def clock(self, catalogue: Catalogue, at: datetime) -> datetime:
        """Ours, or later: what another machine has written is past, even where its clock is ahead of ours."""
        rows = (*self.assigned, *self.addons, *self.overrides, *self.billing, *self.flags, *self.traits)
        written: list[datetime | None] = [at]
        for row in rows:
            written += (row.created_at, row.closed_at)
        for rollout in catalogue.flags.values():
            written += (rollout.row.retired_at, *(one.created_at for one in rollout.versions))
        written += [one.published_at for one in catalogue.offers.values()]
        written += [plan.retired_at for plan in catalogue.plans.values()]
        return max(one for one in written if one is not None)

    def billing_turn(self, after: datetime) -> datetime | None:
        """When the next row of the billing status begins or ends."""
        turns = [turn for row in self.billing for turn in (row.starts_at, row.ends_at)]
        return min((turn for turn in turns if turn is not None and turn > after), default=None)


def histories(tenants: Iterable[str], *kinds: Mapping[str, Sequence[Any]]) -> dict[str, History]:
    """Of many tenants, from what was read in bulk. `kinds`: rows by tenant, in the order of the fields of `History`."""
    return {tenant: History(tenant, *(kind.get(tenant, ()) for kind in kinds)) for tenant in tenants}


def counts(row: Valid, at: datetime, known: datetime | None = None) -> bool:
    if known is not None and row.created_at > known:
        return False
    if row.starts_at > at or (row.ends_at is not None and row.ends_at <= at):
        return False
    closed = row.closed_at
    return closed is None or closed > at or (known is not None and closed > known)


def _started(row: Valid) -> tuple[datetime, datetime, str]:
    return row.starts_at, row.created_at, row.id


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def by_tenant(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.tenant_id, []).append(row)
    return found
