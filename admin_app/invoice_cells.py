"""The first cell of an invoice, in the list of all invoices and on the page of a tenant."""

from typing import Any

import reflex as rx

from shared.ui.panels import small
from shared.ui.shell import link


def invoice_cell(invoice: Any, *notes: Any) -> rx.Component:
    """Number and id of a row with `href`, `number` and `id`. `notes`: what a phone shows below them."""
    number = rx.cond(
        invoice.href != "",
        link(invoice.number, invoice.href, class_name="strong", target="_blank"),
        rx.el.span(invoice.number, class_name="strong"),
    )
    return rx.el.div(
        number,
        small(rx.el.code(invoice.id, class_name="mono"), class_name="cut-anywhere"),
        small(*notes, class_name="only-small"),
        class_name="two",
    )
