"""Money: whole minor units, half of one away from zero; what a quantity costs at a price."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from shared.dev.stripe_sandbox.store import Object


def rounded(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def text(value: Decimal) -> str:
    """As Stripe writes decimals: no trailing zeros, no exponent."""
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def cost(price: Object, quantity: int) -> int:
    """Of this many units, tiers included."""
    return sum(amount for _, _, amount in parts(price, quantity))


def parts(price: Object, quantity: int) -> list[tuple[int, Decimal | None, int]]:
    """What an invoice shows: units, amount per unit (None for a flat amount), and the amount."""
    if price["billing_scheme"] == "per_unit":
        unit = Decimal(price["unit_amount_decimal"])
        units = _packages(price["transform_quantity"], quantity)
        return [(quantity, unit, rounded(unit * units))]
    if price["tiers_mode"] == "volume":
        tier = next(one for one in price["_tiers"] if one["up_to"] is None or quantity <= one["up_to"])
        return _of_tier(tier, quantity)
    found, below = [], 0
    for tier in price["_tiers"]:
        top = quantity if tier["up_to"] is None else min(quantity, tier["up_to"])
        # the first tier's flat fee is due for no use, too; a later one only once it is entered
        if top > below or below == 0:
            found += _of_tier(tier, max(top - below, 0))
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            break
        below = tier["up_to"]
    return found


def _of_tier(tier: Object, units: int) -> list[tuple[int, Decimal | None, int]]:
    unit, flat = tier["unit_amount_decimal"], tier["flat_amount_decimal"]
    each = Decimal(unit or 0)
    lines: list[tuple[int, Decimal | None, int]] = [(units, each, rounded(each * units))]
    return [*lines, (0, None, rounded(Decimal(flat)))] if flat is not None else lines


def _packages(transform: Any, quantity: int) -> int:
    if not transform:
        return quantity
    by = int(transform["divide_by"])
    return -(-quantity // by) if transform["round"] == "up" else quantity // by


def percent(amount: int, rate: float) -> int:
    return rounded(amount * Decimal(str(rate)) / 100)
