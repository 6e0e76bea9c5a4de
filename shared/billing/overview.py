"""What a tenant sees of its billing: what it has and pays, and what it could have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.billing import changes, checkout, prices, repository, subscriptions
from shared.billing.models import BillingInvoice
from shared.billing.prices import Parts
from shared.billing.provider import Subscription
from shared.billing.subscriptions import Held
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.entitlements import holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.tenancy import seats


@dataclass(frozen=True, slots=True)
class Sold:
    """`parts` by period. `obstacle`: why it cannot be chosen now, and what to do; for the seats that it takes."""

    offer: Offer
    sentence: str
    parts: Mapping[str, Parts]
    obstacle: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    held: Held | None
    closed: tuple[str, str] | None  # why nothing of it can be changed now, and what to do
    renews: int  # amount of every period, without what is metered
    waiting: Subscription | None  # its first payment is open
    unpaid: BillingInvoice | None  # the oldest open invoice
    method: str
    balance: int  # credit is negative
    currency: str
    ended_at: datetime | None  # of the last subscription, where there is none any more
    ever: bool  # subscribed once, so that there is no trial any more
    used: int  # seats
    plans: Sequence[Sold]
    addons: Sequence[Sold]
    rest: Offer  # the plan that remains when nobody pays


async def read(ctx: Ctx) -> Overview:
    policy.require(ctx, actions.BILLING_READ)
    _, catalogue = await holdings.facts(ctx)
    held, standing = await subscriptions.counting(ctx), await repository.get_standing(ctx)
    unpaid = await repository.list_open_invoices(ctx)
    ever = await repository.list_subscriptions(ctx)
    offered = await prices.in_force(ctx.session, now())
    last = max((one.state.get("ended_at") or "" for one in ever), default="")
    return Overview(
        held,
        changes.closed(held) if held else None,
        subscriptions.cost(held.lines, held.prices) if held else 0,
        await subscriptions.waiting(ctx),
        unpaid[0] if unpaid else None,
        standing.method if standing else "",
        standing.balance if standing else 0,
        standing.currency if standing else "",
        datetime.fromisoformat(last) if last and held is None else None,
        bool(ever),
        await seats.count(ctx),
        [
            await _plan(ctx, offer, catalogue, offered, held)
            for offer in _with_own(checkout.on_sale(ctx, catalogue), held)
        ],
        [
            Sold(offer, catalogue.plans[offer.plan_id].sentence, _parts(offer, offered))
            for offer in catalogue.sold(now(), "addon")
        ],
        catalogue.fallback(now()),
    )


async def _plan(
    ctx: Ctx,
    offer: Offer,
    catalogue: Catalogue,
    offered: Mapping[tuple[str, str], Parts],
    held: Held | None,
) -> Sold:
    parts, obstacle = _parts(offer, offered), None
    limit = offer.limits[subscriptions.SEATS]
    addons = held.addons if held else {}
    most = subscriptions.room(offer, limit.amount, addons, catalogue)  # bought as many as there can be
    if held is None or held.offer is None or held.offer.id != offer.id:
        obstacle = await subscriptions.too_small(ctx, offer, most, None)
    return Sold(offer, catalogue.plans[offer.plan_id].sentence, parts, obstacle)


def _parts(offer: Offer, offered: Mapping[tuple[str, str], Parts]) -> dict[str, Parts]:
    return {period: offered[offer.id, period] for period in prices.PERIODS if (offer.id, period) in offered}


def _with_own(sold: list[Offer], held: Held | None) -> list[Offer]:
    """Whoever has an older version, or what is not sold any more, sees it in its place."""
    if held is None or held.offer is None:
        return sold
    own = held.offer
    if any(one.plan_id == own.plan_id for one in sold):
        return [own if one.plan_id == own.plan_id else one for one in sold]
    return [own, *sold]
