"""/t/[tenant]/usage: usage by meter, and what changed after its time."""

import reflex as rx

from shared.ui.banners import empty_state, skeleton_block, skeleton_rows
from shared.ui.breakdown_panel import breakdown_panel
from shared.ui.change_rows import COLUMNS, change_line
from shared.ui.controls import select
from shared.ui.list_state import list_pager
from shared.ui.panels import panel
from shared.ui.shell import page_header
from shared.ui.tables import data_table, has_items
from shared.ui.usage_panels import meter_box, range_controls, usage_note
from tenant_app.exports import export_list, export_menu
from tenant_app.frame import page
from tenant_app.pages.usage.state import UsageState


def changes_panel() -> rx.Component:
    none = empty_state(
        "Nothing has changed",
        "Hours close ten minutes after their end. When late events or a correction change one, it appears here.",
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
            rx.el.div(
                range_controls(UsageState),
                select(
                    "Meter",
                    UsageState.meter_choices,
                    value=UsageState.meter,
                    on_change=UsageState.choose_meter,
                ),
                class_name="row wrap",
            ),
            rx.cond(UsageState.loaded, usage_note(UsageState.as_of)),
            class_name="section",
        ),
        export_list(UsageState),
        meters,
        breakdown_panel(UsageState),
        changes_panel(),
        current="Usage",
        load=UsageState.load,
    )
