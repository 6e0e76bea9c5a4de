"""How plans, drafts and effects are drawn. Told everything it shows; knows no state."""

from typing import Any

import reflex as rx

from admin_app.catalogue import feature_field_name, limit_unit
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.ui.banners import empty_state, local_time
from shared.ui.controls import button, form_field, icon, icon_button, radio_cards, text_input
from shared.ui.panels import panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

ADDON_COLUMNS = [
    Column("Name"),
    Column("Gives", hidden_on_phone=True),
    Column("Version"),
    Column("In force since", hidden_on_phone=True),
    Column("Tenants", align_end=True),
    Column("Actions", align_end=True, label_hidden=True),
]
TENANT_OFFER_COLUMNS = [ADDON_COLUMNS[0], Column("Tenant", hidden_on_phone=True), *ADDON_COLUMNS[2:]]
VERSION_COLUMNS = [
    Column("Version"),
    Column("State"),
    Column("In force since", hidden_on_phone=True),
    Column("Existing tenants", hidden_on_phone=True),
    Column("Published", hidden_on_phone=True),
    Column("Tenants", align_end=True),
]
LIMIT_MODES = (("hard", "Refuse above it"), ("soft", "Warn above it"), ("unlimited", "Unlimited"))
MOVE_CHOICES = [
    ("stay", "Stay where they are", "Only who chooses it from then on gets this version."),
    ("move", "Move to this version", "Everybody on an earlier version of it has this one from then on."),
]


def name_button(item: Any, choose: Any, chosen: Any) -> rx.Component:
    return rx.el.button(
        item.name,
        class_name="link",
        type="button",
        aria_expanded=rx.cond(chosen == item.id, "true", "false"),
        title="Show the versions",
        on_click=choose(item.id),
    )


def state_badges(item: Any) -> rx.Component:
    return rx.fragment(
        rx.cond(item.draft_id != "", badge("Draft", "wait")),
        rx.cond(item.retired, badge("Retired", "idle")),
    )


def plan_comparison(
    plans: Any, limits: Any, features: Any, choose: Any, chosen: Any, draft_button: Any
) -> rx.Component:
    """Plans beside each other, from the least to the most."""

    def plan(item: Any) -> rx.Component:
        version = rx.el.span(
            item.version,
            rx.cond(item.next_version_text != "", rx.fragment(", ", item.next_version_text)),
            class_name="small muted",
        )
        words = rx.el.div(name_button(item, choose, chosen), version)
        return rx.el.th(
            rx.el.div(words, draft_button(item), class_name="plan-head"), scope="col", class_name="end"
        )

    def line(title: str, cell: Any) -> rx.Component:
        row_cells = rx.foreach(plans, lambda item: rx.el.td(cell(item), class_name="end num"))
        return rx.el.tr(rx.el.th(title, scope="row"), row_cells)

    def compared(compared_row: Any) -> rx.Component:
        def cell(compare_cell: Any) -> rx.Component:
            included_mark = rx.el.span(icon("check"), rx.el.span("Yes", class_name="sr"), class_name="yes")
            amount = rx.fragment(
                compare_cell.value, rx.cond(compare_cell.note != "", rx.el.div(small(compare_cell.note)))
            )
            return rx.el.td(
                rx.match(compare_cell.value, ("yes", included_mark), ("", empty_mark("No")), amount),
                class_name="end num",
            )

        title = rx.fragment(
            compared_row.title, rx.cond(compared_row.unit != "", rx.fragment(" ", small(compared_row.unit)))
        )
        return rx.el.tr(rx.el.th(title, scope="row"), rx.foreach(compared_row.cells, cell))

    def group(title: str) -> rx.Component:
        empty_cells = rx.foreach(plans, lambda _: rx.el.td())
        return rx.el.tr(rx.el.th(title, scope="rowgroup"), empty_cells, class_name="group")

    def since(item: Any) -> rx.Component:
        return rx.cond(item.since != "", local_time(item.since, "", "day"), empty_mark("Not in force"))

    def tenants(item: Any) -> rx.Component:
        return rx.fragment(
            item.tenants, rx.cond(item.earlier_text != "", rx.el.div(small(item.earlier_text)))
        )

    head = rx.el.thead(
        rx.el.tr(rx.el.th(rx.el.span("What it gives", class_name="sr"), scope="col"), rx.foreach(plans, plan))
    )
    body = rx.el.tbody(
        line("In force since", since),
        line("Tenants that have it", tenants),
        line("Trial", lambda item: rx.cond(item.trial != "", item.trial, empty_mark("None"))),
        group("Limits"),
        rx.foreach(limits, compared),
        group("Features"),
        rx.foreach(features, compared),
    )
    table = rx.el.table(
        rx.el.caption("Plans", class_name="sr"), head, body, class_name="matrix", data_testid="plans"
    )
    return rx.el.div(table, class_name="scroll", tab_index=0, role="region", aria_label="Plans, side by side")


def empty_mark(label: str) -> rx.Component:
    line = rx.el.span("–", aria_hidden="true")
    return rx.el.span(line, rx.el.span(label, class_name="sr"), class_name="muted")


def addon_table(
    rows: Any, name: str, choose: Any, chosen: Any, draft_button: Any, *, tenant: bool
) -> rx.Component:
    columns = TENANT_OFFER_COLUMNS if tenant else ADDON_COLUMNS

    def line(item: Any) -> rx.Component:
        title = rx.el.div(name_button(item, choose, chosen), state_badges(item), class_name="row wrap")
        description = small(item.kind, rx.cond(item.sentence != "", rx.fragment(" · ", item.sentence)))
        tenant_link = link(item.tenant, f"/tenants/{item.tenant_id}")
        gives = rx.cond(
            item.contents_text != "", item.contents_text, rx.el.span("Nothing yet", class_name="muted")
        )
        if tenant:
            description = rx.fragment(description, rx.el.span(tenant_link, class_name="small only-small"))
        since = rx.cond(
            item.since != "", local_time(item.since, "", "day"), rx.el.span("–", class_name="muted")
        )
        return table_row(
            columns,
            text_with_note(title, description),
            tenant_link if tenant else gives,
            text_with_note(
                rx.el.span(item.version), rx.cond(item.next_version_text != "", small(item.next_version_text))
            ),
            since,
            text_with_note(
                rx.el.span(item.tenants), rx.cond(item.earlier_text != "", small(item.earlier_text))
            ),
            draft_button(item),
        )

    return data_table(name, columns, rx.foreach(rows, line), test_id="own" if tenant else "addons")


def versions_panel(chosen: Any, versions: Any, retire: rx.Component, choose: Any) -> rx.Component:
    def line(version: Any) -> rx.Component:
        return table_row(
            VERSION_COLUMNS,
            version.number,
            badge(version.state, version.tone),
            local_time(version.since, "", "day"),
            rx.cond(version.move_text != "", version.move_text, empty_mark("Nobody had an earlier one")),
            small(version.publication),
            version.tenants,
        )

    table = data_table(
        f"Versions of {chosen.name}", VERSION_COLUMNS, rx.foreach(versions, line), test_id="versions"
    )
    no_versions = empty_state(
        "Nothing is published yet", "Edit its draft, look at the effect, publish it.", glyph="file-pen"
    )
    close = icon_button("Close the versions", "x", on_click=choose(chosen.id))
    bar = rx.el.div(rx.el.h2(f"Versions of {chosen.name}"), retire, close, class_name="bar")
    return rx.el.section(
        bar,
        rx.cond(has_items(versions), table, no_versions),
        class_name="hull",
        aria_label=f"Versions of {chosen.name}",
    )


# ── a draft ──────────────────────────────────────────────────────────────────────────────────────────────────────


def draft_form(
    is_plan: Any,
    has: Any,
    amounts: Any,
    modes: Any,
    trial_days: Any,
    flags: Any,
    moves: Any,
    effective_on: Any,
    toggle_flag: Any,
    submit: Any,
    *,
    key: Any,
) -> rx.Component:
    """Native fields, so that what is typed belongs to the browser until it is sent. `key`: another one fills it anew."""

    def limit(name: str) -> rx.Component:
        kind = LIMITS[name]
        options = [
            rx.cond(is_plan, rx.el.option(label, value=mode))
            if mode == "soft"
            else rx.el.option(label, value=mode)
            for mode, label in LIMIT_MODES
        ]
        mode = rx.el.select(
            *options,
            name=f"mode_{name}",
            default_value=modes[name],
            class_name="input",
            aria_label=f"{kind.title}: what happens above the limit",
        )
        amount = rx.el.input(
            name=f"limit_{name}",
            default_value=amounts[name],
            input_mode="numeric",
            auto_complete="off",
            max_length=20,
            class_name="input amount-of",
            aria_label=f"{kind.title}: amount",
            placeholder=rx.cond(is_plan, "0", "none"),
        )
        return rx.el.li(
            text_with_note(rx.el.h3(kind.title), small(limit_unit(kind))), amount, mode, class_name="amounts"
        )

    def feature(name: str) -> rx.Component:
        feature_info = FEATURES[name]
        box = rx.el.input(
            type="checkbox",
            name=f"feature_{feature_field_name(name)}",
            value="on",
            default_checked=has.contains(name),
            aria_label=feature_info.title,
        )
        return rx.el.label(box, strong(feature_info.title), small(feature_info.benefit), class_name="check")

    def flag(flag_choice: Any) -> rx.Component:
        box = rx.el.input(
            type="checkbox",
            checked=flag_choice[2],
            on_change=lambda _: toggle_flag(flag_choice[0]),
            aria_label=flag_choice[1],
        )
        return rx.el.label(box, strong(flag_choice[1]), small(flag_choice[0]), class_name="check")

    limits = panel(
        rx.el.ul(*[limit(name) for name in LIMITS], class_name="list"),
        title="Limits",
        aside=small(
            rx.cond(is_plan, "How much of each", "How much is added to the plan's; empty for nothing")
        ),
    )
    features = panel(
        rx.el.div(*[feature(name) for name in FEATURES], class_name="checks"), title="Features", body=True
    )
    trial = text_input(
        "trial_days", type="number", min="0", max="365", step="1", default_value=trial_days, has_note=True
    )
    plan_settings = rx.cond(
        is_plan,
        panel(
            rx.el.div(
                form_field("Trial", trial, id="trial_days", hint="Days without paying, 0 to 365."),
                class_name="checks",
            ),
            rx.el.fieldset(
                rx.el.legend("Flags it switches on", class_name="legend"),
                rx.cond(
                    has_items(flags),
                    rx.el.div(rx.foreach(flags, flag), class_name="checks"),
                    small("There are no flags."),
                ),
            ),
            title="Trial and flags",
            body=True,
        ),
    )
    date = text_input("effective_on", type="date", default_value=effective_on, has_note=True)
    publishing = panel(
        radio_cards("Tenants on an earlier version", "moves", MOVE_CHOICES, value=moves),
        rx.el.div(
            form_field(
                "In force from", date, id="effective_on", hint="00:00 UTC of that day. Empty: at once."
            ),
            class_name="checks",
        ),
        title="When it is published",
        body=True,
    )
    foot = rx.el.div(
        small("The draft is saved. Nothing changes for any tenant before you publish it.", class_name="grow"),
        button("Look at the effect", kind="primary", glyph="radar", type="submit", data_testid="look"),
        class_name="row wrap",
    )
    return rx.form(
        limits,
        features,
        plan_settings,
        publishing,
        foot,
        on_submit=submit,
        class_name="stack",
        data_testid="draft",
        key=key,
    )


# ── the effect ───────────────────────────────────────────────────────────────────────────────────────────────────


def impact_panel(figures: Any, gains: Any, losses: Any, over: Any, flips: Any, nobody: Any) -> rx.Component:
    def figure(place: int) -> rx.Component:
        number_and_label = figures[place]
        return rx.el.div(
            rx.el.h2(number_and_label[1], class_name="label"),
            rx.el.p(number_and_label[0], class_name="figure"),
            class_name="stat",
        )

    no_impact = panel(
        empty_state(
            "Nobody would notice",
            "No tenant gains or loses anything, goes over a limit, or would have been answered differently.",
            glyph="circle-check",
        ),
        name="Effect",
    )
    lists = rx.fragment(
        panel(stat_grid(*[figure(place) for place in range(4)]), name="In figures"),
        impact_list("Go over a limit", "Nothing is taken away from them; they cannot add more.", over),
        impact_list("Lose", "Cleaning up stays possible.", losses),
        impact_list(
            "Decisions of the last 30 days that would turn", "Asked again, as things are now.", flips
        ),
        impact_list("Gain", "", gains),
    )
    return rx.el.div(rx.cond(nobody, no_impact, lists), class_name="stack", data_testid="effect")


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
