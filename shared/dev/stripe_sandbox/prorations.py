"""To the second: credit for the unused time of what was charged, charge for the remaining time of what is new."""

from decimal import Decimal

from shared.dev.stripe_sandbox import amounts, coupons, lines, usage
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
    # Items that an older version of the stand-in has stored have no amount.
    charged = Decimal(basis.get("amount") or amounts.compute_cost(basis["price"], basis["quantity"]))
    amount = amounts.round_amount(charged * compute_share(item, timestamp), basis["price"]["currency"])
    if amount:
        period = (timestamp, item["current_period_end"])
        lines.create_proration_item(
            account, subscription, item, basis["price"], basis["quantity"], period, -amount
        )


def charge_remaining_time(account: Account, subscription: Object, item: Object, timestamp: int) -> None:
    price, quantity = item["price"], item["quantity"]
    net_cost = compute_net_cost(account, subscription, item)
    amount = amounts.round_amount(net_cost * compute_share(item, timestamp), price["currency"])
    if amount:
        period = (timestamp, item["current_period_end"])
        lines.create_proration_item(account, subscription, item, price, quantity, period, amount)


def build_basis(account: Account, subscription: Object, item: Object) -> Object:
    """What a credit of the item is computed from: its price for a whole period, less the running discounts."""
    amount = compute_net_cost(account, subscription, item)
    return {"price": item["price"], "quantity": item["quantity"], "amount": str(amount)}


def compute_net_cost(account: Account, subscription: Object, item: Object) -> Decimal:
    """Of a whole period, less the running discounts, which are spread over all items in proportion.

    https://docs.stripe.com/billing/subscriptions/billing-mode/compare (proportional discount application)
    """
    licensed_items = [each for each in subscription["items"]["data"] if not is_metered(each)]
    gross_cost = Decimal(amounts.compute_cost(item["price"], item["quantity"]))
    total = sum(Decimal(amounts.compute_cost(each["price"], each["quantity"])) for each in licensed_items)
    if not total:
        return gross_cost
    return gross_cost * coupons.compute_net_total(account, subscription, total) / total


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
