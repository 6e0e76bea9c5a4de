"""What metered use costs, and how much of it an amount pays for. Pure functions.

Use is sold in whole units. A unit that has begun counts as a whole one here, so that what is billed is never more.
Prepaid credits and taxes are left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from shared.billing.pricing.prices import Tier

UNLIMITED = Decimal(10) ** 24  # more than can be used


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterPrice:
    """Of one meter in a billing period. Amounts are in the smallest unit of the currency."""

    tiers: Sequence[Tier]
    is_volume: bool  # the tier of the total is the price of all units
    per_unit: int  # quantity in a unit of sale

    def get_units(self, quantity: Decimal) -> int:
        return int((quantity / self.per_unit).to_integral_value(ROUND_CEILING))

    def get_cost(self, quantity: Decimal) -> int:
        units, cost, below = self.get_units(quantity), 0, 0
        for tier in self.tiers:
            is_last = tier.up_to is None or units <= tier.up_to
            top = units if is_last else tier.up_to or 0
            step_cost = tier.flat + tier.unit * (top if self.is_volume else top - below)
            cost = step_cost if self.is_volume else cost + step_cost
            if is_last:
                break
            below = top
        return cost

    def get_room(self, amount: int) -> Decimal:
        """The largest quantity that never costs more on its way there."""
        units, cost, below = 0, 0, 0
        for tier in self.tiers:
            base = 0 if self.is_volume else cost
            left = amount - base - tier.flat
            counted = 0 if self.is_volume else below
            if left < tier.unit * (below + 1 - counted):
                return Decimal(units * self.per_unit)
            if tier.unit:
                units = counted + left // tier.unit
            elif tier.up_to is None:
                return UNLIMITED
            if tier.up_to is None or (tier.unit and units < tier.up_to):
                return Decimal(units * self.per_unit)
            units = below = tier.up_to
            cost = self.get_cost(Decimal(units * self.per_unit))
        return Decimal(units * self.per_unit)
