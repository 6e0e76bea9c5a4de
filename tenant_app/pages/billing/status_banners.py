"""What the customer should know or do about the subscription, above its facts."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui.banners import banner, local_time
from shared.ui.controls import button
from shared.ui.panels import panel
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.billing.subscription import external_link
from tenant_app.shell import guard_control


def status_banner(
    text: Any, *, action: rx.Component | None = None, tone: str = "accent", glyph: str = "info"
) -> rx.Component:
    return panel(banner(text, action=action, tone=tone, glyph=glyph), name="Subscription status")


def activation_banner() -> rx.Component:
    """After a checkout: waiting for the payment, then active."""
    wait = panel(
        rx.el.div(
            rx.icon("loader-circle", class_name="icon spin", aria_hidden=True),
            rx.el.span(
                rx.el.b("Activating your plan…"),
                " We’re waiting for the payment provider. Updates automatically.",
                class_name="say",
            ),
            button("Check again", on_click=BillingState.check_payment, data_once="true"),
            class_name="banner",
            data_tone="accent",
            role="status",
            data_testid="activating",
        ),
        name="Activating",
    )
    ready = status_banner(
        rx.fragment(rx.el.b(BillingState.plan, " is active."), " Everyone can use its features now."),
        glyph="circle-check",
    )
    return rx.cond(
        BillingState.activating == "waiting", wait, rx.cond(BillingState.activating == "done", ready)
    )


def duplicate_banner() -> rx.Component:
    """For customers who are charged more than once."""
    count: Any = BillingState.subscription_count
    warning = status_banner(
        rx.fragment(
            rx.el.b("You’re paying for ", count, " subscriptions."),
            " Contact support to end one of them and refund it. Cancelling ends all of them.",
        ),
        tone="warn",
        glyph="triangle-alert",
    )
    return rx.cond(count > 1, warning)


def keep_plan_button(test_id: str, *, kind: str = "plain") -> rx.Component:
    """`test_id`: of its banner; both banners can be on the page at once."""
    return guard_control(
        actions.BILLING_CHANGE,
        button(
            "Keep the current plan",
            kind=kind,
            on_click=BillingState.keep_current_plan,
            data_once="true",
            data_testid=test_id,
        ),
        "Keep the current plan",
    )


def scheduled_change_banner() -> rx.Component:
    """For a change at the end of the period."""
    texts: Any = BillingState.scheduled_texts
    notice = status_banner(
        rx.fragment(
            rx.el.b(
                "Changes to ", texts.target, " on ", local_time(BillingState.scheduled_at, "", "day"), "."
            ),
            " You keep ",
            texts.kept,
            " until then. ",
            texts.note,
        ),
        action=keep_plan_button("keep-plan"),
        glyph="calendar-clock",
    )
    return rx.cond(BillingState.scheduled_at != "", notice)


def pending_change_banner() -> rx.Component:
    """For a change whose payment failed or has to be confirmed."""
    invoice: Any = BillingState.pending_invoice
    warning = status_banner(
        rx.fragment(
            rx.el.b("A change waits for its payment of ", invoice.amount, "."),
            " Your plan is unchanged. Pay or confirm it by ",
            local_time(BillingState.pending_until, "", "moment"),
            ", or the change is dropped.",
        ),
        action=rx.fragment(
            keep_plan_button("keep-plan-unpaid", kind="quiet"),
            rx.cond(
                invoice.page_url != "",
                external_link("Complete the payment", invoice.page_url, kind="primary"),
            ),
        ),
        tone="warn",
        glyph="credit-card",
    )
    return rx.cond(BillingState.pending_until != "", warning)


def subscription_banner() -> rx.Component:
    """At most one banner: what the customer has to do."""
    day: Any = local_time(BillingState.ends_at, "", "day")
    resume = guard_control(
        actions.BILLING_CHANGE,
        button("Resume", kind="primary", on_click=BillingState.resume_subscription, data_once="true"),
        "Resume",
    )
    ending = status_banner(
        rx.fragment(
            rx.el.b(BillingState.plan, " ends on ", day, "."),
            " You keep access until then. Your data is kept. ",
            BillingState.remaining_text,
        ),
        action=resume,
        tone="warn",
        glyph="calendar-x",
    )
    first = status_banner(
        rx.fragment(rx.el.b("Your first payment is still open."), " Your plan starts when it’s paid."),
        action=rx.cond(
            BillingState.open_invoice.page_url != "",
            external_link("Finish the payment", BillingState.open_invoice.page_url, kind="primary"),
        ),
        tone="warn",
        glyph="credit-card",
    )
    resume_paused = guard_control(
        actions.BILLING_CHANGE,
        button(
            "Resume",
            kind="primary",
            on_click=BillingState.open_pause_dialog("resume"),
            data_testid="resume-paused",
        ),
        "Resume",
    )
    paused = status_banner(
        rx.fragment(rx.el.b(BillingState.pause_text), " ", BillingState.pause_step),
        action=resume_paused,
        tone="warn",
        glyph="circle-pause",
    )
    ended = status_banner(
        rx.fragment(
            rx.el.b("The subscription ended on ", local_time(BillingState.ended_at, "", "day"), "."),
            " Your data is kept. Choose a plan to continue.",
        ),
        glyph="calendar-x",
    )
    return rx.cond(
        BillingState.is_first_payment_open,
        first,
        rx.cond(
            BillingState.paused,
            paused,
            rx.cond(BillingState.ends_at != "", ending, rx.cond(BillingState.ended_at != "", ended)),
        ),
    )
