"""The rules of a flag and their editor."""

import reflex as rx

from admin_app.pages.flag.rows import (
    RuleRow,
)
from admin_app.pages.flag.state import FlagPageState
from admin_app.shell import is_allowed
from shared.access import actions
from shared.ui.banners import banner, empty_state, skeleton_rows
from shared.ui.controls import button, form_field, icon_button, text_input
from shared.ui.panels import panel, small
from shared.ui.tables import has_items

RULE_KIND_CHOICES = [
    ("everyone", "Everyone"),
    ("percentage", "Percentage of tenants"),
    ("plan", "Plans"),
    ("beta", "Beta tenants"),
    ("internal", "Internal tenants"),
    ("allowed", "Allowed tenants"),
    ("cohort", "Cohorts"),
    ("industry", "Industries"),
    ("region", "Regions"),
]


def rule_list() -> rx.Component:
    def line(rule: RuleRow) -> rx.Component:
        return rx.el.li(rx.el.span("On for ", rule.text, class_name="grow cut-anywhere"))

    no_rules = empty_state(
        "Off for everyone", "Add a rule to switch it on for some tenants.", glyph="flag-off"
    )
    rule_items = rx.el.ul(rx.foreach(FlagPageState.rules, line), class_name="list", data_testid="rules")
    killed_note = rx.cond(
        FlagPageState.header.killed,
        rx.el.p(
            "Off for everyone while it’s killed. Reviving it restores these rules.",
            class_name="body muted ruled",
        ),
    )
    return rx.cond(has_items(FlagPageState.rules), rx.fragment(rule_items, killed_note), no_rules)


def rule_editor() -> rx.Component:
    def line(rule: RuleRow) -> rx.Component:
        remove_button = icon_button(
            f"Remove {rule.text}", "x", on_click=FlagPageState.remove_rule(rule.index)
        )
        return rx.el.li(rx.el.span("On for ", rule.text, class_name="grow cut-anywhere"), remove_button)

    no_rules = rx.el.p("No rules: it’s off for everyone.", class_name="body muted")
    rule_items = rx.el.ul(rx.foreach(FlagPageState.draft_rules, line), class_name="list", data_testid="draft")
    outdated_banner = rx.cond(
        FlagPageState.is_draft_outdated,
        banner(
            "This flag was changed while you were editing. Cancel and start again with the current rules.",
            tone="warn",
            glyph="git-compare",
        ),
    )
    return rx.fragment(
        outdated_banner,
        rx.cond(has_items(FlagPageState.draft_rules), rule_items, no_rules),
        rx.el.div(rule_form(), class_name="body ruled"),
        rx.el.div(
            rx.el.span(small("On for tenants that match any rule.", class_name="less"), class_name="grow"),
            button("Cancel", on_click=FlagPageState.cancel_editing),
            button(
                "Review change", kind="primary", on_click=FlagPageState.preview_rules, data_testid="review"
            ),
            class_name="foot",
        ),
    )


def rule_form() -> rx.Component:
    kind = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in RULE_KIND_CHOICES],
        id="kind",
        name="kind",
        class_name="input",
        default_value=FlagPageState.kind,  # uncontrolled, so that the choice stays until the server responds
        on_change=FlagPageState.choose_kind,
    )
    # They aren't always rendered. With ids Reflex would send them as empty fields.
    value = rx.el.select(
        rx.foreach(FlagPageState.value_choices, lambda option: rx.el.option(option[1], value=option[0])),
        custom_attrs={"id": "rule-value"},
        name="value",
        class_name="input",
    )
    percent = text_input(
        "rule-percent", name="percent", type="number", min="0", max="100", step="0.01", required=True
    )
    fields = [
        form_field("Applies to", kind, id="kind"),
        rx.cond(has_items(FlagPageState.value_choices), form_field("Values", value, id="rule-value")),
        rx.cond(
            FlagPageState.kind == "percentage",
            form_field("Percent of all tenants", percent, id="rule-percent"),
        ),
        form_field("From (UTC)", text_input("starts_at", type="datetime-local"), id="starts_at"),
        form_field("Until (UTC)", text_input("ends_at", type="datetime-local"), id="ends_at"),
        rx.el.div(button("Add rule", type="submit", glyph="plus"), class_name="row"),
    ]
    return rx.form(
        rx.el.div(*fields, class_name="filters", data_few="true"),
        on_submit=FlagPageState.add_rule,
        key=f"rule-{FlagPageState.form_number}",
        data_testid="rule-form",
    )


def rules_panel() -> rx.Component:
    change = rx.cond(
        is_allowed(actions.OP_FLAG_WRITE)
        & ~FlagPageState.is_editing
        & ~FlagPageState.header.retired
        & FlagPageState.loaded,
        button("Change rules", glyph="pencil", on_click=FlagPageState.edit_rules, data_testid="edit"),
    )
    content = rx.cond(FlagPageState.is_editing, rule_editor(), rule_list())
    return panel(rx.cond(FlagPageState.loaded, content, skeleton_rows(2)), title="Rules", aside=change)
