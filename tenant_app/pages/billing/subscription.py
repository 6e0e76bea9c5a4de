"""The current subscription: facts, seats, cancellation."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui import charts
from shared.ui.banners import local_time, skeleton_rows
from shared.ui.controls import button, icon
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from tenant_app.pages.billing.remaining_rows import PAUSE_CREDIT
from tenant_app.pages.billing.rows import InvoiceLineRow
from tenant_app.pages.billing.state import BillingState
from tenant_app.shell import Shell, guard_control


def external_link(
    label: Any, address: Any, *, kind: str = "plain", glyph: str = "external-link"
) -> rx.Component:
    """A link to a page of the provider, in a new tab."""
    return rx.el.a(
        icon(glyph), label, href=address, target="_blank", rel="noopener", class_name="btn", data_kind=kind
    )


def billing_stats() -> rx.Component:
    at: Any = BillingState.next_at
    due = rx.cond(
        at != "",
        rx.fragment(BillingState.next_amount, " on ", local_time(at, "", "day")),
        BillingState.next_amount,
    )
    shown = stat_grid(
        stat("Plan", BillingState.plan, BillingState.plan_note),
        stat(BillingState.next_label, due, BillingState.next_note),
        stat(
            "Paid with",
            rx.cond(BillingState.method != "", BillingState.method, "No payment method"),
            BillingState.method_note,
        ),
        stat("Seats", BillingState.seats_text, "Members and pending invitations"),
        columns=4,
        columns_on_phone=2,
    )
    return panel(rx.cond(BillingState.loaded, shown, skeleton_rows(1)), name="Billing facts")


def amount_list(lines: Any, total_label: Any, total: Any) -> rx.Component:
    """Lines of an invoice with their sum."""

    def line(invoice_line: InvoiceLineRow) -> rx.Component:
        return rx.el.div(rx.el.dt(invoice_line.text), rx.el.dd(invoice_line.amount))

    sum_line = rx.cond(
        total != "", rx.el.div(rx.el.dt(total_label), rx.el.dd(total), class_name="total"), rx.fragment()
    )
    return rx.el.dl(rx.foreach(lines, line), sum_line, class_name="sum", data_testid="sum")


def next_invoice_section() -> rx.Component:
    lines: Any = BillingState.next_lines
    box = panel(
        amount_list(lines, "Charged then", BillingState.next_amount),
        small(
            rx.cond(BillingState.next_tax_note != "", rx.fragment(BillingState.next_tax_note, ". ")),
            "As calculated by the payment provider. It changes with usage and with changes of the plan.",
        ),
        name="Next invoice",
        body=True,
    )
    return rx.cond(
        lines.length() > 0, rx.el.div(rx.el.h2(BillingState.next_label), box, class_name="section")
    )


def header_actions() -> list[rx.Component]:
    """The open invoice, if any, and the payment method."""
    unpaid: Any = BillingState.open_invoice
    invoice = rx.cond(
        (unpaid.page_url != "") & ~BillingState.is_first_payment_open,
        external_link(
            rx.fragment("Pay ", BillingState.open_amount),
            unpaid.page_url,
            kind="primary",
            glyph="credit-card",
        ),
    )
    method = button(
        "Manage payment method", glyph="external-link", on_click=BillingState.open_portal, data_once="true"
    )
    details = button("Billing details", on_click=BillingState.open_details, data_testid="billing-details")
    return [
        invoice,
        guard_control(actions.BILLING_CHANGE, details, "Billing details"),
        guard_control(actions.BILLING_CHANGE, method, "Manage payment method", glyph="external-link"),
    ]


def seats_section() -> rx.Component:
    meter = charts.meter(
        "Seats in use",
        BillingState.seats_used,
        BillingState.seats_bought,
        share=BillingState.share,
        tone=BillingState.tone,
        value_text=BillingState.seats_text,
    )
    change = guard_control(
        actions.BILLING_CHANGE,
        button("Change seats", on_click=BillingState.open_seats_dialog, data_testid="change-seats"),
        "Change seats",
        obstacle=BillingState.change_obstacle,
    )
    bought: Any = BillingState.seats_bought
    words = text_with_note(
        rx.el.span(
            rx.cond(bought == 1, "1 seat is paid for", rx.fragment(bought, " seats are paid for")),
            class_name="strong",
        ),
        rx.el.div(meter, small(BillingState.seats_text, class_name="num"), class_name="stat"),
    )
    box = panel(rx.el.ul(rx.el.li(words, change, class_name="wrap"), class_name="list"), name="Seats")
    return rx.cond(BillingState.by_seat, rx.el.div(rx.el.h2("Seats"), box, class_name="section"))


def cancel_section() -> rx.Component:
    cancel = guard_control(
        actions.BILLING_CHANGE,
        button(
            "Cancel subscription",
            kind="danger",
            **dialog_opener(BillingState, "cancel"),
            data_testid="cancel",
        ),
        "Cancel subscription",
    )
    words = text_with_note(
        rx.el.span("Cancel the subscription", class_name="strong"),
        small(
            rx.cond(
                BillingState.paused,
                f"The subscription is paused, so it ends now. {PAUSE_CREDIT} Your data is kept.",
                "You keep access until the end of the period. Your data is kept.",
            )
        ),
    )
    box = panel(rx.el.ul(rx.el.li(words, cancel, class_name="wrap"), class_name="list"), name="Cancel")
    shown: Any = BillingState.subscribed & (BillingState.ends_at == "") & (Shell.slug != "")
    return rx.cond(shown, rx.el.div(rx.el.h2("Cancel"), box, class_name="section"))


def pause_section() -> rx.Component:
    """Where the installation offers it."""
    pause = guard_control(
        actions.BILLING_CHANGE,
        button("Pause subscription", on_click=BillingState.open_pause_dialog("pause"), data_testid="pause"),
        "Pause subscription",
        obstacle=BillingState.pause_obstacle,
    )
    words = text_with_note(
        rx.el.span("Pause the subscription", class_name="strong"),
        small("Your organisation is read-only and nothing is charged until you resume it."),
    )
    box = panel(rx.el.ul(rx.el.li(words, pause, class_name="wrap"), class_name="list"), name="Pause")
    shown: Any = BillingState.is_pause_offered & (Shell.slug != "")
    return rx.cond(shown, rx.el.div(rx.el.h2("Pause"), box, class_name="section"))


def void_section() -> rx.Component:
    """For an ended subscription whose invoices couldn't be voided when it ended."""
    void = guard_control(
        actions.BILLING_CHANGE,
        button("Void", kind="danger", on_click=BillingState.void_invoices, data_once="true"),
        "Void",
    )
    words = text_with_note(
        rx.el.span("Don’t pay for the period that has begun", class_name="strong"),
        small(BillingState.void_note),
    )
    box = panel(rx.el.ul(rx.el.li(words, void, class_name="wrap"), class_name="list"), name="Unpaid invoices")
    shown: Any = ~BillingState.subscribed & (BillingState.void_note != "") & (Shell.slug != "")
    return rx.cond(shown, rx.el.div(rx.el.h2("Unpaid invoices"), box, class_name="section"))
