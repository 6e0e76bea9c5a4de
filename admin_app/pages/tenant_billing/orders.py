"""Orders to the provider on a tenant's billing tab: the panel, and the dialogs about transfers and trials."""

import reflex as rx

from admin_app.pages.tenant_billing.order_state import OrderRow
from admin_app.pages.tenant_billing.rows import SubscriptionRow, TenantInvoiceRow
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.dialogs import select_field
from admin_app.shell import guard_control
from shared.access import actions
from shared.backoffice.billing_orders import (
    MAX_DUE_DAYS,
    MAX_EXTENSION_DAYS,
    MAX_MESSAGE_LENGTH,
    MAX_REFERENCE_LENGTH,
    MAX_TRIAL,
    MIN_DUE_DAYS,
)
from shared.ui.banners import local_time
from shared.ui.controls import button, dialog_field, text_input
from shared.ui.dialogs import confirm_field, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel, small, strong
from shared.ui.tables import badge, has_items


def transfer_button() -> rx.Component:
    """Shown where the tenant has no subscription."""
    control = guard_control(
        actions.OP_BILLING_ADJUST,
        button(
            "Start paid by transfer",
            glyph="landmark",
            **dialog_opener(TenantBillingState, "transfer"),
            data_testid="start-transfer",
        ),
        "Start paid by transfer",
        glyph="landmark",
        id="refused-transfer",
    )
    return rx.cond(has_items(TenantBillingState.offer_choices), control)


def extend_button(subscription: SubscriptionRow) -> rx.Component:
    control = guard_control(
        actions.OP_BILLING_ADJUST,
        button(
            "Extend trial", kind="quiet", **dialog_opener(TenantBillingState, "extend"), data_testid="extend"
        ),
        "Extend trial",
        id=f"extend-{subscription.id}",
    )
    return rx.cond(subscription.trial_ends_at != "", control)


def mark_paid_button(invoice: TenantInvoiceRow) -> rx.Component:
    control = guard_control(
        actions.OP_BILLING_ADJUST,
        button("Mark as paid", kind="quiet", **dialog_opener(TenantBillingState, "mark_paid", invoice.id)),
        "Mark as paid",
        id=f"paid-{invoice.id}",
    )
    return rx.cond(invoice.can_mark_paid, control)


def orders_panel() -> rx.Component:
    """Shown only where there are some."""

    def line(order: OrderRow) -> rx.Component:
        retry_button = guard_control(
            actions.OP_BILLING_ADJUST,
            button("Retry", kind="quiet", **dialog_opener(TenantBillingState, "retry_order", order.id)),
            "Retry",
            id=f"retry-{order.id}",
        )
        text = rx.el.div(
            rx.el.span(strong(order.title), badge(order.state, order.tone), class_name="row wrap"),
            small(order.details, class_name="cut-anywhere"),
            rx.cond(order.error != "", small("Stripe’s answer: ", order.error, class_name="cut-anywhere")),
            small(local_time(order.at, "", "moment")),
            class_name="two",
        )
        return rx.el.li(text, rx.cond(order.is_open, retry_button))

    state = TenantBillingState
    order_list = rx.el.ul(rx.foreach(state.orders, line), class_name="list", data_testid="billing-orders")
    return rx.cond(has_items(state.orders), panel(order_list, title="Orders to Stripe"))


def order_dialogs() -> rx.Component:
    state = TenantBillingState
    reference_input = text_input(
        "mark_paid-reference",
        name="reference",
        max_length=MAX_REFERENCE_LENGTH,
        required=True,
        auto_complete="off",
        placeholder="2027-03-04 ACME 4471",
    )
    mark_paid = form_dialog(
        state,
        "mark_paid",
        rx.fragment("Mark ", state.subject, " as paid"),
        "Use it when the transfer has arrived. This can’t be undone, and nothing is charged.",
        dialog_field(
            "Reference",
            reference_input,
            id="mark_paid-reference",
            name="reference",
            hint="As on the bank’s statement.",
        ),
        reason_field("mark_paid", example="Transfer of 4 March has arrived"),
        confirm="Mark as paid",
        submit=state.mark_paid,
        kind="danger-fill",
    )
    retry = form_dialog(
        state,
        "retry_order",
        rx.fragment("Retry: ", state.subject),
        "Use it when Stripe didn’t answer. A repeated request is carried out once.",
        reason_field("retry_order"),
        confirm="Retry",
        submit=state.retry_order,
    )
    return rx.fragment(_transfer_dialog(), mark_paid, _extend_dialog(), retry)


def _transfer_dialog() -> rx.Component:
    state = TenantBillingState
    return form_dialog(
        state,
        "transfer",
        rx.fragment("Start a subscription of ", state.name),
        "Stripe sends an invoice for each period, which is paid by bank transfer. The plan is active at once.",
        select_field("transfer-offer", "Plan", "offer", state.offer_choices),
        dialog_field(
            "Seats", _number_input("transfer-seats", "seats", 1, 10_000, 1), id="transfer-seats", name="seats"
        ),
        dialog_field(
            "Days to pay",
            _number_input("transfer-days", "days", MIN_DUE_DAYS, MAX_DUE_DAYS, 30),
            id="transfer-days",
            name="days",
            hint="From the date of each invoice. Then access ends as after a failed charge.",
        ),
        reason_field("transfer", example="Pilot customer, contract 4471"),
        confirm_field("transfer", state.name),
        confirm="Start",
        submit=state.start_transfer,
        kind="danger-fill",
        wide=True,
    )


def _extend_dialog() -> rx.Component:
    state = TenantBillingState
    message_input = text_input(
        "extend-message",
        name="message",
        max_length=MAX_MESSAGE_LENGTH,
        auto_complete="off",
        placeholder="As agreed on the phone.",
    )
    return form_dialog(
        state,
        "extend",
        rx.fragment("Extend the trial of ", state.name),
        f"Stripe charges nothing before its new end. With all extensions a trial lasts at most {MAX_TRIAL.days} days.",
        dialog_field(
            "More days",
            _number_input("extend-days", "days", 1, MAX_EXTENSION_DAYS, 14),
            id="extend-days",
            name="days",
        ),
        dialog_field(
            "Message",
            message_input,
            id="extend-message",
            name="message",
            hint="Owners read it beside the new day. Optional.",
        ),
        reason_field("extend"),
        confirm="Extend trial",
        submit=state.extend_trial,
    )


def _number_input(id: str, name: str, minimum: int, maximum: int, default: int) -> rx.Component:
    return text_input(
        id, name=name, type="number", min=minimum, max=maximum, default_value=str(default), required=True
    )
