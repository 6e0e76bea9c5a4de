"""The panels of a tenant's usage tab."""

import reflex as rx

from admin_app.pages.tenant_usage.rows import ComparisonRow, CorrectionRow, WindowRow
from admin_app.pages.tenant_usage.state import TenantUsageState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui import change_rows
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.change_rows import change_line
from shared.ui.controls import button, select
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from shared.ui.usage_panels import meter_box, range_controls, usage_note

COLUMNS = [
    Column("Meter"),
    Column("Closed", align_end=True),
    Column("Emitted", align_end=True),
    Column("Carried", align_end=True, hidden_on_phone=True),
    Column("Units billed", align_end=True),
    Column("Confirmed", align_end=True, hidden_on_phone=True),
    Column("Equal"),
]
WINDOW_COLUMNS = [
    Column("Window, UTC"),
    Column("How the carry adds up"),
    Column("At the provider", hidden_on_phone=True),
    Column("Equal"),
]
CORRECTION_COLUMNS = [Column("Correction"), Column("State"), Column("")]


def comparison_panel() -> rx.Component:
    state = TenantUsageState

    def line(row: ComparisonRow) -> rx.Component:
        return table_row(
            COLUMNS,
            row.meter,
            row.closed,
            row.emitted,
            row.carried,
            row.units,
            row.confirmed,
            badge(row.label, row.tone),
        )

    def window_line(row: WindowRow) -> rx.Component:
        return table_row(
            WINDOW_COLUMNS,
            row.time,
            small(row.sum, class_name="num"),
            row.received,
            badge(row.label, row.tone),
        )

    def windows(row: ComparisonRow) -> rx.Component:
        table = data_table(f"Windows of {row.meter}", WINDOW_COLUMNS, rx.foreach(row.windows, window_line))
        details = rx.el.details(
            rx.el.summary("Windows of ", row.meter),
            table,
            class_name="usage-table",
            data_testid="usage-windows",
        )
        return rx.cond(has_items(row.windows), details)

    table = data_table(
        "Usage and its billing in this month",
        COLUMNS,
        rx.foreach(state.comparisons, line),
        test_id="usage-billed",
    )
    month = select("Month", state.months, value=state.month, on_change=state.choose_month)
    content = rx.el.div(table, rx.foreach(state.comparisons, windows))
    return panel(content, title="Compared with billing", aside=month)


def check_panel() -> rx.Component:
    state = TenantUsageState
    check = guard_control(
        actions.OP_USAGE_CORRECT,
        button("Compare now", kind="quiet", **dialog_opener(state, "check")),
        "Compare now",
        id="usage-check",
    )
    recompute = guard_control(
        actions.OP_USAGE_CORRECT,
        button("Recompute a month", kind="quiet", **dialog_opener(state, "recompute")),
        "Recompute a month",
        id="usage-recompute",
    )
    content = rx.el.div(
        badge("Aggregates", state.check_tone), " ", state.check_text, data_testid="usage-check"
    )
    return panel(
        content,
        title="Aggregates and events",
        aside=rx.el.div(check, recompute, class_name="row wrap"),
        body=True,
    )


def corrections_panel() -> rx.Component:
    state = TenantUsageState

    def line(row: CorrectionRow) -> rx.Component:
        controls = rx.el.div(
            rx.cond(
                row.is_open,
                rx.fragment(
                    button("Add items", kind="quiet", **dialog_opener(state, "add_lines", row.id)),
                    button(
                        "Preview and close", kind="quiet", **dialog_opener(state, "close_correction", row.id)
                    ),
                ),
            ),
            rx.cond(
                row.can_revert,
                button("Revert", kind="quiet", **dialog_opener(state, "revert_correction", row.id)),
            ),
            class_name="row wrap",
        )
        guarded = guard_control(actions.OP_USAGE_CORRECT, controls, "Correct", id=f"correct-{row.id}")
        about = small(
            row.item_count, " · ", row.by, " · ", local_time(row.at, "", "moment"), class_name="cut-anywhere"
        )
        status = text_with_note(
            badge(row.state, row.tone),
            rx.cond(row.problem != "", small(row.problem, class_name="cut-anywhere")),
        )
        return table_row(CORRECTION_COLUMNS, text_with_note(strong(row.note), about), status, guarded)

    table = data_table(
        "Corrections", CORRECTION_COLUMNS, rx.foreach(state.corrections, line), test_id="usage-corrections"
    )
    none = empty_state(
        "No corrections",
        "A correction adds, replaces or voids events. You see its effect before you close it.",
        glyph="shield-check",
    )
    new = guard_control(
        actions.OP_USAGE_CORRECT,
        button("Correct usage", kind="quiet", **dialog_opener(state, "correct")),
        "Correct usage",
        id="usage-correct",
    )
    return panel(rx.cond(has_items(state.corrections), table, none), title="Corrections", aside=new)


def changes_panel() -> rx.Component:
    table = data_table(
        "Changes of closed usage",
        change_rows.COLUMNS,
        rx.foreach(TenantUsageState.changes, change_line),
        test_id="usage-changes",
    )
    return rx.cond(has_items(TenantUsageState.changes), panel(table, title="Changes after the close"))


def usage_panel() -> rx.Component:
    content = rx.el.div(
        range_controls(TenantUsageState),
        usage_note(TenantUsageState.as_of),
        comparison_panel(),
        check_panel(),
        corrections_panel(),
        changes_panel(),
        rx.foreach(TenantUsageState.meters, meter_box),
        class_name="section",
    )
    return rx.cond(TenantUsageState.loaded, content, panel(skeleton_rows(6), name="Usage"))
