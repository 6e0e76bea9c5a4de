"""/t/[tenant]/usage: usage by meter, and what changed after its time."""

import reflex as rx

from shared.ui.banners import empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import data_table, has_items, table_row
from shared.ui.usage_panels import as_of_note, meter_box, range_controls
from tenant_app.exports import export_list, export_menu
from tenant_app.frame import page
from tenant_app.pages.usage.rows import COLUMNS, ChangeRow
from tenant_app.pages.usage.state import UsageState


def change_line(change: ChangeRow) -> rx.Component:
    return table_row(
        COLUMNS,
        local_time(change.at, "", "moment"),
        text_with_note(change.window, small(change.events)),
        change.before,
        change.after,
        change.cause,
    )


def changes_panel() -> rx.Component:
    none = empty_state(
        "Nothing has changed",
        "Hours close ten minutes after their end. When late events change one, it appears here.",
        glyph="shield-check",
    )
    table = data_table(
        "Changes of closed usage",
        COLUMNS,
        rx.foreach(UsageState.rows, change_line),
        footer=list_pager(UsageState),
        test_id="usage-changes",
    )
    content = rx.cond(has_items(UsageState.rows), table, none)
    return panel(rx.cond(UsageState.loaded, content, skeleton_rows(2)), title="Changes after the close")


@rx.page(route="/t/[tenant]/usage", title="Usage · Bulkhead", on_load=UsageState.load)
def usage_page() -> rx.Component:
    meters = rx.cond(
        UsageState.loaded,
        rx.fragment(rx.foreach(UsageState.meters, meter_box)),
        panel(skeleton_block("100%", "204px"), name="Usage", body=True),
    )
    return page(
        page_header(
            "Usage",
            description="What your organisation and its programs have used.",
            actions=[export_menu(UsageState)],
        ),
        rx.el.div(
            range_controls(UsageState),
            rx.cond(UsageState.loaded, as_of_note(UsageState.as_of)),
            class_name="section",
        ),
        export_list(UsageState),
        meters,
        changes_panel(),
        current="Usage",
        load=UsageState.load,
    )
