"""The list of invoices."""

import reflex as rx

from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import icon
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, text_with_note
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from tenant_app.exports import export_list, export_menu
from tenant_app.pages.billing.rows import InvoiceRow
from tenant_app.pages.billing.state import BillingState

COLUMNS = [
    Column("Invoice"),
    Column("Date", hidden_on_phone=True),
    Column("For", hidden_on_phone=True),
    Column("Status"),
    Column("Amount", align_end=True),
    Column("Files", align_end=True, label_hidden=True),
]


def file_links(invoice: InvoiceRow) -> rx.Component:
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
                aria_label=f"{label} {invoice.number}",
                title=label,
            ),
        )

    return rx.el.div(
        rx.el.span(away("View online", "external-link", invoice.page_url), class_name="less"),
        away("Download", "download", invoice.pdf_url),
        class_name="row to-end",
    )


def invoice_line(invoice: InvoiceRow) -> rx.Component:
    number = rx.el.button(
        invoice.number,
        type="button",
        class_name="link strong num",
        on_click=BillingState.show_invoice(invoice.id),
    )
    period = rx.cond(
        invoice.starts != "",
        small(
            local_time(invoice.starts, "", "day"),
            " – ",
            local_time(invoice.ends, "", "day"),
            class_name="num",
        ),
        small("One payment"),
    )
    return table_row(
        COLUMNS,
        text_with_note(number, small(local_time(invoice.at, "", "day"), class_name="only-small num")),
        rx.el.span(local_time(invoice.at, "", "day"), class_name="num nowrap"),
        period,
        badge(invoice.status, invoice.tone),
        invoice.amount,
        file_links(invoice),
    )


def invoices_section() -> rx.Component:
    no_invoices = empty_state(
        "No invoices yet",
        "Your invoices will appear here.",
        glyph="receipt",
    )
    table = data_table(
        "Invoices",
        COLUMNS,
        rx.foreach(BillingState.invoice_rows, invoice_line),
        footer=list_pager(BillingState),
        test_id="invoices",
    )
    content = rx.cond(has_items(BillingState.invoice_rows), table, no_invoices)
    export = rx.cond(has_items(BillingState.invoice_rows), export_menu(BillingState))
    box = panel(rx.cond(BillingState.loaded, content, skeleton_rows(3)), name="Invoices")
    return rx.el.div(
        rx.el.div(rx.el.h2("Invoices"), export, class_name="row"),
        export_list(BillingState),
        box,
        class_name="section",
    )
