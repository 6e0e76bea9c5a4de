"""Which usage prepaid credits pay for, and from which grants. Pure functions.

Units that the plan includes are never drawn. Units that a credit pays for are never reported to the provider, so they
don't move the usage towards the next tier, and the invoice has exactly the other ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.billing.models import PrepaidGrant, Price
from shared.billing.pricing import prices
from shared.billing.pricing.prices import Tier


@dataclass(frozen=True, slots=True)
class Draw:
    """What one grant pays. `units` of all draws of a usage together are those that aren't billed."""

    grant_id: str
    amount: int
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSplit:
    """`billed`: units that are reported to the provider. `drawn`: units that credits have paid for."""

    billed: int
    drawn: int
    draws: tuple[Draw, ...]


def order_grants(grants: Iterable[PrepaidGrant], currency: str, used_at: datetime) -> list[PrepaidGrant]:
    """The grants that may pay for usage of that time: by priority, then those that expire first, then the oldest."""
    usable_grants = [
        grant
        for grant in grants
        if grant.remaining > 0
        and grant.currency == currency
        and (grant.expires_at is None or used_at < grant.expires_at)
    ]
    return sorted(
        usable_grants,
        key=lambda grant: (
            grant.priority,
            grant.expires_at is None,
            grant.expires_at or grant.created_at,
            grant.created_at,
            grant.id,
        ),
    )


def split_usage(
    quantity: int, price: Price, position: int, grants: Sequence[PrepaidGrant], used_at: datetime
) -> UsageSplit:
    """`position`: units of the period that are billed already. Reads `remaining` of the grants and doesn't change it."""
    tiers = list_unit_tiers(price)
    usable_grants = order_grants(grants, price.currency, used_at)
    remaining_amounts = [grant.remaining for grant in usable_grants]
    draws, open_units, billed = list[Draw](), quantity, 0
    while open_units:
        tier = next(tier for tier in tiers if tier.up_to is None or position + billed < tier.up_to)
        if tier.unit:
            drawn = min(open_units, sum(remaining_amounts) // tier.unit)
            draws += _take(usable_grants, remaining_amounts, drawn, tier.unit)
            open_units -= drawn
        room = open_units if tier.up_to is None else min(open_units, tier.up_to - position - billed)
        billed, open_units = billed + room, open_units - room
    return UsageSplit(billed=billed, drawn=quantity - billed, draws=tuple(_merge_draws(draws)))


def list_unit_tiers(price: Price) -> tuple[Tier, ...]:
    """The tiers of a metered price; one without end where every unit costs the same."""
    return prices.read_tiers(price) or (Tier(None, price.amount),)


def _take(
    grants: Sequence[PrepaidGrant], remaining_amounts: list[int], units: int, unit_price: int
) -> Iterable[Draw]:
    """Takes the price of these units from the first grants. A unit that two of them pay for counts for the later one."""
    missing_amount, paid_amount, counted_units = units * unit_price, 0, 0
    for index, grant in enumerate(grants):
        amount = min(missing_amount, remaining_amounts[index])
        if not amount:
            continue
        remaining_amounts[index] -= amount
        missing_amount, paid_amount = missing_amount - amount, paid_amount + amount
        grant_units = paid_amount // unit_price - counted_units
        counted_units += grant_units
        yield Draw(grant.id, amount, grant_units)


def _merge_draws(draws: Iterable[Draw]) -> Iterable[Draw]:
    """One for each grant, in the order of the first."""
    by_grant = dict[str, Draw]()
    for draw in draws:
        earlier = by_grant.get(draw.grant_id, Draw(draw.grant_id, 0, 0))
        by_grant[draw.grant_id] = Draw(
            draw.grant_id, earlier.amount + draw.amount, earlier.units + draw.units
        )
    return by_grant.values()
