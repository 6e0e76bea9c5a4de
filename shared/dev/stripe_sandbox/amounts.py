"""Money: whole minor units, half of one away from zero; what a quantity costs at a price."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from shared.dev.stripe_sandbox.store import Object

# Amounts in these currencies end in 0. https://docs.stripe.com/currencies, "Three-decimal currencies"
THREE_DECIMAL_CURRENCIES = frozenset("bhd jod kwd omr tnd".split())


def round_half_up(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))


def round_amount(value: Decimal, currency: str) -> int:
    """What is computed for an invoice, so that the invoice can be paid in its currency."""
    step = 10 if currency in THREE_DECIMAL_CURRENCIES else 1
    return round_half_up(value / step) * step


def format_decimal(value: Decimal) -> str:
    """As Stripe writes decimals: no trailing zeros, no exponent."""
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def compute_cost(price: Object, quantity: int) -> int:
    """Of this many units, tiers included."""
    return sum(amount for _, _, amount in compute_cost_parts(price, quantity))


def compute_cost_parts(price: Object, quantity: int) -> list[tuple[int, Decimal | None, int]]:
    """What an invoice shows: units, amount per unit (None for a flat amount), and the amount."""
    if price["billing_scheme"] == "per_unit":
        unit_amount = Decimal(price["unit_amount_decimal"])
        units = _count_packages(price["transform_quantity"], quantity)
        return [(quantity, unit_amount, round_half_up(unit_amount * units))]
    if price["tiers_mode"] == "volume":
        tier = next(tier for tier in price["_tiers"] if tier["up_to"] is None or quantity <= tier["up_to"])
        return _compute_tier_parts(tier, quantity)
    cost_parts, lower_bound = [], 0
    for tier in price["_tiers"]:
        upper_bound = quantity if tier["up_to"] is None else min(quantity, tier["up_to"])
        # the first tier's flat fee is due for no use, too; a later one only once it is entered
        if upper_bound > lower_bound or lower_bound == 0:
            cost_parts += _compute_tier_parts(tier, max(upper_bound - lower_bound, 0))
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            break
        lower_bound = tier["up_to"]
    return cost_parts


def _compute_tier_parts(tier: Object, units: int) -> list[tuple[int, Decimal | None, int]]:
    unit_decimal, flat_decimal = tier["unit_amount_decimal"], tier["flat_amount_decimal"]
    unit_amount = Decimal(unit_decimal or 0)
    lines: list[tuple[int, Decimal | None, int]] = [(units, unit_amount, round_half_up(unit_amount * units))]
    return [*lines, (0, None, round_half_up(Decimal(flat_decimal)))] if flat_decimal is not None else lines


def _count_packages(transform: Any, quantity: int) -> int:
    if not transform:
        return quantity
    divisor = int(transform["divide_by"])
    return -(-quantity // divisor) if transform["round"] == "up" else quantity // divisor


def compute_percentage(amount: int, rate: float, currency: str) -> int:
    return round_amount(amount * Decimal(str(rate)) / 100, currency)
