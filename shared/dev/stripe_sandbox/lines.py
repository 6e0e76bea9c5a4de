"""Lines of invoices, and the pending invoice items that become lines."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox import amounts, usage
from shared.dev.stripe_sandbox.objects import make
from shared.dev.stripe_sandbox.store import Account, Object

Period = tuple[int, int]


def licensed(
    account: Account, subscription: Object, item: Object, period: Period, share: Decimal | None = None
) -> list[Object]:
    """A period in advance. `share`: of a period that is not whole."""
    price, quantity = item["price"], item["quantity"]
    found = []
    for units, unit, amount in amounts.parts(price, quantity):
        part = amount if share is None else amounts.rounded(amount * share)
        found.append(_of_item(account, subscription, item, period, part, units, unit))
    return found


def trial(account: Account, subscription: Object, item: Object, period: Period) -> Object:
    line = _of_item(account, subscription, item, period, 0, item["quantity"], Decimal(0))
    line["description"] = f"Trial period for {name_of(account, item['price'])}"
    return line


def metered(account: Account, subscription: Object, item: Object, period: Period) -> list[Object]:
    """The use of a period that is over."""
    used = usage.of_item(account, subscription, item, *period)
    return [
        _of_item(account, subscription, item, period, amount, units, unit) | {"_item": item}
        for units, unit, amount in amounts.parts(item["price"], used)
    ]


def proration(
    account: Account,
    subscription: Object,
    item: Object,
    price: Object,
    quantity: int,
    period: Period,
    amount: int,
) -> Object:
    """A pending invoice item: the credit for unused time, or the charge for remaining time."""
    what = "Unused" if amount < 0 else "Remaining"
    description = f"{what} time on {_times(account, price, quantity)} after {day(period[0])}"
    return pending(
        account,
        customer=subscription["customer"],
        subscription=subscription,
        item=item,
        price=price,
        quantity=quantity,
        period=period,
        amount=amount,
        description=description,
        proration=True,
    )


def pending(
    account: Account,
    *,
    customer: str,
    period: Period,
    amount: int,
    description: str | None,
    currency: str = "",
    subscription: Object | None = None,
    item: Object | None = None,
    price: Object | None = None,
    quantity: int = 1,
    proration: bool = False,
    metadata: Any = None,
) -> Object:
    made = make(
        account,
        "invoiceitem",
        customer=customer,
        amount=amount,
        net_amount=amount,
        currency=price["currency"] if price else currency,
        date=account.now(customer),
        description=description,
        discountable=not proration,
        discounts=[],
        metadata=metadata or {},
        period={"start": period[0], "end": period[1]},
        pricing=_pricing(price, None if price is None else _unit(price)),
        proration=proration,
        quantity=quantity,
        quantity_decimal=str(quantity),
        tax_rates=[],
        test_clock=account.clock_of(customer),
    )
    if proration:
        made["proration_details"] = {"credited_items": None, "discount_amounts": []}
    if subscription:
        made["parent"] = {
            "type": "subscription_details",
            "subscription_details": {
                "subscription": subscription["id"],
                "subscription_item": item["id"] if item else None,
            },
        }
    account.put(made)
    account.emit("invoiceitem.created", made)
    return made


def forget_prorations(account: Account, subscription: Object) -> None:
    """Those that wait for an invoice of this subscription, which will not come."""
    for made in account.all("invoiceitem"):
        about = (made["parent"] or {}).get("subscription_details")
        mine = about is not None and about["subscription"] == subscription["id"]
        if mine and made["proration"] and made["invoice"] is None:
            account.drop("invoiceitem", made["id"])
            account.emit("invoiceitem.deleted", made)


def of_pending(account: Account, made: Object) -> Object:
    """The line that a pending item becomes."""
    about = (made["parent"] or {}).get("subscription_details")
    details: Object = {
        "invoice_item": made["id"],
        "proration": made["proration"],
        "proration_details": {"credited_items": None} if made["proration"] else None,
        "subscription": about["subscription"] if about else None,
    }
    kind = "invoice_item_details"
    if about and about["subscription_item"]:
        kind, details = (
            "subscription_item_details",
            {**details, "subscription_item": about["subscription_item"]},
        )
    parent: Object = {
        "type": kind,
        "invoice_item_details": None,
        "subscription_item_details": None,
        kind: details,
    }
    return make(
        account,
        "line_item",
        amount=made["amount"],
        subtotal=made["amount"],
        currency=made["currency"],
        description=made["description"],
        discountable=made["discountable"],
        discount_amounts=[],
        discounts=[],
        metadata=made["metadata"],
        parent=parent,
        period=dict(made["period"]),
        pricing=made["pricing"],
        quantity=made["quantity"],
        quantity_decimal=made["quantity_decimal"],
        subscription=details["subscription"],
        pretax_credit_amounts=[],
        taxes=[],
    )


def name_of(account: Account, price: Object) -> str:
    product = account.get("product", price["product"])
    return str(product["name"]) if product else str(price["product"])


def day(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y")


def _times(account: Account, price: Object, quantity: int) -> str:
    name = name_of(account, price)
    return name if quantity == 1 else f"{quantity} × {name}"


def _of_item(
    account: Account,
    subscription: Object,
    item: Object,
    period: Period,
    amount: int,
    quantity: int,
    unit: Decimal | None,
) -> Object:
    price = item["price"]
    each = "flat fee" if unit is None else f"at {_money(unit, price['currency'])} / {_interval(price)}"
    return make(
        account,
        "line_item",
        amount=amount,
        subtotal=amount,
        currency=price["currency"],
        description=f"{quantity} × {name_of(account, price)} ({each})",
        discountable=True,
        discount_amounts=[],
        discounts=[],
        metadata=dict(subscription["metadata"]),
        parent={
            "type": "subscription_item_details",
            "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None,
                "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": subscription["id"],
                "subscription_item": item["id"],
            },
        },
        period={"start": period[0], "end": period[1]},
        pricing=_pricing(price, unit),
        quantity=quantity,
        quantity_decimal=str(quantity),
        subscription=subscription["id"],
        pretax_credit_amounts=[],
        taxes=[],
    )


def _pricing(price: Object | None, unit: Decimal | None) -> Object | None:
    if price is None:
        return None
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": None if unit is None else amounts.text(unit),
    }


def _unit(price: Object) -> Decimal | None:
    return None if price["unit_amount_decimal"] is None else Decimal(price["unit_amount_decimal"])


def _interval(price: Object) -> str:
    recurring = price["recurring"]
    count = recurring["interval_count"]
    return str(recurring["interval"]) if count == 1 else f"{count} {recurring['interval']}s"


def _money(minor: Decimal, currency: str) -> str:
    sign = {"usd": "$", "eur": "€", "gbp": "£"}.get(currency, f"{currency.upper()} ")
    major = minor / 100
    return f"{sign}{major:.2f}" if major == round(major, 2) else f"{sign}{amounts.text(major)}"
