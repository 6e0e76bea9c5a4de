"""Overview of a tenant's features, limits, usage and scheduled changes, with the source of each.

Operators see the same chains in `backoffice.tenant_access`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from shared.access import actions, policy
from shared.core.context import Ctx
from shared.entitlements import assignments, explain
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import Entitlements, FeatureChain, LimitChain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, list_usages
from shared.entitlements.snapshot import EntitlementSnapshot

MAX_CHANGES = 24  # future times that are evaluated


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A change that happens at `at` without user action."""

    at: datetime
    title: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AccessOverview:
    plan: str  # name and version
    plan_since: datetime | None  # None without an assignment
    billing_status: str
    billing_since: datetime | None
    billing_until: datetime | None  # time of the next scheduled status
    trial_ends_at: datetime | None
    trial_ended: bool
    features: dict[str, FeatureChain]
    limits: dict[str, LimitChain]
    usage: dict[str, int]  # by limit
    scheduled_changes: Sequence[ScheduledChange]


async def get_access_overview(ctx: Ctx) -> AccessOverview:
    policy.require(ctx, actions.ACCESS_READ)
    snapshots, catalog = await assignments.list_future_snapshots(ctx, MAX_CHANGES)
    snapshot = snapshots[0]
    entitlements = Entitlements(snapshot, catalog)
    status_change_times = (
        later_snapshot.at
        for later_snapshot in snapshots
        if later_snapshot.billing_status != snapshot.billing_status
    )
    return AccessOverview(
        snapshot.offer.label,
        snapshot.assignment.starts_at if snapshot.assignment else None,
        snapshot.billing_status,
        snapshot.billing.starts_at if snapshot.billing else None,
        next(status_change_times, None),
        snapshot.trial_ends_at,
        snapshot.trial_ended,
        {name: entitlements.feature(name) for name in FEATURES},
        {name: entitlements.limit(name) for name in LIMITS},
        {name: await usage.now(ctx) for name, usage in list_usages()},
        [change for before, after in pairwise(snapshots) for change in list_changes(before, after, catalog)],
    )


def list_changes(
    before: EntitlementSnapshot, after: EntitlementSnapshot, catalog: Catalog
) -> list[ScheduledChange]:
    """The differences between two snapshots; empty when nothing changes."""
    rows = [
        ("Plan", before.offer.label, after.offer.label),
        ("Billing", STATUS_TEXTS[before.billing_status], STATUS_TEXTS[after.billing_status]),
        ("Trial", _describe_trial(before), _describe_trial(after)),
    ]
    entitlements_before, entitlements_after = Entitlements(before, catalog), Entitlements(after, catalog)
    for name, feature in FEATURES.items():
        included_before = entitlements_before.is_included(name)
        included_after = entitlements_after.is_included(name)
        rows.append((feature.title, INCLUDED_TEXTS[included_before], INCLUDED_TEXTS[included_after]))
    for name, kind in LIMITS.items():
        limit_before, limit_after = (
            entitlements_before.limit(name).limit,
            entitlements_after.limit(name).limit,
        )
        rows.append(
            (kind.title, explain.format_amount(limit_before, name), explain.format_amount(limit_after, name))
        )
    return [
        ScheduledChange(after.at, title, before_text, after_text)
        for title, before_text, after_text in rows
        if before_text != after_text
    ]


STATUS_TEXTS = {
    "active": "Up to date",
    "grace": "Payment overdue",
    "none": "No subscription",
    "read_only": "Read-only",
}
INCLUDED_TEXTS = {True: "Included", False: "Not included"}


def _describe_trial(snapshot: EntitlementSnapshot) -> str:
    if snapshot.trial_ends_at is None:
        return "No trial"
    return "Ended" if snapshot.trial_ended else "Running"
