"""The subscription that counts for a tenant, as last seen: what was bought, in words of the catalogue.

For services of billing that were asked for their right. What follows from it for access is `entitlements.subscribed`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.billing import course as courses
from shared.billing import mirror, prices, repository
from shared.billing import prices_repository as listed
from shared.billing.models import Price
from shared.billing.provider import Kept, OrderLine, Subscription
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.entitlements import holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.tenancy import seats

SEATS = "members"  # the limit that seats are
FIRST_OPEN = "incomplete"  # the first payment was never made


@dataclass(frozen=True, slots=True)
class Held:
    """`prices`: of its lines, by id. `addons`: how many, by version; `given_up`: paid for still, by version."""

    id: str
    customer_id: str
    told: Subscription
    offer: Offer | None  # None: the provider says a price that is none of ours
    period: str
    seats: int | None  # bought one by one; None where the plan has no price for them
    addons: Mapping[str, int]
    given_up: Mapping[str, Kept]
    prices: Mapping[str, Price]
    ticket: int  # of the look that saw it

    @property
    def renews_at(self) -> datetime | None:
        return min((line.ends_at for line in self.told.lines if line.ends_at), default=None)

    @property
    def starts_at(self) -> datetime | None:
        return min((line.starts_at for line in self.told.lines if line.starts_at), default=None)

    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """As it would be ordered again."""
        return tuple(
            OrderLine(
                line.price_id,
                line.external_price_id,
                None if self.prices[line.price_id].kind == "metered" else line.quantity,
            )
            for line in self.told.lines
            if line.price_id in self.prices
        )

    @property
    def kept(self) -> tuple[Kept, ...]:
        at = now()
        return tuple(one for one in self.told.kept if one.until > at)

    @property
    def metered(self) -> tuple[Price, ...]:
        return tuple(price for price in self.prices.values() if price.kind == "metered")

    def base(self) -> str:
        """Of everything that a change starts from."""
        told = [[line.price_id, line.quantity] for line in self.lines]
        kept = [[one.price_id, one.quantity, one.until.isoformat()] for one in self.kept]
        ends = self.told.cancel_at.isoformat() if self.told.cancel_at else ""
        return digest(self.id, self.told.status, ends, sorted(told, key=str), sorted(kept))


def digest(*told: object) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]


def cost(lines: tuple[OrderLine, ...], known: Mapping[str, Price]) -> int:
    """Of every period, without what is metered."""
    return sum(
        known[line.price_id].amount * line.quantity
        for line in lines
        if line.quantity is not None and line.price_id in known
    )


async def counting(ctx: Ctx) -> Held | None:
    """None where none gives anything."""
    standing = await repository.get_standing(ctx)
    of = standing.course.get("subscription", "") if standing else ""
    if not standing or not of or not is_live(standing.status):
        return None
    row = await repository.get_subscription(ctx, of)
    if row is None or row.absent_at is not None:
        return None
    told = mirror.subscription(row)
    priced = {price.id: price for price, _, _ in await listed.list_prices(ctx.session)}
    stands = await prices.priced(ctx.session)
    _, catalogue = await holdings.facts(ctx)
    ours = [line for line in told.lines if line.price_id in priced]
    plans = [line for line in ours if not stands[line.price_id].addon]
    bought = [line.quantity for line in plans if stands[line.price_id].seats]
    addons: dict[str, int] = {}
    for line in ours:
        if stands[line.price_id].addon:
            version = stands[line.price_id].version_id
            addons[version] = addons.get(version, 0) + line.quantity
    best = max(plans, key=lambda line: stands[line.price_id].position, default=None)
    return Held(
        row.id,
        row.customer_id,
        told,
        catalogue.offers.get(stands[best.price_id].version_id) if best else None,
        priced[best.price_id].period if best else "month",
        sum(bought) if bought else None,
        addons,
        {
            stands[one.price_id].version_id: one
            for one in sorted(told.kept, key=lambda one: one.quantity)
            if one.until > now() and one.price_id in stands
        },
        {line.price_id: priced[line.price_id] for line in ours},
        row.ticket,
    )


async def waiting(ctx: Ctx) -> Subscription | None:
    """One whose first payment is open."""
    found = [mirror.subscription(row) for row in await repository.list_subscriptions(ctx)]
    return next((one for one in reversed(found) if one.status == FIRST_OPEN), None)


def is_live(status: str) -> bool:
    """Also one whose status nobody here knows: it keeps what it gave."""
    meaning = courses.TABLE.get(status)
    return meaning is None or meaning.status != "none"


def room(offer: Offer, bought: int | None, addons: Mapping[str, int], catalogue: Catalogue) -> int | None:
    """How many people there is room for; None without end. `bought`: seats, where the plan has a price for them."""
    limit = offer.limits[SEATS]
    most = limit.amount if limit.hard else None
    if bought is not None:
        most = bought if most is None else min(most, bought)
    for version, number in addons.items():
        more = catalogue.offers[version].limits.get(SEATS) if version in catalogue.offers else None
        if most is None or more is None:
            continue
        most = None if more.amount is None else most + more.amount * number
    return most


async def too_small(ctx: Ctx, offer: Offer, most: int | None, had: int | None) -> tuple[str, str] | None:
    """Why people would have to leave first and what to do about it; `had`: room that there is now."""
    used = await seats.count(ctx)
    if most is None or used <= most or (had is not None and most >= had):
        return None
    over = used - most
    who = "1 member or invitation" if over == 1 else f"{over} members or invitations"
    left = "1 seat" if most == 1 else f"{most} seats"
    return f"This leaves {left} in {offer.name}, and {used} are in use.", f"Remove {who} first."
