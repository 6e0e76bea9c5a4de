"""A tenant's entitlements: plan, add-ons, overrides, billing status, flag overrides, traits.

Callers check the permission (`backoffice.tenant_access` for operators, provisioning). The reason is recorded in the
tenant's audit log. Nothing is overwritten: a new row takes effect, or a row is closed.
"""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.stated_reason import clean_reason
from shared.entitlements import repository, rights_cache
from shared.entitlements.catalog import Catalog, PlanOffer
from shared.entitlements.features import FEATURES
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import (
    SUBSCRIPTION_SOURCE,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    TimedRow,
)
from shared.entitlements.snapshot import EntitlementSnapshot

Row = TypeVar("Row", bound=TimedRow)
BILLING_STATUSES = ("active", "grace", "read_only", "none")
TRAITS = {  # properties for flag rules; without values it is yes or no
    "beta": (),
    "cohort": ("enterprise", "mid_market", "small"),
    "industry": ("education", "finance", "health", "public", "retail", "software"),
    "internal": (),
    "region": ("ap", "eu", "us"),
}
MAX_AMOUNT = 1_000_000_000  # amount of a limit
MAX_TRIAL_DAYS = 365


async def get_snapshot(ctx: Ctx, at: datetime | None = None) -> tuple[EntitlementSnapshot, Catalog]:
    """The tenant's entitlements now or at a past time, and its catalog."""
    tenant_history, tenant_catalog = await get_history(ctx)
    return tenant_history.snapshot_at(
        tenant_catalog, at or tenant_history.settled_time(tenant_catalog, now())
    ), tenant_catalog


async def get_catalog(ctx: Ctx) -> Catalog:
    """The catalog of this tenant, as of the entry of `ctx` or later."""
    return (await rights_cache.get_tenant_layers(ctx)).entitlements.catalog


async def get_history(ctx: Ctx) -> tuple[EntitlementHistory, Catalog]:
    """All entitlement rows of this tenant and its catalog. The caller checks the permission."""
    tenant_history = await repository.get_history(ctx.session, ctx.tenant_id)
    return tenant_history, tenant_history.extend_catalog(await rights_cache.get_catalog(ctx.session))


async def list_future_snapshots(ctx: Ctx, most: int) -> tuple[list[EntitlementSnapshot], Catalog]:
    """Snapshots of now and of the next scheduled changes, as known now."""
    history = await repository.get_history(ctx.session, ctx.tenant_id)
    tenant_catalog, at = history.extend_catalog(await rights_cache.get_catalog(ctx.session)), now()
    snapshots = [history.snapshot_at(tenant_catalog, at)]
    while (
        len(snapshots) <= most
        and (change_time := history.next_change(tenant_catalog, snapshots[-1].at)) is not None
    ):
        snapshots.append(history.snapshot_at(tenant_catalog, change_time))
    return snapshots, tenant_catalog


async def assign_first_plan(ctx: Ctx) -> None:
    """Assigns a new tenant's first plan, unless it has one. Idempotent; provisioning holds a lock."""
    snapshot, catalog = await get_snapshot(ctx)
    if snapshot.assignment is not None:
        return
    fallback = catalog.fallback_offer(now())
    row = TenantPlan(
        tenant_id=ctx.tenant_id, plan_version_id=fallback.id, by_name="Bulkhead", reason="First plan"
    )
    ctx.session.add(row)
    audit_log.record(ctx, "plan.assigned", row.id, after={"plan": fallback.label})
    await _publish_change(ctx)


async def assign_plan(ctx: Ctx, offer: PlanOffer, reason: str, *, trial_days: int = 0) -> TenantPlan:
    """Assigns a plan now and seeds its flags. Raises Invalid, Conflict.

    `trial_days`: 0 for a paid or free plan.
    """
    if offer.kind != "plan" or offer.for_tenant not in (None, ctx.tenant_id):
        raise Invalid("This plan isn’t available to this organisation.", "Choose one from the list.")
    if not 0 <= trial_days <= MAX_TRIAL_DAYS:
        raise Invalid(
            f"A trial has at most {MAX_TRIAL_DAYS} days.",
            "Enter fewer days.",
            fields={"trial_days": "0 to 365"},
        )
    before, _ = await get_snapshot(ctx)
    _require_no_subscription(before)
    assignment = before.assignment
    since = now()
    if (
        assignment
        and assignment.plan_version_id == offer.id
        and assignment.trial_ends_at is None
        and not trial_days
    ):
        raise Conflict(f"This organisation is already on {offer.label}.", "Choose another plan.")
    row = TenantPlan(
        tenant_id=ctx.tenant_id,
        plan_version_id=offer.id,
        trial_ends_at=since + timedelta(days=trial_days) if trial_days else None,
        starts_at=since,
        by_name=ctx.actor.name,
        reason=clean_reason(reason),
    )
    ctx.session.add(row)
    trial = {"trial_days": trial_days} if trial_days else {}
    audit_log.record(
        ctx,
        "plan.assigned",
        row.id,
        before={"plan": before.offer.label},
        after={"plan": offer.label, **trial},
        reason=row.reason,
    )
    await seed_flags(ctx, offer)
    await _publish_change(ctx)
    return row


async def add_addon(
    ctx: Ctx, offer: PlanOffer, quantity: int, reason: str, *, ends_at: datetime | None = None
) -> TenantAddon:
    """Adds an add-on now. Raises Invalid, Conflict for one that the tenant already has."""
    if offer.kind != "addon" or offer.for_tenant not in (None, ctx.tenant_id):
        raise Invalid("This add-on isn’t available to this organisation.", "Choose one from the list.")
    if not 1 <= quantity <= 10_000:
        raise Invalid(
            "The quantity must be from 1 to 10,000.",
            "Enter another quantity.",
            fields={"quantity": "1 to 10,000"},
        )
    snapshot, _ = await get_snapshot(ctx)
    if any(addon.plan_id == offer.plan_id for _, addon in snapshot.addons):
        raise Conflict(
            f"This organisation already has {offer.name}.",
            "End it first, then add it with the new quantity.",
        )
    row = TenantAddon(
        tenant_id=ctx.tenant_id,
        plan_version_id=offer.id,
        quantity=quantity,
        ends_at=_require_future_end(ends_at),
        by_name=ctx.actor.name,
        reason=clean_reason(reason),
    )
    ctx.session.add(row)
    audit_log.record(
        ctx, "addon.added", row.id, after={"addon": offer.label, "quantity": quantity}, reason=row.reason
    )
    await _publish_change(ctx)
    return row


async def override_feature(
    ctx: Ctx, feature: str, on: bool, reason: str, *, ends_at: datetime
) -> TenantOverride:
    """Overrides a feature until `ends_at`; overrides always end. Raises Invalid."""
    if feature not in FEATURES:
        raise Invalid("This feature doesn’t exist.", "Choose one from the list.", fields={"name": "Unknown"})
    return await _add_override(ctx, "feature", feature, bool(on), reason, ends_at)


async def override_limit(
    ctx: Ctx, limit_key: str, amount: int | None, reason: str, *, ends_at: datetime, hard: bool = True
) -> TenantOverride:
    """`amount` None: unlimited. Raises Invalid."""
    if limit_key not in LIMITS:
        raise Invalid("This limit doesn’t exist.", "Choose one from the list.", fields={"name": "Unknown"})
    if amount is not None and not 0 <= amount <= MAX_AMOUNT:
        raise Invalid(
            f"The limit must be from 0 to {MAX_AMOUNT:,}.",
            "Enter another amount.",
            fields={"amount": f"0 to {MAX_AMOUNT:,}"},
        )
    return await _add_override(ctx, "limit", limit_key, {"amount": amount, "hard": hard}, reason, ends_at)


async def set_billing_status(
    ctx: Ctx, status: str, reason: str, *, starts_at: datetime | None = None
) -> TenantBilling:
    """Sets the status from `starts_at` on and cancels scheduled later statuses. Raises Invalid."""
    if status not in BILLING_STATUSES:
        raise Invalid("This billing status doesn’t exist.", "Choose one from the list.")
    since = starts_at or now()
    before, _ = await get_snapshot(ctx)
    _require_no_subscription(before)
    for later in await repository.lock_later_rows(ctx, TenantBilling, since):
        close_row(later, ctx.actor.name)
    row = TenantBilling(
        tenant_id=ctx.tenant_id,
        status=status,
        starts_at=since,
        by_name=ctx.actor.name,
        reason=clean_reason(reason),
    )
    ctx.session.add(row)
    audit_log.record(
        ctx,
        "billing.status_changed",
        row.id,
        before={"status": before.billing_status},
        after={"status": status},
        reason=row.reason,
    )
    await _publish_change(ctx)
    return row


async def seed_flags(ctx: Ctx, offer: PlanOffer | None = None) -> None:
    """Adds flag overrides that the plan seeds and the tenant doesn't have yet. Idempotent."""
    snapshot, _ = await get_snapshot(ctx)
    for flag in sorted((offer or snapshot.offer).flags):
        if flag in snapshot.flag_overrides:
            continue
        row = TenantFlag(tenant_id=ctx.tenant_id, flag=flag, by_name="Bulkhead", reason="Seeded by the plan")
        ctx.session.add(row)
        audit_log.record(ctx, "flag.set", row.id, after={"flag": flag, "enabled": True}, reason=row.reason)
        await _publish_change(ctx)


async def set_flag_override(ctx: Ctx, flag: str, enabled: bool | None, reason: str) -> None:
    """Sets the flag override of this tenant. None removes it. Raises NotFound for an unknown flag."""
    snapshot, catalog = await get_snapshot(ctx)
    if flag not in catalog.flags:
        raise NotFound("This flag doesn’t exist.", "Choose one from the list.")
    row = snapshot.flag_overrides.get(flag)
    before = {"enabled": row.enabled} if row else {}
    if row is not None:
        close_row(row, ctx.actor.name)
        await ctx.session.flush()
    if enabled is not None:
        ctx.session.add(
            TenantFlag(
                tenant_id=ctx.tenant_id,
                flag=flag,
                enabled=enabled,
                by_name=ctx.actor.name,
                reason=clean_reason(reason),
            )
        )
    after = {} if enabled is None else {"enabled": enabled}
    audit_log.record(
        ctx, "flag.set", flag, before=before, after=after, reason=clean_reason(reason), flag=flag
    )
    await _publish_change(ctx)


async def set_trait(ctx: Ctx, name: str, value: str, reason: str) -> None:
    """`value`: "" for none, "yes" for a trait without values. Raises Invalid."""
    allowed = TRAITS.get(name)
    if allowed is None or (value and value not in (allowed or ("yes",))):
        raise Invalid("This trait doesn’t exist.", "Choose one from the list.")
    snapshot, _ = await get_snapshot(ctx)
    row = snapshot.traits.get(name)
    before = {name: row.value} if row else {}
    if row is not None:
        close_row(row, ctx.actor.name)
        await ctx.session.flush()
    if value:
        ctx.session.add(
            TenantTrait(
                tenant_id=ctx.tenant_id,
                name=name,
                value=value,
                by_name=ctx.actor.name,
                reason=clean_reason(reason),
            )
        )
    audit_log.record(
        ctx,
        "trait.set",
        name,
        before=before,
        after={name: value} if value else {},
        reason=clean_reason(reason),
    )
    await _publish_change(ctx)


async def end_assignment(ctx: Ctx, row_id: str, reason: str) -> None:
    """Ends an override or an add-on early. Raises NotFound, Conflict when it has already ended."""
    kind: type[TimedRow] = TenantAddon if row_id.startswith("tad_") else TenantOverride
    row = await repository.lock_row(ctx, kind, row_id)
    if row is None:
        raise NotFound("This add-on or override no longer exists.", "Reload the page.")
    if row.closed_at is not None or (row.ends_at is not None and row.ends_at <= now()):
        raise Conflict("This add-on or override has already ended.", "Reload the page.")
    if isinstance(row, TenantAddon) and row.source == SUBSCRIPTION_SOURCE:
        raise Conflict("This add-on is part of the subscription.", "Remove it from the subscription instead.")
    close_row(row, ctx.actor.name)
    if isinstance(row, TenantAddon):
        audit_log.record(ctx, "addon.ended", row.id, before=_audit_fields(row), reason=clean_reason(reason))
    else:
        audit_log.record(
            ctx, "override.ended", row.id, before=_audit_fields(row), reason=clean_reason(reason)
        )
    await _publish_change(ctx)


async def _add_override(
    ctx: Ctx, target: str, name: str, value: Any, reason: str, ends_at: datetime
) -> TenantOverride:
    row = TenantOverride(
        tenant_id=ctx.tenant_id,
        target=target,
        name=name,
        value=value,
        ends_at=_require_future_end(ends_at),
        by_name=ctx.actor.name,
        reason=clean_reason(reason),
    )
    ctx.session.add(row)
    audit_log.record(ctx, "override.set", row.id, after=_audit_fields(row), reason=row.reason)
    await _publish_change(ctx)
    return row


def _require_no_subscription(snapshot: EntitlementSnapshot) -> None:
    """Raises Conflict with a live subscription, because the next sync would overwrite the change."""
    row = snapshot.billing
    if row is not None and row.source == SUBSCRIPTION_SOURCE and row.status != "none":
        raise Conflict(
            "This organisation’s plan and billing status follow its subscription.",
            "Change the subscription, or add an override.",
        )


def _audit_fields(row: TimedRow) -> dict[str, Any]:
    until = {"until": row.ends_at.isoformat()} if row.ends_at else {}
    if isinstance(row, TenantOverride):
        value = row.value["amount"] if isinstance(row.value, dict) else row.value
        return {row.name: "unlimited" if value is None else value, **until}
    return {"addon": row.id, **until}


def close_row(row: TimedRow, by: str) -> None:
    """Closes a row now. Callers record the reason."""
    row.closed_at, row.closed_by = now(), by


def _require_future_end(ends_at: datetime | None) -> datetime | None:
    if ends_at is not None and ends_at <= now():
        raise Invalid(
            "The end is before the start.",
            "Choose a later date.",
            fields={"ends_at": "Must be in the future"},
        )
    return ends_at


async def _publish_change(ctx: Ctx) -> None:
    """Reloads open pages of the tenant, whose frame and controls depend on the plan."""
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, "tenant")
