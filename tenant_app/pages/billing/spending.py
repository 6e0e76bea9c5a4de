"""The spend limit on the billing page: what metered use has cost, and the form."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.metering.actions import USAGE_EXPORT
from shared.ui.banners import local_time
from shared.ui.controls import button, dialog_field, text_input
from shared.ui.dialogs import dialog_opener, form_dialog
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.tables import has_items
from tenant_app.pages.billing.spending_state import EFFECTS, InvoiceUsageRow
from tenant_app.pages.billing.state import BillingState
from tenant_app.shell import guard_control


def spending_section() -> rx.Component:
    """For organisations whose plan has metered prices."""
    state: Any = BillingState
    remove = guard_control(
        actions.BILLING_CHANGE,
        button("Remove", kind="quiet", on_click=state.remove_spend_limit, data_once="true"),
        "Remove",
    )
    change = guard_control(
        actions.BILLING_CHANGE,
        button("Set limit", **dialog_opener(BillingState, "spend_limit"), data_testid="spend-limit"),
        "Set limit",
    )
    words = text_with_note(
        rx.el.span(state.spend_text, class_name="strong", data_testid="spend-text"),
        small(state.spend_note, class_name="cut-anywhere"),
    )
    row = rx.el.li(words, rx.cond(state.has_spend_limit, remove), change, class_name="wrap")
    box = panel(rx.el.ul(row, class_name="list"), name="Spend limit")
    return rx.cond(state.shows_spending, section("Spend limit", box))


def spend_limit_dialog() -> rx.Component:
    state: Any = BillingState
    amount = text_input(
        "spend-amount",
        name="amount",
        input_mode="decimal",
        max_length=20,
        required=True,
        auto_complete="off",
        default_value=state.spend_amount,
    )
    choices = [rx.el.option(label, value=value) for value, label in EFFECTS]
    effect = rx.el.select(
        *choices,
        name="effect",
        class_name="input",
        default_value=state.spend_effect,
        custom_attrs={"id": "spend-effect"},
    )
    return form_dialog(
        BillingState,
        "spend_limit",
        "Spend limit",
        rx.fragment(
            "What metered use of one billing period may cost, in ",
            state.spend_currency.upper(),
            ", before prepaid credits and taxes. A change takes effect within seconds.",
        ),
        dialog_field("Amount", amount, id="spend-amount", name="amount", hint="For each billing period."),
        dialog_field("At the limit", effect, id="spend-effect", name="effect"),
        confirm="Save",
        submit=BillingState.save_spend_limit,
    )


def invoice_usage_list() -> rx.Component:
    """What of each meter an invoice bills, with the export of its events."""
    state: Any = BillingState

    def usage_line(row: InvoiceUsageRow) -> rx.Component:
        export = guard_control(
            USAGE_EXPORT,
            button("Export events", kind="quiet", on_click=state.export_events(row.key), data_once="true"),
            "Export events",
        )
        period = small(
            local_time(row.starts_at, "", "day"), " – ", local_time(row.ends_at, "", "day"), class_name="num"
        )
        return rx.el.li(text_with_note(row.text, period), export, class_name="wrap")

    lines = rx.el.ul(rx.foreach(state.usage_rows, usage_line), class_name="list", data_testid="invoice-usage")
    return rx.cond(has_items(state.usage_rows), lines)
