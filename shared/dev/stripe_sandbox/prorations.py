"""To the second: credit for the unused time of what was charged, charge for the remaining time of what is new."""

from decimal import Decimal

from shared.dev.stripe_sandbox import amounts, lines, usage
from shared.dev.stripe_sandbox.store import Account, Object


def share(item: Object, moment: int) -> Decimal:
    """How much of the item's period is still to come."""
    start, end = item["current_period_start"], item["current_period_end"]
    return Decimal(end - moment) / Decimal(end - start)


def credit(account: Account, subscription: Object, item: Object, moment: int) -> None:
    """For what was really charged, which a change without proration left as it was."""
    basis = item["_basis"]
    if basis is None or moment >= item["current_period_end"]:
        return
    amount = amounts.rounded(amounts.cost(basis["price"], basis["quantity"]) * share(item, moment))
    if amount:
        period = (moment, item["current_period_end"])
        lines.proration(account, subscription, item, basis["price"], basis["quantity"], period, -amount)


def charge(account: Account, subscription: Object, item: Object, moment: int) -> None:
    price, quantity = item["price"], item["quantity"]
    amount = amounts.rounded(amounts.cost(price, quantity) * share(item, moment))
    if amount:
        period = (moment, item["current_period_end"])
        lines.proration(account, subscription, item, price, quantity, period, amount)


def use_so_far(account: Account, subscription: Object, item: Object, moment: int) -> None:
    """A metered item that goes away is billed for what was used until then."""
    start = max(item["current_period_start"], item["_since"])
    quantity = usage.of_item(account, subscription, item, start, moment)
    for units, _, amount in amounts.parts(item["price"], quantity):
        if amount:
            lines.pending(
                account,
                customer=subscription["customer"],
                subscription=subscription,
                item=item,
                price=item["price"],
                quantity=units,
                period=(start, moment),
                amount=amount,
                description=f"{units} × {lines.name_of(account, item['price'])}, used until {lines.day(moment)}",
            )


def is_metered(item: Object) -> bool:
    return bool(item["price"]["recurring"]["usage_type"] == "metered")
