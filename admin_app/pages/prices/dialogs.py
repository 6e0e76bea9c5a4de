"""The dialog that sets a price."""

from typing import Any

import reflex as rx

from admin_app.pages.prices.forms import ADDON_PART_LABELS, PART_LABELS, PERIOD_LABELS, TAX_LABELS
from admin_app.pages.prices.state import PricesState
from shared.billing.pricing import prices
from shared.core.money import CURRENCIES
from shared.ui.controls import datetime_input, dialog_field, text_input
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, form_dialog, reason_field


def form_select(id: str, name: str, options: Any, **props: Any) -> rx.Component:
    return rx.el.select(options, custom_attrs={"id": id}, name=name, class_name="input", **props)


def price_dialog() -> rx.Component:
    return form_dialog(
        PricesState,
        "price",
        f"Set a price of {PricesState.selected_version.name}",
        "Applies from the next renewal; current periods and past invoices don’t change.",
        price_fields(),
        rx.cond(~PricesState.selected_version.addon, included_field()),
        dialog_field(
            "In force from",
            datetime_input("price-effective_at", name="effective_at"),
            id="price-effective_at",
            name="effective_at",
            hint="Leave empty to start now.",
        ),
        reason_field("price", OPERATOR_AUDIT_HINT),
        confirm="Set price",
        submit=PricesState.set_price,
        version=PricesState.selected_version.row_version,
    )


def price_fields() -> rx.Component:
    parts = rx.cond(
        PricesState.selected_version.addon,
        rx.fragment(*label_options(ADDON_PART_LABELS)),
        rx.fragment(*label_options(PART_LABELS)),
    )
    periods = rx.fragment(*label_options(PERIOD_LABELS))
    price_input = text_input(
        "price-price",
        name="price",
        required=True,
        input_mode="decimal",
        max_length=15,
        auto_complete="off",
        placeholder="29.00",
    )
    return rx.el.div(
        dialog_field("Price type", form_select("price-part", "part", parts), id="price-part", name="part"),
        dialog_field(
            "Billing period", form_select("price-period", "period", periods), id="price-period", name="period"
        ),
        dialog_field("Price", price_input, id="price-price", name="price"),
        dialog_field(
            "Currency",
            form_select("price-currency", "currency", currency_options()),
            id="price-currency",
            name="currency",
        ),
        dialog_field(
            "Tax",
            form_select("price-tax_behavior", "tax_behavior", rx.fragment(*label_options(TAX_LABELS))),
            id="price-tax_behavior",
            name="tax_behavior",
        ),
        class_name="split",
        data_even="true",
    )


def label_options(labels: dict[str, str]) -> list[rx.Component]:
    return [rx.el.option(label, value=key) for key, label in labels.items()]


def currency_options() -> rx.Component:
    """Every currency, the first one of the version's prices in front. A price in another one is sold beside it."""
    currency = PricesState.selected_version.currency
    codes = prices.sort_currencies(CURRENCIES)
    return rx.fragment(
        rx.cond(currency != "", rx.el.option(currency.upper(), value=currency)),
        *[rx.cond(currency != code, rx.el.option(code.upper(), value=code)) for code in codes],
    )


def included_field() -> rx.Component:
    included_input = text_input(
        "price-included",
        name="included",
        input_mode="numeric",
        max_length=15,
        auto_complete="off",
    )
    return dialog_field(
        "Included units",
        included_input,
        id="price-included",
        name="included",
        hint="Metered prices only: units per period without charge, such as 1,000 calls.",
    )
