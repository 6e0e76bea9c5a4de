"""The dialogs of a tenant's usage tab."""

import reflex as rx

from admin_app.pages.tenant_rights.dialogs import select_field
from admin_app.pages.tenant_usage.rows import EffectRow
from admin_app.pages.tenant_usage.state import TenantUsageState
from shared.ui.controls import dialog_field
from shared.ui.dialogs import form_dialog, reason_field
from shared.ui.panels import small
from shared.ui.tables import Column, data_table, has_items, table_row

EFFECT_COLUMNS = [Column("Usage of"), Column("Now", align_end=True), Column("Then", align_end=True)]
EXAMPLE = "void, usage_events, order-1001\nreplace, usage_events, order-1002, 3\nadd, usage_events, order-1003, 5, 2026-07-01T12:00:00Z"


def lines_field(form_name: str) -> rx.Component:
    field_id = f"{form_name}-lines"
    control = rx.el.textarea(
        name="lines",
        class_name="input",
        rows="5",
        required=True,
        max_length=1_000,
        placeholder=EXAMPLE,
        custom_attrs={"id": field_id},
    )
    return dialog_field(
        "Items",
        control,
        id=field_id,
        name="lines",
        hint="One a line: add, replace or void, then meter, key, quantity or subject, and the time of an added event.",
    )


def preview_part() -> rx.Component:
    state = TenantUsageState

    def line(row: EffectRow) -> rx.Component:
        return table_row(EFFECT_COLUMNS, row.window, row.before, row.after)

    table = data_table("What changes", EFFECT_COLUMNS, rx.foreach(state.preview.windows, line))
    return rx.el.div(
        rx.cond(has_items(state.preview.windows), table, rx.el.p("No number changes.")),
        rx.cond(state.preview.others != "", small("And ", state.preview.others, ".")),
        rx.el.ul(rx.foreach(state.preview.billed, rx.el.li), class_name="small"),
        rx.cond(
            has_items(state.preview.invoices),
            rx.el.ul(
                rx.foreach(state.preview.invoices, rx.el.li),
                class_name="small",
                aria_label="Effect on invoices",
            ),
        ),
        data_testid="correction-preview",
    )


def usage_dialogs() -> rx.Component:
    state = TenantUsageState
    correct = form_dialog(
        state,
        "correct",
        "Correct usage",
        "Takes effect when you close the correction after its preview. Original events are kept.",
        lines_field("correct"),
        reason_field("correct", example="Orders of 1 July were sent twice"),
        confirm="Open correction",
        submit=state.open_correction,
        wide=True,
    )
    add = form_dialog(
        state,
        "add_lines",
        "Add items",
        state.subject,
        lines_field("add_lines"),
        reason_field("add_lines"),
        confirm="Add items",
        submit=state.add_lines,
        wide=True,
    )
    close = form_dialog(
        state,
        "close_correction",
        "Close correction",
        state.subject,
        preview_part(),
        reason_field("close_correction"),
        confirm="Close correction",
        submit=state.close_correction,
        wide=True,
    )
    revert = form_dialog(
        state,
        "revert_correction",
        "Revert correction",
        state.subject,
        reason_field("revert_correction"),
        confirm="Revert correction",
        submit=state.revert_correction,
        kind="danger-fill",
    )
    return rx.fragment(correct, add, close, revert, recompute_dialog(), check_dialog())


def recompute_dialog() -> rx.Component:
    state = TenantUsageState
    return form_dialog(
        state,
        "recompute",
        "Recompute a month",
        "A job adds it up again from its events. Where a closed hour changes, it appears under Changes.",
        select_field("recompute-meter", "Meter", "meter", state.meter_choices),
        select_field("recompute-month", "Month", "month", state.months),
        reason_field("recompute"),
        confirm="Recompute",
        submit=state.recompute_month,
    )


def check_dialog() -> rx.Component:
    state = TenantUsageState
    return form_dialog(
        state,
        "check",
        "Compare aggregates with events",
        "A job compares every hour of the last 35 days.",
        reason_field("check"),
        confirm="Compare",
        submit=state.check_usage,
    )
