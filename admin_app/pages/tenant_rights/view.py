"""The tab "Rights" of a tenant's page: its features, limits and flags with their sources, and the dialogs to change
them.

The page's load triggers the load of this tab's state while the tab is open.
"""

from typing import Any

import reflex as rx

from admin_app.pages.tenant_rights.dialogs import rights_dialogs
from admin_app.pages.tenant_rights.rows import ExceptionRow, FlagOrTraitRow, RightRow
from admin_app.pages.tenant_rights.state import TenantRightsState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.dialogs import dialog_opener
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

SOURCE_COLUMN = Column("Source", hidden_on_phone=True, width="52%")
WHY_COLUMN = Column("Explain", align_end=True, label_hidden=True)
FEATURE_COLUMNS = [Column("Feature"), Column("Included"), SOURCE_COLUMN, WHY_COLUMN]
LIMIT_COLUMNS = [Column("Limit"), Column("Amount", align_end=True), SOURCE_COLUMN, WHY_COLUMN]


def dialog_button(
    dialog_name: str, label: str, glyph: str = "", row_id: Any = "", **props: Any
) -> rx.Component:
    """A button that opens a dialog, disabled with a reason without permission."""
    action = actions.OP_FLAG_WRITE if dialog_name in ("flag", "trait") else actions.OP_RIGHTS_WRITE
    control = button(label, glyph=glyph, **dialog_opener(TenantRightsState, dialog_name, row_id), **props)
    return guard_control(action, control, label, glyph=glyph, id=f"refused-{dialog_name}")


def summary_stats() -> rx.Component:
    state: Any = TenantRightsState
    summary = state.summary
    since = rx.cond(
        summary.plan_since != "", rx.fragment("Since ", local_time(summary.plan_since, "", "day")), ""
    )
    trial = rx.cond(
        summary.trial_until != "", rx.fragment("Until ", local_time(summary.trial_until, "", "moment")), ""
    )
    billing_since = rx.cond(
        summary.billing_since != "", rx.fragment("Since ", local_time(summary.billing_since, "", "day")), ""
    )
    return stat_grid(
        stat("Plan", summary.plan, since),
        stat("Trial", summary.trial, trial),
        stat("Billing status", badge(summary.billing, summary.tone), billing_since),
        stat(
            "Exceptions",
            rx.fragment(state.overrides.length(), " overrides"),
            rx.fragment(state.addons.length(), " add-ons"),
        ),
    )


def plan_and_billing() -> rx.Component:
    summary = TenantRightsState.summary
    plan = rx.el.li(
        text_with_note(strong(summary.plan), small(summary.plan_note, class_name="cut-anywhere")),
        dialog_button("plan", "Change plan", data_testid="change-plan"),
        class_name="wrap",
    )
    billing_item = rx.el.li(
        text_with_note(
            strong(summary.billing),
            small(summary.billing_note, " · ", summary.billing_source, class_name="cut-anywhere"),
        ),
        dialog_button("billing", "Set billing status", data_testid="set-billing"),
        class_name="wrap",
    )
    return panel(rx.el.ul(plan, billing_item, class_name="list"), title="Plan and billing")


def exceptions_panel(
    title: str, rows: Any, empty_text: rx.Component, aside: Any, test_id: str
) -> rx.Component:
    def line(exception: ExceptionRow) -> rx.Component:
        until = rx.cond(
            exception.until != "",
            small("Until ", local_time(exception.until, "", "moment"), class_name="num nowrap"),
            small("No end date", class_name="nowrap"),
        )
        end_button = guard_control(
            actions.OP_RIGHTS_WRITE,
            button("End now", kind="quiet", **dialog_opener(TenantRightsState, "end", exception.id)),
            "End now",
            id=f"end-{exception.id}",
        )
        heading = rx.el.span(
            strong(exception.title), " ", badge(exception.value, "accent"), class_name="row wrap"
        )
        words = rx.el.div(
            heading, small(exception.origin, class_name="cut-anywhere"), until, class_name="two"
        )
        return rx.el.li(words, end_button)

    exception_list = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    return panel(rx.cond(has_items(rows), exception_list, empty_text), title=title, aside=aside)


def source_text(right: RightRow) -> rx.Component:
    return small(right.explanation, " ", rx.el.code(right.source, class_name="mono cut-anywhere"))


def explain_link(right: RightRow) -> rx.Component:
    label = rx.fragment("Why?", rx.el.span(" ", right.title, class_name="sr"))
    return rx.cond(right.explain_url != "", link(label, right.explain_url, class_name="link small"))


def feature_line(right: RightRow) -> rx.Component:
    name = text_with_note(
        strong(right.title),
        rx.fragment(
            rx.el.code(right.key, class_name="mono muted"),
            rx.el.span(source_text(right), class_name="only-small"),
        ),
    )
    return table_row(
        FEATURE_COLUMNS, name, badge(right.value, right.tone), source_text(right), explain_link(right)
    )


def limit_line(right: RightRow) -> rx.Component:
    name = text_with_note(
        strong(right.title),
        rx.fragment(
            rx.el.code(right.key, class_name="mono muted"),
            rx.el.span(source_text(right), class_name="only-small"),
        ),
    )
    amount = rx.el.div(
        rx.el.span(right.value),
        rx.cond(
            right.used_text != "",
            rx.el.span(right.used_text, class_name=rx.cond(right.tone == "bad", "small down", "small muted")),
        ),
        class_name="two",
    )
    return table_row(LIMIT_COLUMNS, name, amount, source_text(right), explain_link(right))


def toggles_panel(title: str, kind: str, rows: Any, verb: str, empty_text: rx.Component) -> rx.Component:
    def line(toggle: FlagOrTraitRow) -> rx.Component:
        explanation = small(
            toggle.explanation, " ", rx.el.code(toggle.source, class_name="mono"), class_name="cut-anywhere"
        )
        heading = rx.el.span(
            strong(toggle.title), " ", badge(toggle.value, toggle.tone), class_name="row wrap"
        )
        control = button(verb, kind="quiet", **dialog_opener(TenantRightsState, kind, toggle.key))
        change = guard_control(actions.OP_FLAG_WRITE, control, verb, id=f"{kind}-{toggle.key}")
        return rx.el.li(text_with_note(heading, rx.cond(toggle.source != "", explanation)), change)

    toggle_list = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=f"{kind}s")
    return panel(rx.cond(has_items(rows), toggle_list, empty_text), title=title)


def rights_panel() -> rx.Component:
    state = TenantRightsState
    addons = exceptions_panel(
        "Add-ons",
        state.addons,
        empty_state("No add-ons", "Add-ons raise limits or add features.", glyph="puzzle"),
        dialog_button("addon", "Add-on", "plus", data_testid="add-addon"),
        "addons",
    )
    overrides = exceptions_panel(
        "Overrides",
        state.overrides,
        empty_state("No overrides", "Overrides apply to this tenant only and expire.", glyph="replace"),
        None,
        "overrides",
    )
    features = data_table(
        "Features", FEATURE_COLUMNS, rx.foreach(state.features, feature_line), test_id="features"
    )
    limits = data_table("Limits", LIMIT_COLUMNS, rx.foreach(state.limits, limit_line), test_id="limits")
    override = dialog_button("feature", "Override", "plus", data_testid="override-feature")
    limit_override = dialog_button("limit", "Override", "plus", data_testid="override-limit")
    no_flags = empty_state("No flags", "Flags that are being rolled out appear here.", glyph="flag")
    content = rx.el.div(
        panel(summary_stats(), name="Facts"),
        plan_and_billing(),
        panel(features, title="Features", aside=override),
        panel(limits, title="Limits", aside=limit_override),
        rx.el.div(overrides, addons, class_name="split", data_even="true"),
        rx.el.div(
            toggles_panel("Flags", "flag", state.flags, "Override flag", no_flags),
            toggles_panel("Traits", "trait", state.traits, "Set", no_flags),
            class_name="split",
            data_even="true",
        ),
        rights_dialogs(),
        class_name="stack",
    )
    return rx.cond(state.loaded, content, panel(skeleton_rows(6), name="Rights"))
