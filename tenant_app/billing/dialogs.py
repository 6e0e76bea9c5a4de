"""What is asked before money moves: how many seats, what it costs, why somebody goes; and an invoice in lines."""

from typing import Any

import reflex as rx

from shared.billing.endings import WHY
from shared.ui.feedback import when
from shared.ui.form import button, choices, dialog, field, icon, stepper, text_area
from shared.ui.hull import small
from tenant_app.billing.rows import LineRow
from tenant_app.billing.standing import outside
from tenant_app.billing.state import BillingState


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=BillingState.dialog == which,
        on_open_change=BillingState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def summed(total_said: Any) -> rx.Component:
    def line(one: LineRow) -> rx.Component:
        return rx.el.div(rx.el.dt(one.said), rx.el.dd(one.amount))

    total = rx.el.div(rx.el.dt(total_said), rx.el.dd(BillingState.total), class_name="total")
    return rx.el.dl(rx.foreach(BillingState.lines, line), total, class_name="sum", data_testid="sum")


def seats_field() -> rx.Component:
    control = stepper("seats", value=BillingState.seats, on_change=BillingState.set_seats.debounce(350))
    return field("Seats", control, id="seats")


def order() -> rx.Component:
    wanted = BillingState.wanted
    return about(
        "order",
        wanted.verb,
        rx.fragment(wanted.figure, " ", wanted.per, ". ", wanted.second),
        seats_field(),
        small("People and open invitations take a seat. You can change the number at any time."),
        confirm="Continue to payment",
        submit=BillingState.order,
    )


def change() -> rx.Component:
    then = small(
        rx.cond(BillingState.total == "", "Nothing is charged now. ", ""),
        rx.cond(
            BillingState.then_at != "",
            rx.fragment("From ", when(BillingState.then_at, "", "day"), " on: "),
            "From now on: ",
        ),
        BillingState.then,
        rx.cond(BillingState.method != "", rx.fragment(", charged to ", BillingState.method)),
        ".",
    )
    problem = rx.el.p(icon("triangle-alert"), BillingState.problem, class_name="row small", role="alert")
    return about(
        "change",
        BillingState.title,
        BillingState.sentence,
        rx.cond(BillingState.asks_seats, seats_field()),
        rx.cond(BillingState.problem != "", problem),
        rx.cond(BillingState.total != "", summed(BillingState.total_said)),
        rx.cond(BillingState.then != "", then),
        confirm=BillingState.verb,
        submit=BillingState.confirm,
    )


def cancel() -> rx.Component:
    at: Any = BillingState.next_at
    until = rx.cond(
        at != "",
        rx.fragment(
            "It works until ",
            when(at, "", "day"),
            "; after that what remains is ",
            BillingState.rest,
            ". Nothing is deleted.",
        ),
        rx.fragment("After that what remains is ", BillingState.rest, ". Nothing is deleted."),
    )
    return about(
        "cancel",
        rx.fragment("Cancel ", BillingState.plan),
        until,
        choices("Why do you go?", "why", [(key, said, "") for key, said in WHY.items()], value=""),
        field("What could be better?", text_area("comment", max_length="500"), id="comment"),
        confirm="Cancel subscription",
        submit=BillingState.cancel,
        kind="danger-fill",
        back="Keep it",
    )


def invoice() -> rx.Component:
    one = BillingState.invoice
    links = rx.el.div(
        rx.cond(one.pdf != "", outside("Download", one.pdf, glyph="download")),
        rx.cond(one.page != "", outside("Open its page", one.page)),
        rx.el.span(class_name="grow"),
        rx.dialog.close(button("Close")),
        class_name="row",
    )
    return rx.dialog.root(
        rx.dialog.content(
            rx.el.div(
                rx.dialog.title("Invoice ", one.number),
                rx.dialog.description(when(one.at, "", "day"), " · ", one.status),
            ),
            summed("Total"),
            links,
            max_width="var(--dialog-wide)",
        ),
        open=BillingState.dialog == "invoice",
        on_open_change=BillingState.dismiss,
    )


def dialogs() -> rx.Component:
    return rx.fragment(order(), change(), cancel(), invoice())
