"""What plan versions cost, and from when on. A price never changes: another one of the same part follows it.

A part is what is asked for once a period (flat), for each seat, or for each unit of a meter. Of all prices of a part
the latest whose time has come is in force. What a plan gives is none of this (`entitlements.catalogue`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import course
from shared.billing import prices_repository as repository
from shared.billing.meters import METERS
from shared.billing.models import Price, ProviderPrice
from shared.billing.provider import OrderLine
from shared.core import money, notices
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements.models import Plan, PlanVersion

TOPIC, EVERY_PAGE = "prices", "*"
PERIODS = ("month", "year")
KINDS = ("flat", "seat", "metered")
MOST = 99_999_999  # smallest units: eight digits are the most that Stripe takes
MOST_UNITS = 1_000_000_000
LONGEST_REASON = 300


class Tier(NamedTuple):
    """Of what is metered. `up_to` None: all that is left."""

    up_to: int | None
    unit: int
    flat: int = 0


class Part(NamedTuple):
    version_id: str
    period: str
    kind: str
    meter: str
    currency: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a plan version or add-on costs in a period."""

    flat: Price | None = None
    seat: Price | None = None
    metered: tuple[Price, ...] = ()

    @property
    def all(self) -> tuple[Price, ...]:
        return tuple(one for one in (self.flat, self.seat, *self.metered) if one is not None)

    @property
    def currency(self) -> str:
        return self.all[0].currency


@dataclass(frozen=True, slots=True)
class Listed:
    plan: Plan
    version: PlanVersion
    prices: Sequence[Price]  # oldest first, and so is the history of each part


@dataclass(frozen=True, slots=True)
class History:
    """Newest version first. `there`: where a price stands, by its id, one for each account that knows of it."""

    versions: Sequence[Listed]
    there: Mapping[str, Sequence[ProviderPrice]] = field(default_factory=dict)


async def in_force(session: AsyncSession, at: datetime) -> dict[tuple[str, str], Parts]:
    """By version and period; what is not sold in a period is not in it."""
    listed = [price for price, _, _ in await repository.list_prices(session)]
    return _parts(current(listed, at).values())


def current(listed: Iterable[Price], at: datetime) -> dict[Part, Price]:
    """Of each part the latest whose time has come."""
    found: dict[Part, Price] = {}
    for one in sorted(listed, key=lambda price: (price.effective_at, price.id)):
        if one.effective_at <= at:
            found[part(one)] = one
    return found


def part(price: Price) -> Part:
    return Part(price.plan_version_id, price.period, price.kind, price.meter, price.currency)


def tiers(price: Price) -> tuple[Tier, ...]:
    return tuple(Tier(one["up_to"], one["unit"], one["flat"]) for one in price.tiers)


def owed(price: Price, quantity: int) -> int:
    """For one period and this many seats or units, in the smallest unit."""
    if not price.tiers:
        return price.amount * (1 if price.kind == "flat" else quantity)
    total, below = 0, 0
    for up_to, unit, flat in tiers(price):
        within = quantity - below if up_to is None else min(quantity, up_to) - below
        if within > 0:
            total += within * unit + flat
        below = up_to or below
    return total


async def history(octx: OperatorCtx) -> History:
    """Of every published version, also of those without a price, and of what only one tenant is offered."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_version: dict[str, list[Price]] = {}
    for price, _, _ in await repository.list_prices(octx.session):
        by_version.setdefault(price.plan_version_id, []).append(price)
    there: dict[str, list[ProviderPrice]] = {}
    for one in await repository.list_there(octx.session):
        there.setdefault(one.price_id, []).append(one)
    versions = [
        Listed(plan, version, by_version.get(version.id, []))
        for plan, version in await repository.list_versions(octx.session)
    ]
    return History(versions, there)


async def priced(session: AsyncSession) -> dict[str, course.Priced]:
    """What every price that there ever was stands for, by its id."""
    return {
        price.id: course.Priced(version.id, plan.kind == "addon", price.kind == "seat", plan.position)
        for price, version, plan in await repository.list_prices(session)
    }


async def set_price(
    octx: OperatorCtx,
    version_id: str,
    period: str,
    kind: str,
    *,
    currency: str = "usd",
    amount: int = 0,
    tiers: Sequence[Tier] = (),
    meter: str = "",
    effective_at: datetime | None = None,
    reason: str,
) -> Price:
    """Of one part, from `effective_at` on; None for at once. `tiers` instead of `amount`, each for what lies within it.

    Raises Invalid, NotFound, Conflict for a version that is no longer or not yet sold, or a time that is taken.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason, asked_at = _reason(reason), now()
    _check(period, kind, currency, amount, tiers, meter)
    if effective_at is not None and (effective_at.tzinfo is None or effective_at <= asked_at):
        raise Invalid(
            "A price cannot begin in the past: what was billed then is billed.",
            "Choose a later time, or leave it empty for at once.",
            fields={"effective_at": "Must lie ahead"},
        )
    locked = await repository.lock_version(octx.session, version_id)
    if locked is None:
        raise NotFound("There is no such version of a plan or add-on.", "Reload the page.")
    version, plan = locked
    known = await repository.list_prices_of(octx.session, [version.id])
    _check_sold(plan, version, kind, currency, known)
    price = Price(
        plan_version_id=version.id,
        for_tenant=version.for_tenant,
        period=period,
        kind=kind,
        currency=currency,
        amount=amount,
        tiers=[one._asdict() for one in tiers],
        tiers_mode="graduated" if tiers else "",
        meter=meter,
        effective_at=effective_at or asked_at,
        created_by=octx.actor.name,
        reason=reason,
    )
    before = current(known, price.effective_at).get(part(price))
    if before is not None and _same(before, price):
        raise Conflict(f"{plan.name} costs that already.", "Nothing was changed.")
    if not await repository.add(octx.session, price):
        raise Conflict(
            f"Another price of {plan.name} begins at that very time.", "Choose another time for this one."
        )
    trail.record_operator(
        octx,
        "price.set",
        price.id,
        reason=reason,
        name=plan.name,
        version=version.number,
        **({"for_tenant": version.for_tenant} if version.for_tenant else {}),
        before={title(price): cost(before) if before else "not asked for"},
        after={title(price): cost(price)},
        in_force_from=f"{price.effective_at:%-d %B %Y, %H:%M} UTC",
    )
    await notices.page(octx.session, EVERY_PAGE, TOPIC)
    return price


async def order_lines(
    session: AsyncSession,
    account_id: str,
    version_id: str,
    period: str,
    *,
    seats: int = 1,
    addons: Mapping[str, int] | None = None,
    at: datetime | None = None,
) -> tuple[OrderLine, ...]:
    """All that a subscription to this version consists of; `addons`: how many, by version.

    `seats` says nothing where a plan has no price for them. Raises Conflict for what is not sold like that.
    """
    addons = addons or {}
    listed = await repository.list_prices_of(session, [version_id, *addons])
    sold = _parts(current(listed, at or now()).values())
    counted: list[tuple[Price, int | None]] = []
    for one, number in [(version_id, 1), *addons.items()]:
        if (one, period) not in sold:
            raise Conflict("This has no price for such a period.", "Choose another period, or talk to us.")
        parts = sold[one, period]
        if number < 1 or seats < 1:
            raise Invalid("Fewer than one cannot be ordered.", "Choose a number from 1 on.")
        if parts.currency != sold[version_id, period].currency:
            raise Conflict("An add-on is sold in another currency than the plan.", "Talk to us.")
        counted += [(parts.flat, number)] if parts.flat else []
        counted += [(parts.seat, seats)] if parts.seat else []
        counted += [(metered, None) for metered in parts.metered]
    there = await repository.list_external(session, account_id, [price.id for price, _ in counted])
    if len(there) < len(counted):
        raise Conflict("This price is on its way to the payment provider.", "Try again in a minute.")
    return tuple(OrderLine(price.id, there[price.id], number) for price, number in counted)


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────


def title(price: Price) -> str:
    """As in "Per seat, monthly"."""
    period = {"month": "monthly", "year": "yearly"}[price.period]
    what = {"flat": "Base", "seat": "Per seat"}.get(price.kind) or METERS[price.meter].title
    return f"{what}, {period}"


def cost(price: Price) -> str:
    """As in "$20.00 per seat" and "First 100 × 1,000 calls free, then $0.10 per 1,000 calls"."""
    if price.kind != "metered":
        return f"{money.said(price.amount, price.currency)}{' per seat' if price.kind == 'seat' else ''}"
    unit = METERS[price.meter].unit
    if not price.tiers:
        return f"{money.said(price.amount, price.currency)} per {unit}"
    said, steps = [], tiers(price)
    for place, (up_to, each, flat) in enumerate(steps):
        asked = [money.said(flat, price.currency)] if flat else []
        asked += [f"{money.said(each, price.currency)} per {unit}"] if each else []
        words = " and ".join(asked) or "free"
        if place == 0:
            said.append(f"First {up_to:,} × {unit} {words}" if up_to else words)
        else:
            said.append(f"then {words}" if up_to is None else f"up to {up_to:,} × {unit} {words}")
    return ", ".join(said)


# ── what cannot be meant ─────────────────────────────────────────────────────────────────────────────────────────


def _check(period: str, kind: str, currency: str, amount: int, tiers: Sequence[Tier], meter: str) -> None:
    wrong = {}
    money.check(currency)
    if period not in PERIODS:
        wrong["period"] = "A price is for a month or a year."
    if kind not in KINDS:
        wrong["kind"] = "A price is flat, per seat, or metered."
    if (kind == "metered") != (meter != "") or (meter and meter not in METERS):
        wrong["meter"] = (
            f"What is metered needs one of these meters, and nothing else does: {', '.join(METERS)}."
        )
    if not 0 <= amount <= MOST:
        wrong["amount"] = f"An amount is from {money.said(0, currency)} to {money.said(MOST, currency)}."
    if tiers and (kind != "metered" or amount):
        wrong["tiers"] = "Only what is metered has steps, and then no other amount."
    elif tiers and (said := _wrong_tiers(tiers)):
        wrong["tiers"] = said
    if wrong:
        raise Invalid(" ".join(wrong.values()), "Nothing was changed. Correct it.", fields=wrong)


def _wrong_tiers(tiers: Sequence[Tier]) -> str:
    ends = [one.up_to for one in tiers]
    closed = [end for end in ends if end is not None]
    if ends[-1] is not None or len(closed) != len(ends) - 1:
        return "The last step is open, and only the last one: somebody may always use more."
    if any(later <= earlier for earlier, later in zip([0, *closed], closed, strict=False)):
        return "Each step ends above the one before it."
    if closed and closed[-1] > MOST_UNITS:
        return f"A step ends at {MOST_UNITS:,} at most."
    if any(not 0 <= asked <= MOST for one in tiers for asked in (one.unit, one.flat)):
        return "No step has a negative amount, or one of more than eight digits."
    return ""


def _check_sold(plan: Plan, version: PlanVersion, kind: str, currency: str, known: Sequence[Price]) -> None:
    if version.status != "published":
        raise Conflict(
            f"Version {version.number} of {plan.name} is a draft.",
            "Publish it first, from a later day on if nobody should get it without a price.",
        )
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Nobody can buy it any more.")
    if plan.kind == "addon" and kind != "flat":
        raise Invalid(
            "An add-on is sold by the piece.",
            "Give it a flat price: it counts for each one.",
            fields={"kind": "Flat only"},
        )
    if known and known[0].currency != currency:
        raise Conflict(
            f"{plan.name} is sold in {known[0].currency.upper()}: a subscription has one currency.",
            "Create a plan of its own for the other one.",
        )


def _same(one: Price, other: Price) -> bool:
    return (one.amount, one.tiers, one.tiers_mode) == (other.amount, other.tiers, other.tiers_mode)


def _parts(prices: Iterable[Price]) -> dict[tuple[str, str], Parts]:
    grouped: dict[tuple[str, str], list[Price]] = {}
    for one in prices:
        grouped.setdefault((one.plan_version_id, one.period), []).append(one)
    return {
        key: Parts(
            next((one for one in found if one.kind == "flat"), None),
            next((one for one in found if one.kind == "seat"), None),
            tuple(sorted((one for one in found if one.kind == "metered"), key=lambda one: one.meter)),
        )
        for key, found in grouped.items()
    }


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise Invalid(
            "This needs a reason." if not reason else f"A reason has at most {LONGEST_REASON} characters.",
            "Say why in a sentence.",
            fields={"reason": "Missing or too long"},
        )
    return reason
