"""Grants from a subscription: plan, seats, add-ons and billing status, stored where they differ.

`billing` calls this after locking the tenant. Rows have the subscription as their source, and only those are closed:
assignments of operators stay. Idempotent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.entitlements import assignments, repository
from shared.entitlements.catalog import Catalog
from shared.entitlements.models import SUBSCRIPTION_SOURCE, TenantAddon, TenantBilling, TenantPlan
from shared.entitlements.snapshot import EntitlementSnapshot

GRANTED_BY = "Subscription"
SMALLEST_STEP = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class AccessStage:
    """`since` None: from now on."""

    status: str
    reason: str
    starts_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BoughtAddon:
    version_id: str
    quantity: int
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class EndedGrant:
    version_id: str
    paid_from: datetime  # after its trial
    ended_at: datetime


async def get_granted_status(ctx: Ctx) -> str | None:
    """The billing status that a subscription gives now; None without one or where an operator set the status."""
    snapshot, _ = await assignments.get_snapshot(ctx)
    if snapshot.billing is None or snapshot.billing.source != SUBSCRIPTION_SOURCE:
        return None
    return "none" if snapshot.trial_ended else snapshot.billing_status


async def apply_subscription(
    ctx: Ctx,
    stages: Sequence[AccessStage],
    *,
    version_id: str = "",
    seats: int | None = None,
    trial_ends_at: datetime | None = None,
    addons: Sequence[BoughtAddon] = (),
    ended_at: datetime | None = None,
) -> bool:
    """Grants plan, add-ons and billing status of a subscription. Returns whether anything changed.

    `version_id`: "" leaves the plan as it is. `ended_at`: when the last subscription ended; assignments that operators
    made after that stay.
    """
    snapshot, catalog = await assignments.get_snapshot(ctx)
    at = _get_next_start(snapshot)
    changed = False
    if version_id and version_id in catalog.offers:
        changed = await _grant_plan(ctx, snapshot, catalog, version_id, seats, trial_ends_at, at)
    elif trial_ends_at is not None:  # an unknown plan: its trial ends too
        stages = [*stages, AccessStage("none", "The trial ended", trial_ends_at)]
    changed = await _grant_addons(ctx, snapshot, catalog, addons) or changed
    changed = await _grant_billing_status(ctx, snapshot, stages, ended_at, at) or changed
    if changed:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "tenant")
    return changed


def _get_next_start(snapshot: EntitlementSnapshot) -> datetime:
    """A time after all rows in effect: the row that starts last wins, and a machine with a faster clock may have
    written one."""
    rows = [
        row.starts_at + SMALLEST_STEP for row in (snapshot.assignment, snapshot.billing) if row is not None
    ]
    return max(snapshot.at, *rows) if rows else snapshot.at


async def _grant_plan(
    ctx: Ctx,
    snapshot: EntitlementSnapshot,
    catalog: Catalog,
    version_id: str,
    seats: int | None,
    ends: datetime | None,
    at: datetime,
) -> bool:
    assignment = snapshot.assignment
    if assignment is not None and (
        assignment.plan_version_id,
        assignment.seats,
        assignment.trial_ends_at,
        assignment.source,
    ) == (
        *(version_id, seats, ends),
        SUBSCRIPTION_SOURCE,
    ):
        return False
    offer = catalog.offers[version_id]
    row = TenantPlan(
        tenant_id=ctx.tenant_id,
        plan_version_id=version_id,
        trial_ends_at=ends,
        seats=seats,
        starts_at=at,
        created_at=at,
        source=SUBSCRIPTION_SOURCE,
        by_name=GRANTED_BY,
        reason="As subscribed",
    )
    ctx.session.add(row)
    after = {"plan": offer.label, **({"seats": seats} if seats is not None else {})}
    before = {
        "plan": snapshot.offer.label,
        **({"seats": snapshot.seats} if snapshot.seats is not None else {}),
    }
    audit_log.record(ctx, "plan.assigned", row.id, before=before, after=after, reason=row.reason)
    await assignments.seed_flags(ctx, offer)
    return True


async def _grant_addons(
    ctx: Ctx, snapshot: EntitlementSnapshot, catalog: Catalog, bought_addons: Sequence[BoughtAddon]
) -> bool:
    missing_addons = [addon for addon in bought_addons if addon.version_id in catalog.offers]
    changed = False
    for row, offer in snapshot.addons:
        if row.source != SUBSCRIPTION_SOURCE:
            continue
        addon = BoughtAddon(row.plan_version_id, row.quantity, row.ends_at)
        if addon in missing_addons:
            missing_addons.remove(addon)
            continue
        assignments.close_row(row, GRANTED_BY)
        audit_log.record(ctx, "addon.ended", row.id, before={"addon": offer.label, "quantity": row.quantity})
        changed = True
    for addon in missing_addons:
        row = TenantAddon(
            tenant_id=ctx.tenant_id,
            plan_version_id=addon.version_id,
            quantity=addon.quantity,
            ends_at=addon.ends_at,
            source=SUBSCRIPTION_SOURCE,
            by_name=GRANTED_BY,
            reason="As subscribed",
        )
        ctx.session.add(row)
        after: dict[str, Any] = {"addon": catalog.offers[addon.version_id].label, "quantity": addon.quantity}
        audit_log.record(ctx, "addon.added", row.id, after=after, reason=row.reason)
        changed = True
    return changed


async def _grant_billing_status(
    ctx: Ctx,
    snapshot: EntitlementSnapshot,
    stages: Sequence[AccessStage],
    ended_at: datetime | None,
    at: datetime,
) -> bool:
    def stays(row: TenantBilling) -> bool:
        return row.source != SUBSCRIPTION_SOURCE and ended_at is not None and row.created_at >= ended_at

    first_stage, *later_stages = stages
    current_billing = snapshot.billing
    if current_billing is not None and stays(current_billing):
        return False
    later_rows = [row for row in await repository.lock_later_rows(ctx, TenantBilling, at) if not stays(row)]
    is_unchanged = current_billing is not None and (current_billing.status, current_billing.source) == (
        first_stage.status,
        SUBSCRIPTION_SOURCE,
    )
    planned_stages = sorted((row.starts_at, row.status) for row in later_rows)
    if is_unchanged and planned_stages == [(stage.starts_at, stage.status) for stage in later_stages]:
        return False
    for row in later_rows:
        assignments.close_row(row, GRANTED_BY)
    for number, stage in enumerate(stages):
        if is_unchanged and number == 0:
            continue
        earliest_start = (
            at + number * SMALLEST_STEP
        )  # scheduled times can have passed while waiting for the lock
        ctx.session.add(
            TenantBilling(
                tenant_id=ctx.tenant_id,
                status=stage.status,
                starts_at=max(stage.starts_at or at, earliest_start),
                created_at=at,
                source=SUBSCRIPTION_SOURCE,
                by_name=GRANTED_BY,
                reason=stage.reason,
            )
        )
    audit_log.record(
        ctx,
        "billing.status_changed",
        ctx.tenant_id,
        before={"status": snapshot.billing_status},
        after={
            "status": first_stage.status,
            **{stage.starts_at.isoformat(): stage.status for stage in later_stages if stage.starts_at},
        },
        reason=first_stage.reason,
    )
    return True


async def list_ended_grants(session: AsyncSession, tenant_id: str, at: datetime) -> list[EndedGrant]:
    """Plans and add-ons that a subscription of the tenant included, and that ended by then."""
    history = await repository.get_history(session, tenant_id)
    rows: list[TenantPlan | TenantAddon] = [*history.assignments, *history.addons]
    grants = list[EndedGrant]()
    for row in rows:
        ended_at = min((end for end in (row.ends_at, row.closed_at) if end is not None), default=None)
        if row.source == SUBSCRIPTION_SOURCE and ended_at is not None and ended_at <= at:
            trial_ends_at = row.trial_ends_at if isinstance(row, TenantPlan) else None
            grants.append(EndedGrant(row.plan_version_id, trial_ends_at or row.starts_at, ended_at))
    return grants
