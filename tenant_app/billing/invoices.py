"""What was charged, and what is still open."""

import reflex as rx

from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import icon
from shared.ui.hull import hull, small, titled, two
from shared.ui.table import Column, badge, data_table, pager, row, some
from tenant_app.billing.rows import InvoiceRow
from tenant_app.billing.state import BillingState

COLUMNS = [
    Column("Invoice"),
    Column("Date", less=True),
    Column("For", less=True),
    Column("Status"),
    Column("Amount", end=True),
    Column("Files", end=True, hidden=True),
]


def files(one: InvoiceRow) -> rx.Component:
    def away(label: str, glyph: str, address: str) -> rx.Component:
        return rx.cond(
            address != "",
            rx.el.a(
                icon(glyph),
                href=address,
                target="_blank",
                rel="noopener",
                class_name="btn",
                data_kind="quiet",
                data_shape="square",
                aria_label=f"{label} {one.number}",
                title=label,
            ),
        )

    return rx.el.div(
        rx.el.span(away("Open the page of", "external-link", one.page), class_name="less"),
        away("Download", "download", one.pdf),
        class_name="row to-end",
    )


def line(one: InvoiceRow) -> rx.Component:
    number = rx.el.button(
        one.number, type="button", class_name="link strong num", on_click=BillingState.show_invoice(one.id)
    )
    span = rx.cond(
        one.starts != "",
        small(when(one.starts, "", "day"), " – ", when(one.ends, "", "day"), class_name="num"),
        small("One payment"),
    )
    return row(
        COLUMNS,
        two(number, small(when(one.at, "", "day"), class_name="only-small num")),
        rx.el.span(when(one.at, "", "day"), class_name="num nowrap"),
        span,
        badge(one.status, one.tone),
        one.amount,
        files(one),
    )


def invoices() -> rx.Component:
    nothing = empty(
        "No invoices yet",
        "The first one is here as soon as something is charged.",
        glyph="receipt",
    )
    table = data_table(
        "Invoices",
        COLUMNS,
        rx.foreach(BillingState.bills, line),
        foot=pager(
            BillingState.bills_said,
            older=BillingState.older,
            newer=BillingState.newer,
            has_older=BillingState.has_older,
            has_newer=BillingState.has_newer,
        ),
        test_id="invoices",
    )
    found = rx.cond(some(BillingState.bills), table, nothing)
    return titled("Invoices", hull(rx.cond(BillingState.loaded, found, skeleton_rows(3)), name="Invoices"))
