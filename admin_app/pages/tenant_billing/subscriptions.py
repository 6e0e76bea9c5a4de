"""The subscriptions of a tenant on its billing tab, with what happens to them next."""

import reflex as rx

from admin_app.pages.tenant_billing.orders import extend_button, transfer_button
from admin_app.pages.tenant_billing.rows import SubscriptionRow
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui.banners import empty_state, local_time
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small
from shared.ui.tables import badge, has_items


def subscriptions_panel() -> rx.Component:
    state = TenantBillingState
    subscription_list = rx.el.ul(
        rx.foreach(state.subscriptions, subscription_line), class_name="list", data_testid="subscriptions"
    )
    no_subscription = empty_state("No subscription", "It appears after checkout.", glyph="credit-card")
    return panel(
        rx.cond(has_items(state.subscriptions), subscription_list, no_subscription),
        title="Subscriptions, as of the last sync",
        aside=transfer_button(),
    )


def subscription_line(subscription: SubscriptionRow) -> rx.Component:
    end_button = guard_control(
        actions.OP_BILLING_ADJUST,
        button("End and refund", kind="quiet", **dialog_opener(TenantBillingState, "end", subscription.id)),
        "End and refund",
        id=f"end-{subscription.id}",
    )
    synced = small(
        "Ticket ",
        subscription.ticket,
        " · seen ",
        local_time(subscription.seen_at, "", "ago"),
        class_name="num",
    )
    return rx.el.li(
        rx.el.div(
            rx.el.span(
                rx.el.code(subscription.id, class_name="mono cut-anywhere"),
                badge(subscription.status, subscription.tone),
                class_name="row wrap",
            ),
            *subscription_notes(subscription),
            class_name="two",
        ),
        rx.cond(subscription.is_duplicate, end_button),
        extend_button(subscription),
        synced,
        class_name="wrap",
    )


def subscription_notes(subscription: SubscriptionRow) -> list[rx.Component]:
    """What it has and until when, a scheduled change, and why it was cancelled."""
    end_text = rx.cond(
        subscription.cancel_at != "",
        rx.fragment(" · Ends ", local_time(subscription.cancel_at, "", "moment")),
        rx.cond(
            subscription.ends_at != "",
            rx.fragment(" · Paid until ", local_time(subscription.ends_at, "", "day")),
        ),
    )
    scheduled = small(
        "Changes on ",
        local_time(subscription.scheduled_at, "", "moment"),
        " to ",
        subscription.scheduled_lines,
        class_name="cut-anywhere",
    )
    cancelled = small("Cancelled: ", subscription.cancellation, class_name="cut-anywhere")
    return [
        small(subscription.lines_text, end_text, class_name="cut-anywhere"),
        rx.cond(
            subscription.trial_ends_at != "",
            small("Trial ends ", local_time(subscription.trial_ends_at, "", "moment")),
        ),
        rx.cond(
            subscription.transfer_days != "",
            small("Paid by transfer, within ", subscription.transfer_days),
        ),
        rx.cond(
            subscription.paused_at != "",
            small("Paused since ", local_time(subscription.paused_at, "", "moment")),
        ),
        rx.cond(subscription.scheduled_at != "", scheduled),
        rx.cond(subscription.cancellation != "", cancelled),
    ]
