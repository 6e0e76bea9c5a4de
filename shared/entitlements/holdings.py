"""What a tenant has: plan, add-ons, overrides, billing status, its word on flags, its traits. Given and taken.

Asked for a right by those above (`tenancy.desk` for operators, provisioning); a reason goes into the tenant's trail.
Nothing is overwritten: a new row takes effect, or a row is closed.
"""

from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements import current, repository
from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.facts import Facts, History
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import (
    SUBSCRIPTION,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    Valid,
)

Row = TypeVar("Row", bound=Valid)
STATUSES = ("active", "grace", "read_only", "none")
TRAITS = {  # what rules of flags may ask for; without values it is yes or no
    "beta": (),
    "cohort": ("enterprise", "mid_market", "small"),
    "industry": ("education", "finance", "health", "public", "retail", "software"),
    "internal": (),
    "region": ("ap", "eu", "us"),
}
MOST = 1_000_000_000  # amount of a limit
LONGEST_TRIAL = 365


async def facts(ctx: Ctx, at: datetime | None = None) -> tuple[Facts, Catalogue]:
    """Of this tenant now, or at a past time, with the catalogue as this tenant sees it."""
    written, own = await history(ctx)
    return written.at(own, at or written.clock(own, now())), own


async def history(ctx: Ctx) -> tuple[History, Catalogue]:
    """All that was ever written about this tenant. For services that were asked for their right."""
    written = await repository.get_history(ctx.session, ctx.tenant_id)
    return written, written.catalogue_of(await current.catalogue(ctx.session))


async def facts_ahead(ctx: Ctx, most: int) -> tuple[list[Facts], Catalogue]:
    """Of now, and of the next times at which the clock alone may change something, as it is known now."""
    history = await repository.get_history(ctx.session, ctx.tenant_id)
    own, at = history.catalogue_of(await current.catalogue(ctx.session)), now()
    found = [history.at(own, at)]
    while len(found) <= most and (turn := history.until(own, found[-1].at)) is not None:
        found.append(history.at(own, turn))
    return found, own


async def begin(ctx: Ctx) -> None:
    """A new tenant's first plan, unless it has one. Twice is once: whoever sets it up does so under a lock."""
    known, catalogue = await facts(ctx)
    if known.assigned is not None:
        return
    first = catalogue.fallback(now())
    row = TenantPlan(
        tenant_id=ctx.tenant_id, plan_version_id=first.id, by_name="Bulkhead", reason="First plan"
    )
    ctx.session.add(row)
    trail.record(ctx, "plan.assigned", row.id, after={"plan": first.said})
    await _changed(ctx)


async def assign(ctx: Ctx, offer: Offer, reason: str, *, trial_days: int = 0) -> TenantPlan:
    """From now on. Flags that the plan seeds are seeded. Raises Invalid, Conflict.

    `trial_days`: 0 for a plan that is paid, or free.
    """
    if offer.kind != "plan" or offer.for_tenant not in (None, ctx.tenant_id):
        raise Invalid("This is no plan of this organisation.", "Choose one from the list.")
    if not 0 <= trial_days <= LONGEST_TRIAL:
        raise Invalid(
            f"A trial has at most {LONGEST_TRIAL} days.", "Shorten it.", fields={"trial_days": "0 to 365"}
        )
    before, _ = await facts(ctx)
    _require_no_subscription(before)
    given = before.assigned
    since = now()
    if given and given.plan_version_id == offer.id and given.trial_ends_at is None and not trial_days:
        raise Conflict(f"{offer.said} is what this organisation has.", "Choose another one.")
    row = TenantPlan(
        tenant_id=ctx.tenant_id,
        plan_version_id=offer.id,
        trial_ends_at=since + timedelta(days=trial_days) if trial_days else None,
        starts_at=since,
        by_name=ctx.actor.name,
        reason=_reason(reason),
    )
    ctx.session.add(row)
    trial = {"trial_days": trial_days} if trial_days else {}
    trail.record(
        ctx,
        "plan.assigned",
        row.id,
        before={"plan": before.offer.said},
        after={"plan": offer.said, **trial},
        reason=row.reason,
    )
    await seed_flags(ctx, offer)
    await _changed(ctx)
    return row


async def add_addon(
    ctx: Ctx, offer: Offer, quantity: int, reason: str, *, ends_at: datetime | None = None
) -> TenantAddon:
    """Counts at once. Raises Invalid, Conflict for one that it has already."""
    if offer.kind != "addon" or offer.for_tenant not in (None, ctx.tenant_id):
        raise Invalid("This is no add-on of this organisation.", "Choose one from the list.")
    if not 1 <= quantity <= 10_000:
        raise Invalid(
            "An add-on is bought 1 to 10,000 times.", "Correct it.", fields={"quantity": "1 to 10,000"}
        )
    known, _ = await facts(ctx)
    if any(has.plan_id == offer.plan_id for _, has in known.addons):
        raise Conflict(
            f"This organisation has {offer.name} already.",
            "End it first, then add it in the number it needs.",
        )
    row = TenantAddon(
        tenant_id=ctx.tenant_id,
        plan_version_id=offer.id,
        quantity=quantity,
        ends_at=_end(ends_at),
        by_name=ctx.actor.name,
        reason=_reason(reason),
    )
    ctx.session.add(row)
    trail.record(
        ctx, "addon.added", row.id, after={"addon": offer.said, "quantity": quantity}, reason=row.reason
    )
    await _changed(ctx)
    return row


async def override_feature(
    ctx: Ctx, feature: str, on: bool, reason: str, *, ends_at: datetime
) -> TenantOverride:
    """Until `ends_at`: an exception that nobody ends would be a plan that nobody knows. Raises Invalid."""
    if feature not in FEATURES:
        raise Invalid("There is no such feature.", "Choose one from the list.", fields={"name": "Unknown"})
    return await _override(ctx, "feature", feature, bool(on), reason, ends_at)


async def override_limit(
    ctx: Ctx, limit_key: str, amount: int | None, reason: str, *, ends_at: datetime, hard: bool = True
) -> TenantOverride:
    """`amount` None: unlimited. Raises Invalid."""
    if limit_key not in LIMITS:
        raise Invalid("There is no such limit.", "Choose one from the list.", fields={"name": "Unknown"})
    if amount is not None and not 0 <= amount <= MOST:
        raise Invalid(
            f"A limit is a number from 0 to {MOST:,}.", "Correct it.", fields={"amount": f"0 to {MOST:,}"}
        )
    return await _override(ctx, "limit", limit_key, {"amount": amount, "hard": hard}, reason, ends_at)


async def set_billing(
    ctx: Ctx, status: str, reason: str, *, starts_at: datetime | None = None
) -> TenantBilling:
    """From `starts_at` on. What was foreseen for later no longer comes. Raises Invalid."""
    if status not in STATUSES:
        raise Invalid("There is no such billing status.", "Choose one from the list.")
    since = starts_at or now()
    before, _ = await facts(ctx)
    _require_no_subscription(before)
    for later in await repository.list_later(ctx, TenantBilling, since):
        close(later, ctx.actor.name)
    row = TenantBilling(
        tenant_id=ctx.tenant_id,
        status=status,
        starts_at=since,
        by_name=ctx.actor.name,
        reason=_reason(reason),
    )
    ctx.session.add(row)
    trail.record(
        ctx,
        "billing.status_changed",
        row.id,
        before={"status": before.billing_status},
        after={"status": status},
        reason=row.reason,
    )
    await _changed(ctx)
    return row


async def seed_flags(ctx: Ctx, offer: Offer | None = None) -> None:
    """What the plan seeds and this tenant has no word on yet. Twice is once."""
    known, _ = await facts(ctx)
    for flag in sorted((offer or known.offer).flags):
        if flag in known.own_flags:
            continue
        row = TenantFlag(tenant_id=ctx.tenant_id, flag=flag, by_name="Bulkhead", reason="Seeded by the plan")
        ctx.session.add(row)
        trail.record(ctx, "flag.set", row.id, after={"flag": flag, "enabled": True}, reason=row.reason)
        await _changed(ctx)


async def set_flag(ctx: Ctx, flag: str, enabled: bool | None, reason: str) -> None:
    """This tenant's own word. None: no word, the rules alone. Raises NotFound for an unknown flag."""
    known, catalogue = await facts(ctx)
    if flag not in catalogue.flags:
        raise NotFound("There is no such flag.", "Choose one from the list.")
    row = known.own_flags.get(flag)
    before = {"enabled": row.enabled} if row else {}
    if row is not None:
        close(row, ctx.actor.name)
        await ctx.session.flush()
    if enabled is not None:
        ctx.session.add(
            TenantFlag(
                tenant_id=ctx.tenant_id,
                flag=flag,
                enabled=enabled,
                by_name=ctx.actor.name,
                reason=_reason(reason),
            )
        )
    after = {} if enabled is None else {"enabled": enabled}
    trail.record(ctx, "flag.set", flag, before=before, after=after, reason=_reason(reason), flag=flag)
    await _changed(ctx)


async def set_trait(ctx: Ctx, name: str, value: str, reason: str) -> None:
    """`value`: "" for none, "yes" for a trait without values. Raises Invalid."""
    allowed = TRAITS.get(name)
    if allowed is None or (value and value not in (allowed or ("yes",))):
        raise Invalid("There is no such trait.", "Choose one from the list.")
    known, _ = await facts(ctx)
    row = known.traits.get(name)
    before = {name: row.value} if row else {}
    if row is not None:
        close(row, ctx.actor.name)
        await ctx.session.flush()
    if value:
        ctx.session.add(
            TenantTrait(
                tenant_id=ctx.tenant_id,
                name=name,
                value=value,
                by_name=ctx.actor.name,
                reason=_reason(reason),
            )
        )
    trail.record(
        ctx, "trait.set", name, before=before, after={name: value} if value else {}, reason=_reason(reason)
    )
    await _changed(ctx)


async def end(ctx: Ctx, row_id: str, reason: str) -> None:
    """An override or an add-on, before its time. Raises NotFound, Conflict when it has ended already."""
    kind: type[Valid] = TenantAddon if row_id.startswith("tad_") else TenantOverride
    row = await repository.get(ctx, kind, row_id)
    if row is None:
        raise NotFound("There is no such add-on or override.", "Reload the page.")
    if row.closed_at is not None or (row.ends_at is not None and row.ends_at <= now()):
        raise Conflict("It has ended already.", "Reload the page.")
    if isinstance(row, TenantAddon) and row.source == SUBSCRIPTION:
        raise Conflict("This add-on is paid for by subscription.", "End it there, and it ends here.")
    close(row, ctx.actor.name)
    if isinstance(row, TenantAddon):
        trail.record(ctx, "addon.ended", row.id, before=_said(row), reason=_reason(reason))
    else:
        trail.record(ctx, "override.ended", row.id, before=_said(row), reason=_reason(reason))
    await _changed(ctx)


async def _override(
    ctx: Ctx, target: str, name: str, value: Any, reason: str, ends_at: datetime
) -> TenantOverride:
    row = TenantOverride(
        tenant_id=ctx.tenant_id,
        target=target,
        name=name,
        value=value,
        ends_at=_end(ends_at),
        by_name=ctx.actor.name,
        reason=_reason(reason),
    )
    ctx.session.add(row)
    trail.record(ctx, "override.set", row.id, after=_said(row), reason=row.reason)
    await _changed(ctx)
    return row


def _require_no_subscription(known: Facts) -> None:
    """What a live subscription says would be written over it with the next look, so it is refused and not lost."""
    row = known.billing
    if row is not None and row.source == SUBSCRIPTION and row.status != "none":
        raise Conflict(
            "This organisation's plan and billing status follow its subscription.",
            "Change the subscription, or make an exception with an override.",
        )


def _said(row: Valid) -> dict[str, Any]:
    until = {"until": row.ends_at.isoformat()} if row.ends_at else {}
    if isinstance(row, TenantOverride):
        value = row.value["amount"] if isinstance(row.value, dict) else row.value
        return {row.name: "unlimited" if value is None else value, **until}
    return {"addon": row.id, **until}


def close(row: Valid, by: str) -> None:
    """From now on. For verbs of the entitlements, which say why."""
    row.closed_at, row.closed_by = now(), by


def _end(ends_at: datetime | None) -> datetime | None:
    if ends_at is not None and ends_at <= now():
        raise Invalid(
            "This would end before it begins.", "Choose a later day.", fields={"ends_at": "Must lie ahead"}
        )
    return ends_at


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise Invalid("This needs a reason.", "Say why in a sentence.", fields={"reason": "Missing"})
    return reason


async def _changed(ctx: Ctx) -> None:
    """Open pages of the tenant load again: their frame shows the plan, and what was refused may be possible."""
    await notices.page(ctx.session, ctx.tenant_id, "tenant")
