"""What follows from a subscription: plan, seats, add-ons and billing status, written where they differ from it.

Asked by `billing`, which has locked the tenant. Rows say that they are a subscription's, and only those are closed
here: what an operator gave stays. Twice is once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.entitlements import holdings, repository
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import Facts
from shared.entitlements.models import SUBSCRIPTION, TenantAddon, TenantBilling, TenantPlan

BY = "Subscription"
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Stage:
    """`since` None: from now on."""

    status: str
    why: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bought:
    version_id: str
    quantity: int
    until: datetime | None = None


async def last(ctx: Ctx) -> str | None:
    """Access that follows from a subscription now; None for who never had one, or has somebody's word instead."""
    known, _ = await holdings.facts(ctx)
    if known.billing is None or known.billing.source != SUBSCRIPTION:
        return None
    return "none" if known.trial_ended else known.billing_status


async def follow(
    ctx: Ctx,
    stages: Sequence[Stage],
    *,
    version_id: str = "",
    seats: int | None = None,
    trial_ends_at: datetime | None = None,
    addons: Sequence[Bought] = (),
    ended_at: datetime | None = None,
) -> bool:
    """Whether anything had to be written. `version_id` "" leaves the plan as it is.

    `ended_at`: when the last subscription ended, where none is left: what somebody gave after that stays.
    """
    known, catalogue = await holdings.facts(ctx)
    at = _next(known)
    wrote = False
    if version_id and version_id in catalogue.offers:
        wrote = await _plan(ctx, known, catalogue, version_id, seats, trial_ends_at, at)
    elif trial_ends_at is not None:  # no plan of ours has this end, and it comes all the same
        stages = [*stages, Stage("none", "The trial ended", trial_ends_at)]
    wrote = await _addons(ctx, known, catalogue, addons) or wrote
    wrote = await _status(ctx, known, stages, ended_at, at) or wrote
    if wrote:
        await notices.page(ctx.session, ctx.tenant_id, "tenant")
    return wrote


def _next(known: Facts) -> datetime:
    """After everything that counts now: the last word is the one that began last, and a machine whose clock is ahead
    of ours may have written the one before."""
    rows = [row.starts_at + MOMENT for row in (known.assigned, known.billing) if row is not None]
    return max(known.at, *rows) if rows else known.at


async def _plan(
    ctx: Ctx,
    known: Facts,
    catalogue: Catalogue,
    version_id: str,
    seats: int | None,
    ends: datetime | None,
    at: datetime,
) -> bool:
    has = known.assigned
    if has is not None and (has.plan_version_id, has.seats, has.trial_ends_at, has.source) == (
        *(version_id, seats, ends),
        SUBSCRIPTION,
    ):
        return False
    offer = catalogue.offers[version_id]
    row = TenantPlan(
        tenant_id=ctx.tenant_id,
        plan_version_id=version_id,
        trial_ends_at=ends,
        seats=seats,
        starts_at=at,
        created_at=at,
        source=SUBSCRIPTION,
        by_name=BY,
        reason="As subscribed",
    )
    ctx.session.add(row)
    after = {"plan": offer.said, **({"seats": seats} if seats is not None else {})}
    before = {"plan": known.offer.said, **({"seats": known.seats} if known.seats is not None else {})}
    trail.record(ctx, "plan.assigned", row.id, before=before, after=after, reason=row.reason)
    await holdings.seed_flags(ctx, offer)
    return True


async def _addons(ctx: Ctx, known: Facts, catalogue: Catalogue, wanted: Sequence[Bought]) -> bool:
    rest = [one for one in wanted if one.version_id in catalogue.offers]
    wrote = False
    for row, offer in known.addons:
        if row.source != SUBSCRIPTION:
            continue
        one = Bought(row.plan_version_id, row.quantity, row.ends_at)
        if one in rest:
            rest.remove(one)
            continue
        holdings.close(row, BY)
        trail.record(ctx, "addon.ended", row.id, before={"addon": offer.said, "quantity": row.quantity})
        wrote = True
    for one in rest:
        row = TenantAddon(
            tenant_id=ctx.tenant_id,
            plan_version_id=one.version_id,
            quantity=one.quantity,
            ends_at=one.until,
            source=SUBSCRIPTION,
            by_name=BY,
            reason="As subscribed",
        )
        ctx.session.add(row)
        after: dict[str, Any] = {"addon": catalogue.offers[one.version_id].said, "quantity": one.quantity}
        trail.record(ctx, "addon.added", row.id, after=after, reason=row.reason)
        wrote = True
    return wrote


async def _status(
    ctx: Ctx, known: Facts, stages: Sequence[Stage], ended_at: datetime | None, at: datetime
) -> bool:
    def stays(row: TenantBilling) -> bool:
        return row.source != SUBSCRIPTION and ended_at is not None and row.created_at >= ended_at

    first, *later = stages
    has = known.billing
    if has is not None and stays(has):
        return False
    foreseen = [row for row in await repository.list_later(ctx, TenantBilling, at) if not stays(row)]
    same = has is not None and (has.status, has.source) == (first.status, SUBSCRIPTION)
    ahead = sorted((row.starts_at, row.status) for row in foreseen)
    if same and ahead == [(one.since, one.status) for one in later]:
        return False
    for row in foreseen:
        holdings.close(row, BY)
    for number, one in enumerate(stages):
        if same and number == 0:
            continue
        soonest = at + number * MOMENT  # a time ahead may have come while we were waiting
        ctx.session.add(
            TenantBilling(
                tenant_id=ctx.tenant_id,
                status=one.status,
                starts_at=max(one.since or at, soonest),
                created_at=at,
                source=SUBSCRIPTION,
                by_name=BY,
                reason=one.why,
            )
        )
    trail.record(
        ctx,
        "billing.status_changed",
        ctx.tenant_id,
        before={"status": known.billing_status},
        after={"status": first.status, **{one.since.isoformat(): one.status for one in later if one.since}},
        reason=first.why,
    )
    return True
