"""To the second: credit for the unused time of what was charged, charge for the remaining time of what is new."""

from decimal import Decimal

from shared.dev.stripe_sandbox import amounts, lines, usage
from shared.dev.stripe_sandbox.store import Account, Object


def compute_share(item: Object, timestamp: int) -> Decimal:
    """How much of the item's period is still to come."""
    start, end = item["current_period_start"], item["current_period_end"]
    return Decimal(end - timestamp) / Decimal(end - start)


def credit_unused_time(account: Account, subscription: Object, item: Object, timestamp: int) -> None:
    """For what was really charged, which a change without proration left as it was."""
    basis = item["_basis"]
    if basis is None or timestamp >= item["current_period_end"]:
        return
    amount = amounts.round_half_up(
        amounts.compute_cost(basis["price"], basis["quantity"]) * compute_share(item, timestamp)
    )
    if amount:
        period = (timestamp, item["current_period_end"])
        lines.create_proration_item(
            account, subscription, item, basis["price"], basis["quantity"], period, -amount
        )


def charge_remaining_time(account: Account, subscription: Object, item: Object, timestamp: int) -> None:
    price, quantity = item["price"], item["quantity"]
    amount = amounts.round_half_up(amounts.compute_cost(price, quantity) * compute_share(item, timestamp))
    if amount:
        period = (timestamp, item["current_period_end"])
        lines.create_proration_item(account, subscription, item, price, quantity, period, amount)


def bill_usage_so_far(account: Account, subscription: Object, item: Object, timestamp: int) -> None:
    """A metered item that goes away is billed for what was used until then."""
    start = max(item["current_period_start"], item["_since"])
    quantity = usage.get_item_usage(account, subscription, item, start, timestamp)
    for units, _, amount in amounts.compute_cost_parts(item["price"], quantity):
        if amount:
            lines.create_pending_item(
                account,
                customer=subscription["customer"],
                subscription=subscription,
                item=item,
                price=item["price"],
                quantity=units,
                period=(start, timestamp),
                amount=amount,
                description=f"{units} × {lines.get_product_name(account, item['price'])}, used until {lines.format_day(timestamp)}",
            )


def is_metered(item: Object) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "metered")
