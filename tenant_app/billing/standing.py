"""How the subscription stands: facts, what waits for somebody, seats, and the way out."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui import chart
from shared.ui.feedback import banner, skeleton_rows, when
from shared.ui.form import button, icon
from shared.ui.hull import cells, fact, hull, small, two
from tenant_app.billing.state import BillingState
from tenant_app.shell import Shell, allowed


def outside(label: Any, address: Any, *, kind: str = "plain", glyph: str = "external-link") -> rx.Component:
    """A page of the provider's, in a tab of its own."""
    return rx.el.a(
        icon(glyph), label, href=address, target="_blank", rel="noopener", class_name="btn", data_kind=kind
    )


def facts() -> rx.Component:
    at: Any = BillingState.next_at
    due = rx.cond(
        at != "", rx.fragment(BillingState.next_sum, " on ", when(at, "", "day")), BillingState.next_sum
    )
    shown = cells(
        fact("Plan", BillingState.plan, BillingState.plan_said),
        fact(BillingState.next_label, due, BillingState.next_said),
        fact(
            "Paid with",
            rx.cond(BillingState.method != "", BillingState.method, "No payment method"),
            BillingState.method_said,
        ),
        fact("Seats", BillingState.seats_said, "People and open invitations"),
        across=4,
        small=2,
    )
    return hull(rx.cond(BillingState.loaded, shown, skeleton_rows(1)), name="Billing facts")


def strip(
    said: Any, *, action: rx.Component | None = None, tone: str = "accent", glyph: str = "info"
) -> rx.Component:
    return hull(banner(said, action=action, tone=tone, glyph=glyph), name="What matters now")


def turning() -> rx.Component:
    """After the provider's page: it turns by itself when the payment has been heard of."""
    wait = hull(
        rx.el.div(
            rx.icon("loader-circle", class_name="icon spin", aria_hidden=True),
            rx.el.span(
                rx.el.b("Activating your plan…"),
                " The payment provider is about to confirm it. This page changes by itself.",
                class_name="say",
            ),
            button("Look again", on_click=BillingState.settle, data_once="true"),
            class_name="banner",
            data_tone="accent",
            role="status",
            data_testid="activating",
        ),
        name="Activating",
    )
    ready = strip(
        rx.fragment(
            rx.el.b(BillingState.plan, " is active."), " Everything it gives is there for everybody now."
        ),
        glyph="circle-check",
    )
    return rx.cond(
        BillingState.activating == "waiting", wait, rx.cond(BillingState.activating == "done", ready)
    )


def news() -> rx.Component:
    """At most one: what waits for somebody."""
    day: Any = when(BillingState.ends_at, "", "day")
    resume = allowed(
        actions.BILLING_CHANGE,
        button("Resume", kind="primary", on_click=BillingState.resume, data_once="true"),
        "Resume",
    )
    ending = strip(
        rx.fragment(
            rx.el.b(BillingState.plan, " ends on ", day, "."),
            " Everything works until then, and nothing more is charged. Nothing is deleted.",
        ),
        action=resume,
        tone="warn",
        glyph="calendar-x",
    )
    first = strip(
        rx.fragment(rx.el.b("The first payment is still open."), " The plan begins when it is made."),
        action=rx.cond(
            BillingState.unpaid.page != "",
            outside("Finish the payment", BillingState.unpaid.page, kind="primary"),
        ),
        tone="warn",
        glyph="credit-card",
    )
    paused = strip(
        rx.fragment(rx.el.b("The subscription is paused."), " Add a payment method, then resume it."),
        action=resume,
        tone="warn",
        glyph="circle-pause",
    )
    ended = strip(
        rx.fragment(
            rx.el.b("The subscription ended on ", when(BillingState.ended_at, "", "day"), "."),
            " Nothing was deleted. Choose a plan to go on where you were.",
        ),
        glyph="calendar-x",
    )
    return rx.cond(
        BillingState.waiting,
        first,
        rx.cond(
            BillingState.paused,
            paused,
            rx.cond(BillingState.ends_at != "", ending, rx.cond(BillingState.ended_at != "", ended)),
        ),
    )


def pay() -> list[rx.Component]:
    """In the head: the open invoice if there is one, and the way to pay."""
    unpaid: Any = BillingState.unpaid
    invoice = rx.cond(
        (unpaid.page != "") & ~BillingState.waiting,
        outside(
            rx.fragment("Pay ", BillingState.unpaid_sum), unpaid.page, kind="primary", glyph="credit-card"
        ),
    )
    method = button(
        "Manage payment method", glyph="external-link", on_click=BillingState.open_portal, data_once="true"
    )
    return [invoice, allowed(actions.BILLING_CHANGE, method, "Manage payment method", glyph="external-link")]


def seats() -> rx.Component:
    meter = chart.meter(
        "Seats in use",
        BillingState.seats_used,
        BillingState.seats_bought,
        share=BillingState.share,
        tone=BillingState.tone,
        said=BillingState.seats_said,
    )
    change = allowed(
        actions.BILLING_CHANGE,
        button("Change seats", on_click=BillingState.change_seats, data_testid="change-seats"),
        "Change seats",
        full=BillingState.closed,
    )
    bought: Any = BillingState.seats_bought
    words = two(
        rx.el.span(
            rx.cond(bought == 1, "1 seat is paid for", rx.fragment(bought, " seats are paid for")),
            class_name="strong",
        ),
        rx.el.div(meter, small(BillingState.seats_said, class_name="num"), class_name="stat"),
    )
    box = hull(rx.el.ul(rx.el.li(words, change, class_name="wrap"), class_name="list"), name="Seats")
    return rx.cond(BillingState.by_seat, rx.el.div(rx.el.h2("Seats"), box, class_name="section"))


def way_out() -> rx.Component:
    cancel = allowed(
        actions.BILLING_CHANGE,
        button("Cancel subscription", kind="danger", on_click=BillingState.ask_cancel, data_testid="cancel"),
        "Cancel subscription",
    )
    words = two(
        rx.el.span("Cancel the subscription", class_name="strong"),
        small("What is paid stays until its period ends. Your data stays too."),
    )
    box = hull(rx.el.ul(rx.el.li(words, cancel, class_name="wrap"), class_name="list"), name="Cancel")
    shown: Any = BillingState.subscribed & (BillingState.ends_at == "") & (Shell.slug != "")
    return rx.cond(shown, rx.el.div(rx.el.h2("Cancel"), box, class_name="section"))
