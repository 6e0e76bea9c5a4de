"""Lines of invoices, and the pending invoice items that become lines."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from shared.dev.stripe_sandbox import amounts, usage
from shared.dev.stripe_sandbox.objects import make_object
from shared.dev.stripe_sandbox.store import Account, Object

Period = tuple[int, int]


def build_licensed_lines(
    account: Account, subscription: Object, item: Object, period: Period, share: Decimal | None = None
) -> list[Object]:
    """A period in advance. `share`: of a period that is not whole."""
    price, quantity = item["price"], item["quantity"]
    invoice_lines = []
    for units, unit, amount in amounts.compute_cost_parts(price, quantity):
        line_amount = amount if share is None else amounts.round_amount(amount * share, price["currency"])
        invoice_lines.append(_build_item_line(account, subscription, item, period, line_amount, units, unit))
    return invoice_lines


def build_trial_line(account: Account, subscription: Object, item: Object, period: Period) -> Object:
    line = _build_item_line(account, subscription, item, period, 0, item["quantity"], Decimal(0))
    line["description"] = f"Trial period for {get_product_name(account, item['price'])}"
    return line


def build_metered_lines(account: Account, subscription: Object, item: Object, period: Period) -> list[Object]:
    """The lines for the usage of an ended period."""
    quantity = usage.get_item_usage(account, subscription, item, *period)
    return [
        _build_item_line(account, subscription, item, period, amount, units, unit) | {"_item": item}
        for units, unit, amount in amounts.compute_cost_parts(item["price"], quantity)
    ]


def create_proration_item(
    account: Account,
    subscription: Object,
    item: Object,
    price: Object,
    quantity: int,
    period: Period,
    amount: int,
) -> Object:
    """A pending invoice item: the credit for unused time, or the charge for remaining time."""
    label = "Unused" if amount < 0 else "Remaining"
    description = (
        f"{label} time on {_format_quantity(account, price, quantity)} after {format_day(period[0])}"
    )
    return create_pending_item(
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


def create_pending_item(
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
    invoice_item = make_object(
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
        pricing=_build_pricing(price, None if price is None else _get_unit_amount(price)),
        proration=proration,
        quantity=quantity,
        quantity_decimal=str(quantity),
        tax_rates=[],
        test_clock=account.get_clock_id(customer),
    )
    if proration:
        invoice_item["proration_details"] = {"credited_items": None, "discount_amounts": []}
    if subscription:
        invoice_item["parent"] = {
            "type": "subscription_details",
            "subscription_details": {
                "subscription": subscription["id"],
                "subscription_item": item["id"] if item else None,
            },
        }
    account.put(invoice_item)
    account.emit("invoiceitem.created", invoice_item)
    return invoice_item


def delete_pending_prorations(account: Account, subscription: Object) -> None:
    """Delete the pending items of an ended subscription, which gets no further invoice."""
    for invoice_item in account.list_for_customer("invoiceitem", subscription["customer"]):
        subscription_details = (invoice_item["parent"] or {}).get("subscription_details")
        is_of_subscription = (
            subscription_details is not None and subscription_details["subscription"] == subscription["id"]
        )
        if is_of_subscription and invoice_item["proration"] and invoice_item["invoice"] is None:
            account.delete_object("invoiceitem", invoice_item["id"])
            account.emit("invoiceitem.deleted", invoice_item)


def build_pending_line(account: Account, invoice_item: Object) -> Object:
    """The line that a pending item becomes."""
    subscription_details = (invoice_item["parent"] or {}).get("subscription_details")
    details: Object = {
        "invoice_item": invoice_item["id"],
        "proration": invoice_item["proration"],
        "proration_details": {"credited_items": None} if invoice_item["proration"] else None,
        "subscription": subscription_details["subscription"] if subscription_details else None,
    }
    kind = "invoice_item_details"
    if subscription_details and subscription_details["subscription_item"]:
        kind, details = (
            "subscription_item_details",
            {**details, "subscription_item": subscription_details["subscription_item"]},
        )
    parent: Object = {
        "type": kind,
        "invoice_item_details": None,
        "subscription_item_details": None,
        kind: details,
    }
    return make_object(
        account,
        "line_item",
        amount=invoice_item["amount"],
        subtotal=invoice_item["amount"],
        currency=invoice_item["currency"],
        description=invoice_item["description"],
        discountable=invoice_item["discountable"],
        discount_amounts=[],
        discounts=[],
        metadata=invoice_item["metadata"],
        parent=parent,
        period=dict(invoice_item["period"]),
        pricing=invoice_item["pricing"],
        quantity=invoice_item["quantity"],
        quantity_decimal=invoice_item["quantity_decimal"],
        subscription=details["subscription"],
        pretax_credit_amounts=[],
        taxes=[],
        _tax_behavior=invoice_item.get("_tax_behavior"),
    )


def get_product_name(account: Account, price: Object) -> str:
    product = account.get("product", price["product"])
    return str(product["name"]) if product else str(price["product"])


def format_day(timestamp: int) -> str:
    return datetime.fromtimestamp(timestamp, UTC).strftime("%d %b %Y")


def _format_quantity(account: Account, price: Object, quantity: int) -> str:
    name = get_product_name(account, price)
    return name if quantity == 1 else f"{quantity} × {name}"


def _build_item_line(
    account: Account,
    subscription: Object,
    item: Object,
    period: Period,
    amount: int,
    quantity: int,
    unit: Decimal | None,
) -> Object:
    price = item["price"]
    price_text = (
        "flat fee"
        if unit is None
        else f"at {_format_money(unit, price['currency'])} / {_format_interval(price)}"
    )
    return make_object(
        account,
        "line_item",
        amount=amount,
        subtotal=amount,
        currency=price["currency"],
        description=f"{quantity} × {get_product_name(account, price)} ({price_text})",
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
        pricing=_build_pricing(price, unit),
        quantity=quantity,
        quantity_decimal=str(quantity),
        subscription=subscription["id"],
        pretax_credit_amounts=[],
        taxes=[],
    )


def _build_pricing(price: Object | None, unit: Decimal | None) -> Object | None:
    if price is None:
        return None
    return {
        "type": "price_details",
        "price_details": {"price": price["id"], "product": price["product"]},
        "unit_amount_decimal": None if unit is None else amounts.format_decimal(unit),
    }


def _get_unit_amount(price: Object) -> Decimal | None:
    return None if price["unit_amount_decimal"] is None else Decimal(price["unit_amount_decimal"])


def _format_interval(price: Object) -> str:
    recurring = price["recurring"]
    count = recurring["interval_count"]
    return str(recurring["interval"]) if count == 1 else f"{count} {recurring['interval']}s"


def _format_money(minor: Decimal, currency: str) -> str:
    sign = {"usd": "$", "eur": "€", "gbp": "£"}.get(currency, f"{currency.upper()} ")
    major = minor / 100
    return f"{sign}{major:.2f}" if major == round(major, 2) else f"{sign}{amounts.format_decimal(major)}"
