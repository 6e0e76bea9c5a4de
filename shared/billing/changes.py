"""Changing a subscription: what it would cost, and then exactly that.

What is looked at and what is confirmed are the same order: it holds for a while, for the subscription as it was, and
the provider counts from the time that it was shown for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import calls, checkout, prices, providers, subscriptions
from shared.billing import prices_repository as listed
from shared.billing.models import PLATFORM, Price
from shared.billing.provider import Kept, OrderLine, Preview
from shared.billing.subscriptions import Held
from shared.core import limits
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.limits import Limit
from shared.entitlements import holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.tenancy import tenants

FRESH = timedelta(minutes=15)  # as long as a preview may be confirmed
MOST_ADDONS = 100
STALE = "preview_stale"
CLOSED = {  # why a subscription in another state is not changed
    "past_due": ("A payment is overdue.", "Pay the open invoice, then change the plan."),
    "unpaid": ("A payment is overdue.", "Pay the open invoice, then change the plan."),
    "paused": ("The subscription is paused.", "Add a payment method and resume it first."),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to become different; what is left out stays."""

    version_id: str = ""  # of a plan
    period: str = ""
    seats: int | None = None
    addon_id: str = ""  # version of an add-on, and how many there are to be
    addons: int = 0

    def of(self, seats: int) -> "Wish":
        """The same for another number of seats."""
        return Wish(self.version_id, self.period, seats, self.addon_id, self.addons)


@dataclass(frozen=True, slots=True)
class Change:
    """`lines`: all of the subscription as it becomes. `base`: what it was worked out from."""

    tenant_id: str
    customer_id: str
    subscription_id: str
    wish: Wish
    said: Mapping[str, object]  # for the trail
    before: Mapping[str, object]
    lines: tuple[OrderLine, ...]
    kept: tuple[Kept, ...]
    prorate: bool
    base: str
    then: int  # every period from then on, without what is metered
    was: int
    period: str
    anew: bool  # another period: it begins today and is paid at once
    renews_at: datetime | None
    metered: bool
    seats: int | None
    currency: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A change with its price, as shown to somebody at a time."""

    change: Change
    preview: Preview
    at: datetime


async def weigh(ctx: Ctx, wish: Wish) -> Change:
    """What it would be. Raises Invalid, NotFound, Conflict for what is not possible now."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    return await _weigh(ctx, wish)


async def preview(change: Change) -> Offered:
    """Asks the provider. Outside of every transaction. Raises Conflict."""
    at = now()
    if not change.prorate:
        return Offered(change, Preview(change.currency, 0, (), at), at)
    async with calls.answered():
        found = await (await providers.get(PLATFORM)).preview(
            change.customer_id, change.subscription_id, change.lines
        )
    return Offered(change, found, at)


async def prepare(ctx: Ctx, offered: Offered) -> Offered:
    """The same once more, under the lock. Raises Conflict, with the reason `STALE` where it has to be shown anew."""
    policy.require(ctx, actions.BILLING_CHANGE)
    await limits.hit(Limit.BILLING_TENANT, ctx.tenant_id)
    change = offered.change
    if change.tenant_id != ctx.tenant_id:
        raise NotFound("There is no such change.", "Reload the page.")
    await tenants.lock(ctx)
    now_ = await _weigh(ctx, change.wish)
    if now_.base != change.base or now_.lines != change.lines or now_.kept != change.kept:
        raise Conflict(
            "The subscription or its price has changed since.", "Look at the new sum.", reason=STALE
        )
    if now() - offered.at > FRESH:
        raise Conflict("This sum is no longer fresh.", "Look at the new one.", reason=STALE)
    trail.record(
        ctx,
        "billing.change_asked",
        change.subscription_id,
        before=dict(change.before),
        after=dict(change.said),
    )
    return offered


async def go(offered: Offered) -> bool:
    """Whether the page shows it at once. Outside of every transaction. Raises Conflict."""
    change = offered.change
    lines = [[line.price_id, line.quantity] for line in change.lines]
    kept = [[one.price_id, one.quantity, one.until.isoformat()] for one in change.kept]
    told = subscriptions.digest(
        change.subscription_id, change.base, lines, kept, offered.preview.as_of.isoformat()
    )
    async with calls.answered():
        await (await providers.get(PLATFORM)).change(
            change.subscription_id,
            change.lines,
            as_of=offered.preview.as_of if change.prorate else None,
            prorate=change.prorate,
            kept=change.kept,
            key=f"change-{told}",
        )
    return await calls.look(change.tenant_id, change.customer_id)


async def _weigh(ctx: Ctx, wish: Wish) -> Change:
    held = await _changeable(ctx)
    offer = held.offer
    if offer is None or len(held.lines) < len(held.told.lines):
        raise Conflict("This subscription was made by hand.", "Write to support to change it.")
    _, catalogue = await holdings.facts(ctx)
    before = subscriptions.room(offer, held.seats, held.addons, catalogue)
    target = checkout.sold(ctx, catalogue, wish.version_id) if wish.version_id else offer
    period = wish.period or held.period
    same = (target.id, period) == (offer.id, held.period)
    asked = wish.seats if wish.seats is not None else held.seats
    bought = await checkout.seats_of(ctx, target, period, asked if asked is not None else 1)
    addons = _addons(held, wish, catalogue)
    most = subscriptions.room(target, bought, addons, catalogue)
    if (said := await subscriptions.too_small(ctx, target, most, before)) is not None:
        raise Conflict(*said)
    ordered = await prices.order_lines(
        ctx.session, PLATFORM, target.id, period, seats=bought or 1, addons=addons
    )
    known = {
        price.id: price
        for price in await listed.list_prices_of(ctx.session, {target.id, offer.id, *addons, *held.addons})
    }
    lines = _as_agreed(ordered, held, known) if period == held.period else ordered
    kept, free = _kept(held, wish, known)
    if sorted(map(str, lines)) == sorted(map(str, held.lines)):
        raise Conflict("This is what you have.", "Choose something else.")
    return Change(
        ctx.tenant_id,
        held.customer_id,
        held.id,
        wish,
        _told(target, period, bought, addons, catalogue),
        _told(offer, held.period, held.seats, held.addons, catalogue),
        lines,
        kept,
        prorate=not (wish.addon_id and (wish.addons < held.addons.get(wish.addon_id, 0) or free)),
        base=held.base(),
        then=subscriptions.cost(lines, known),
        was=subscriptions.cost(held.lines, held.prices),
        period=period,
        anew=not same and period != held.period,
        renews_at=held.renews_at,
        metered=any(line.quantity is None for line in lines),
        seats=bought,
        currency=held.told.currency,
    )


async def _changeable(ctx: Ctx) -> Held:
    held = await subscriptions.counting(ctx)
    if held is None:
        raise Conflict("There is no subscription.", "Choose a plan to begin one.")
    if (said := closed(held)) is not None:
        raise Conflict(*said)
    return held


def closed(held: Held) -> tuple[str, str] | None:
    """Why nothing of it can be changed now, and what to do about that."""
    if held.told.cancel_at is not None:
        return "The subscription is cancelled.", "Resume it first."
    return CLOSED.get(held.told.status)


def _addons(held: Held, wish: Wish, catalogue: Catalogue) -> dict[str, int]:
    """By version, as they are to be. Raises Invalid, NotFound."""
    found = dict(held.addons)
    if not wish.addon_id:
        return found
    offer = catalogue.offers.get(wish.addon_id)
    if offer is None or offer.kind != "addon":
        raise NotFound("There is no such add-on.", "Reload the page.")
    if wish.addons not in range(MOST_ADDONS + 1):
        raise Invalid(f"An add-on can be there 0 to {MOST_ADDONS} times.", "Choose a number in between.")
    if wish.addons > 1 and not offer.limits:
        raise Invalid(f"{offer.name} is there once or not at all.", "Nothing was changed.")
    found[wish.addon_id] = wish.addons
    return {version: number for version, number in found.items() if number}


def _as_agreed(
    ordered: tuple[OrderLine, ...], held: Held, known: Mapping[str, Price]
) -> tuple[OrderLine, ...]:
    """What one has already stays at the price that was agreed on; a new price comes with a renewal."""
    agreed = {prices.part(price): price.id for price in held.prices.values()}
    there = {line.price_id: line.external_price_id for line in held.lines}
    found = []
    for line in ordered:
        own = agreed.get(prices.part(known[line.price_id]), line.price_id)
        found.append(OrderLine(own, there.get(own, line.external_price_id), line.quantity))
    return tuple(found)


def _kept(held: Held, wish: Wish, known: Mapping[str, Price]) -> tuple[tuple[Kept, ...], bool]:
    """What stays until it is paid for, and whether the wish only takes back that it was given up."""
    kept = {one.price_id: one for one in held.kept}
    if not wish.addon_id:
        return tuple(kept.values()), False
    of = {
        price.id
        for price in [*known.values(), *held.prices.values()]
        if price.plan_version_id == wish.addon_id
    }
    has = held.addons.get(wish.addon_id, 0)
    paid = max((one.quantity for one in kept.values() if one.price_id in of), default=0)
    if has < paid < wish.addons:
        raise Conflict(f"{paid} of them are paid already.", "Take those back first, then add more.")
    rest = tuple(one for one in kept.values() if one.price_id not in of)
    until = held.renews_at
    if wish.addons < max(has, paid) and until is not None:
        line = next((line for line in held.lines if line.price_id in of), None)
        price_id = (
            line.price_id if line else next(one.price_id for one in kept.values() if one.price_id in of)
        )
        return (*rest, Kept(price_id, max(has, paid), until)), has < wish.addons
    return rest, has < wish.addons <= paid


def _told(
    offer: Offer, period: str, bought: int | None, addons: Mapping[str, int], catalogue: Catalogue
) -> dict[str, object]:
    more = {catalogue.offers[one].name: number for one, number in addons.items() if one in catalogue.offers}
    return {
        "plan": offer.said,
        "period": period,
        **({"seats": bought} if bought is not None else {}),
        **({"addons": more} if more else {}),
    }
