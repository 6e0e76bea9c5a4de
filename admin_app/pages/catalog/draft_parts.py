"""The form of a draft and the panel of its impact."""

from typing import Any

import reflex as rx

from admin_app.pages.catalog.forms import feature_field_name
from admin_app.pages.catalog.rows import limit_unit
from admin_app.pages.catalog.state import CatalogState
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.banners import empty_state
from shared.ui.controls import button, form_field, radio_cards, text_input
from shared.ui.panels import panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import has_items

LIMIT_MODES = (("hard", "Block above the limit"), ("soft", "Warn only"), ("unlimited", "Unlimited"))
MOVE_CHOICES = [
    ("stay", "Keep on current version", "Only new subscribers get this version."),
    ("move", "Move to this version", "Every tenant on an earlier version gets this version."),
]


def draft_form() -> rx.Component:
    """Native fields: the browser keeps what is typed until the form is submitted. Another `form_key` resets them."""
    state = CatalogState
    limits = panel(
        rx.el.ul(*[limit_line(name) for name in LIMITS], class_name="list"),
        title="Limits",
        aside=small(
            rx.cond(state.is_plan, "Included amounts", "Added to the plan’s amounts; leave empty for none")
        ),
    )
    features = panel(
        rx.el.div(*[feature_checkbox(name) for name in FEATURES], class_name="checks"),
        title="Features",
        body=True,
    )
    foot = rx.el.div(
        small("Saves the draft. Customers aren’t affected until you publish it.", class_name="grow"),
        button("Preview impact", kind="primary", glyph="radar", type="submit", data_testid="look"),
        class_name="row wrap",
    )
    return rx.form(
        limits,
        features,
        rx.cond(state.is_plan, trial_and_flags_panel()),
        publishing_panel(),
        foot,
        on_submit=state.preview_impact,
        class_name="stack",
        data_testid="draft",
        key=state.form_key,
    )


def limit_line(name: str) -> rx.Component:
    kind, is_plan = LIMITS[name], CatalogState.is_plan
    options = [
        rx.cond(is_plan, rx.el.option(label, value=mode))
        if mode == "soft"
        else rx.el.option(label, value=mode)
        for mode, label in LIMIT_MODES
    ]
    mode_select = rx.el.select(
        *options,
        name=f"mode_{name}",
        default_value=CatalogState.modes[name],
        class_name="input",
        aria_label=f"{kind.title}: what happens above the limit",
    )
    amount_input = rx.el.input(
        name=f"limit_{name}",
        default_value=CatalogState.amounts[name],
        input_mode="numeric",
        auto_complete="off",
        max_length=20,
        class_name="input amount-of",
        aria_label=f"{kind.title}: amount",
        placeholder=rx.cond(is_plan, "0", "none"),
    )
    title = text_with_note(rx.el.h3(kind.title), small(limit_unit(kind)))
    return rx.el.li(title, amount_input, mode_select, class_name="amounts")


def feature_checkbox(name: str) -> rx.Component:
    feature = FEATURES[name]
    included_names: Any = CatalogState.feature_names  # a Var on the class, a list on an instance
    box = rx.el.input(
        type="checkbox",
        name=f"feature_{feature_field_name(name)}",
        value="on",
        default_checked=included_names.contains(name),
        aria_label=feature.title,
    )
    return rx.el.label(box, strong(feature.title), small(feature.benefit), class_name="check")


def flag_checkbox(flag_choice: Any) -> rx.Component:
    box = rx.el.input(
        type="checkbox",
        checked=flag_choice[2],
        on_change=lambda _: CatalogState.toggle_flag(flag_choice[0]),
        aria_label=flag_choice[1],
    )
    return rx.el.label(box, strong(flag_choice[1]), small(flag_choice[0]), class_name="check")


def trial_and_flags_panel() -> rx.Component:
    flags: Any = CatalogState.flags
    trial = text_input(
        "trial_days",
        type="number",
        min="0",
        max="365",
        step="1",
        default_value=CatalogState.trial_days,
        has_note=True,
    )
    return panel(
        rx.el.div(
            form_field("Trial", trial, id="trial_days", hint="Free days, 0 to 365."), class_name="checks"
        ),
        rx.el.fieldset(
            rx.el.legend("Flags it switches on", class_name="legend"),
            rx.cond(
                has_items(flags),
                rx.el.div(rx.foreach(flags, flag_checkbox), class_name="checks"),
                small("There are no flags."),
            ),
        ),
        title="Trial and flags",
        body=True,
    )


def publishing_panel() -> rx.Component:
    date_input = text_input(
        "effective_on", type="date", default_value=CatalogState.effective_on, has_note=True
    )
    return panel(
        radio_cards("Tenants on an earlier version", "moves", MOVE_CHOICES, value=CatalogState.moves),
        rx.el.div(
            form_field(
                "In force from",
                date_input,
                id="effective_on",
                hint="Starts at 00:00 UTC. Leave empty to start now.",
            ),
            class_name="checks",
        ),
        title="Publishing",
        body=True,
    )


def impact_panel() -> rx.Component:
    impact: Any = CatalogState.impact

    def figure(index: int) -> rx.Component:
        return rx.el.div(
            rx.el.h2(impact.figures[index][1], class_name="label"),
            rx.el.p(impact.figures[index][0], class_name="figure"),
            class_name="stat",
        )

    no_impact = panel(
        empty_state(
            "No impact",
            "No tenant gains or loses access or goes over a limit, and no recent decision changes.",
            glyph="circle-check",
        ),
        name="Impact",
    )
    lists = rx.fragment(
        panel(stat_grid(*[figure(index) for index in range(4)]), name="Summary"),
        impact_list("Over the new limit", "They keep what they have but can’t add more.", impact.over_limit),
        impact_list("Lose access", "They can still delete and export their data.", impact.losses),
        impact_list(
            "Changed decisions", "Last 30 days of decisions, re-evaluated.", impact.changed_decisions
        ),
        impact_list("Gain access", "", impact.gains),
    )
    return rx.el.div(rx.cond(impact.is_empty, no_impact, lists), class_name="stack", data_testid="effect")


def impact_list(title: str, note: str, rows: Any) -> rx.Component:
    def name(tenant: Any) -> rx.Component:
        note_text = rx.cond(tenant.note != "", rx.el.span(", ", tenant.note, class_name="muted"))
        return rx.el.span(link(tenant.name, f"/tenants/{tenant.id}"), note_text)

    def line(impact: Any) -> rx.Component:
        first_list = rx.el.div(rx.foreach(impact.first_tenants, name), class_name="names small")
        more_list = rx.cond(
            impact.more_tenants.length() > 0,
            rx.el.details(
                rx.el.summary(impact.unfold_label),
                rx.el.div(
                    rx.foreach(impact.more_tenants, name), small(impact.remainder_text), class_name="names"
                ),
                class_name="names small muted",
            ),
        )
        words = rx.el.div(
            rx.el.h3(impact.title),
            rx.cond(impact.note != "", small(impact.note)),
            first_list,
            more_list,
            class_name="two",
        )
        return rx.el.li(words, rx.el.span(impact.count, class_name="num strong amount"))

    impact_items = rx.el.ul(rx.foreach(rows, line), class_name="list")
    return rx.cond(
        has_items(rows),
        panel(impact_items, title=title, aside=small(note, class_name="less") if note else None),
    )
