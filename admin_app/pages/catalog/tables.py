"""The tables of plans, add-ons and versions."""

from typing import Any

import reflex as rx

from shared.ui.banners import empty_state, local_time
from shared.ui.controls import icon, icon_button
from shared.ui.panels import small, text_with_note
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

ADDON_COLUMNS = [
    Column("Name"),
    Column("Includes", hidden_on_phone=True),
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
    plans: Any, limits: Any, features: Any, *, choose: Any, chosen: Any, draft_button: Any
) -> rx.Component:
    """Plans side by side, from the smallest to the largest."""

    def line(title: str, cell: Any) -> rx.Component:
        row_cells = rx.foreach(plans, lambda item: rx.el.td(cell(item), class_name="end num"))
        return rx.el.tr(rx.el.th(title, scope="row"), row_cells)

    def group(title: str) -> rx.Component:
        empty_cells = rx.foreach(plans, lambda _: rx.el.td())
        return rx.el.tr(rx.el.th(title, scope="rowgroup"), empty_cells, class_name="group")

    def since(item: Any) -> rx.Component:
        return rx.cond(item.since != "", local_time(item.since, "", "day"), empty_mark("Not in force"))

    def tenants(item: Any) -> rx.Component:
        return rx.fragment(
            item.tenants, rx.cond(item.earlier_text != "", rx.el.div(small(item.earlier_text)))
        )

    def plan(item: Any) -> rx.Component:
        return plan_heading(item, name_button(item, choose, chosen), draft_button(item))

    first_cell = rx.el.th(rx.el.span("Included", class_name="sr"), scope="col")
    body = rx.el.tbody(
        line("In force since", since),
        line("Tenants", tenants),
        line("Trial", lambda item: rx.cond(item.trial != "", item.trial, empty_mark("None"))),
        group("Limits"),
        rx.foreach(limits, comparison_line),
        group("Features"),
        rx.foreach(features, comparison_line),
    )
    table = rx.el.table(
        rx.el.caption("Plans", class_name="sr"),
        rx.el.thead(rx.el.tr(first_cell, rx.foreach(plans, plan))),
        body,
        class_name="matrix",
        data_testid="plans",
    )
    return rx.el.div(table, class_name="scroll", tab_index=0, role="region", aria_label="Plans, side by side")


def plan_heading(item: Any, name: rx.Component, draft_button: rx.Component) -> rx.Component:
    version = rx.el.span(
        item.version,
        rx.cond(item.next_version_text != "", rx.fragment(", ", item.next_version_text)),
        class_name="small muted",
    )
    heading = rx.el.div(rx.el.div(name, version), draft_button, class_name="plan-head")
    return rx.el.th(heading, scope="col", class_name="end")


def comparison_line(compared_row: Any) -> rx.Component:
    """A limit or feature, with one cell for each plan."""

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


def empty_mark(label: str) -> rx.Component:
    line = rx.el.span("–", aria_hidden="true")
    return rx.el.span(line, rx.el.span(label, class_name="sr"), class_name="muted")


def addon_table(
    rows: Any, name: str, *, choose: Any, chosen: Any, draft_button: Any, tenant: bool
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


def versions_panel(chosen: Any, versions: Any, *, retire: rx.Component, choose: Any) -> rx.Component:
    def line(version: Any) -> rx.Component:
        return table_row(
            VERSION_COLUMNS,
            version.number,
            badge(version.state, version.tone),
            local_time(version.since, "", "day"),
            rx.cond(version.move_text != "", version.move_text, empty_mark("No earlier version")),
            small(version.publication),
            version.tenants,
        )

    table = data_table(
        f"Versions of {chosen.name}", VERSION_COLUMNS, rx.foreach(versions, line), test_id="versions"
    )
    no_versions = empty_state(
        "Nothing is published yet", "Edit its draft, preview the impact, then publish it.", glyph="file-pen"
    )
    close = icon_button("Close the versions", "x", on_click=choose(chosen.id))
    bar = rx.el.div(rx.el.h2(f"Versions of {chosen.name}"), retire, close, class_name="bar")
    return rx.el.section(
        bar,
        rx.cond(has_items(versions), table, no_versions),
        class_name="hull",
        aria_label=f"Versions of {chosen.name}",
    )
