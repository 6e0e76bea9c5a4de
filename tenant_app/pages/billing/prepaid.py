"""Prepaid credits on the billing page: balance, grants, ledger and automatic top-ups."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui.controls import button, dialog_field, text_input
from shared.ui.dialogs import dialog_opener, form_dialog
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.prepaid_ledger import entry_list, grant_list
from shared.ui.tables import has_items
from tenant_app.pages.billing.state import BillingState
from tenant_app.shell import guard_control


def prepaid_section() -> rx.Component:
    """For organisations that have credits, or a plan with usage that credits could pay for."""
    balance_text = rx.cond(
        BillingState.prepaid_balance != "",
        rx.fragment(rx.el.b(BillingState.prepaid_balance), " left."),
        "Nothing is left.",
    )
    explanation = small(
        balance_text,
        " Credits pay for usage above what your plan includes, before it is billed. "
        "Your invoices only have what they didn’t pay for.",
    )
    grants = rx.cond(has_items(BillingState.prepaid_grants), grant_list(BillingState.prepaid_grants))
    box = panel(rx.el.div(explanation, class_name="body"), grants, top_up_row(), name="Prepaid credits")
    ledger = rx.cond(
        has_items(BillingState.prepaid_entries),
        panel(entry_list(BillingState.prepaid_entries), title="Latest changes"),
    )
    content = rx.el.div(box, ledger, class_name="stack")
    return rx.cond(BillingState.shows_prepaid, section("Prepaid credits", content))


def top_up_row() -> rx.Component:
    state: Any = BillingState
    turn_off = guard_control(
        actions.BILLING_CHANGE,
        button("Turn off", kind="quiet", on_click=state.turn_off_top_up, data_once="true"),
        "Turn off",
    )
    change = guard_control(
        actions.BILLING_CHANGE,
        button("Set up", **dialog_opener(BillingState, "top_up"), data_testid="top-up"),
        "Set up",
        obstacle=state.top_up_obstacle,
    )
    words = text_with_note(
        rx.el.span("Automatic top-up", class_name="strong"),
        small(state.top_up_text, class_name="cut-anywhere"),
    )
    return rx.el.ul(
        rx.el.li(words, rx.cond(state.top_up_on, turn_off), change, class_name="wrap"), class_name="list"
    )


def top_up_dialog() -> rx.Component:
    def amount_field(name: str, label: str, hint: str) -> rx.Component:
        control = text_input(
            f"top-up-{name}",
            name=name,
            input_mode="decimal",
            max_length=20,
            required=True,
            auto_complete="off",
            default_value=BillingState.top_up_values[name],
        )
        return dialog_field(label, control, id=f"top-up-{name}", name=name, hint=hint)

    return form_dialog(
        BillingState,
        "top_up",
        "Automatic top-up",
        rx.fragment(
            "Charged to your payment method as soon as less than the threshold is left. Amounts in ",
            BillingState.prepaid_currency.upper(),
            ".",
            rx.cond(BillingState.top_up_adds_tax, " Tax is added to what you buy.", ""),
        ),
        amount_field("threshold", "When less than this is left", "Not more than the amount."),
        amount_field("amount", "Buy credits for", "One charge, with an invoice of its own."),
        amount_field("maximum", "At most per month", "Usage beyond it is billed as usual."),
        confirm="Turn on",
        submit=BillingState.save_top_up,
    )
