"""/flags/[flag]: one flag with its rules and their impact, the kill switch, its exposed tenants and its history."""

import reflex as rx

from admin_app.frame import page
from admin_app.pages.flag.dialogs import flag_dialogs
from admin_app.pages.flag.rows import ExposedRow, FlagVersionRow
from admin_app.pages.flag.rules import rules_panel
from admin_app.pages.flag.state import FlagPageState
from admin_app.shell import guard_control, is_allowed
from shared.access import actions
from shared.ui.banners import banner, empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, icon, icon_button, menu
from shared.ui.dialogs import dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, avatar, badge, data_table, has_items, table_row

EXPOSED_COLUMNS = [
    Column("Tenant"),
    Column("Why", hidden_on_phone=True),
    Column("Decisions", align_end=True, hidden_on_phone=True),
    Column("Errors", align_end=True),
]


def metrics_panel() -> rx.Component:
    metrics = FlagPageState.metrics
    facts = stat_grid(
        stat("On for", metrics.exposed, metrics.exposed_note),
        stat("Errors with the flag on", metrics.errors, metrics.errors_note),
        stat("Errors with the flag off", metrics.errors_elsewhere, metrics.errors_elsewhere_note),
        stat("Denied by the flag", metrics.refusals, "times"),
    )
    content = rx.cond(FlagPageState.loaded, facts, skeleton_rows(1))
    return panel(content, title="Health", aside=small("Errors per 1,000 decisions, 7 days"))


def exposed_panel() -> rx.Component:
    def line(tenant: ExposedRow) -> rx.Component:
        name = text_with_note(
            link(tenant.name, f"/tenants/{tenant.id}", class_name="strong"),
            small(tenant.plan, rx.el.span(" · ", tenant.reason, class_name="only-small")),
        )
        errors = rx.el.span(tenant.errors, class_name=rx.cond(tenant.has_errors, "down", "muted"))
        return table_row(EXPOSED_COLUMNS, name, tenant.reason, tenant.decisions, errors)

    table = data_table(
        "Exposed tenants",
        EXPOSED_COLUMNS,
        rx.foreach(FlagPageState.exposed, line),
        footer=list_pager(FlagPageState, ("Previous", "Next")),
        test_id="exposed",
    )
    no_tenants = empty_state("No tenants", "Tenants with this flag appear here.", glyph="building-2")
    content = rx.cond(has_items(FlagPageState.exposed), table, no_tenants)
    return panel(
        rx.cond(FlagPageState.loaded, content, skeleton_rows(3)),
        title="Exposed tenants",
        aside=small("Decisions and errors of 7 days"),
    )


def history_panel() -> rx.Component:
    def line(version: FlagVersionRow) -> rx.Component:
        return rx.el.li(
            avatar(version.initials),
            rx.el.span(rx.el.b(version.author, class_name="strong"), " ", version.action_text),
            local_time(version.at, "", "moment"),
            small(
                version.rules_text,
                " Reason: ",
                version.reason,
                " · version ",
                version.number,
                class_name="cut-anywhere",
            ),
            class_name="event",
        )

    version_list = rx.el.ol(rx.foreach(FlagPageState.versions, line), data_testid="versions")
    return panel(rx.cond(FlagPageState.loaded, version_list, skeleton_rows(2)), title="History")


def header_actions() -> rx.Component:
    header = FlagPageState.header
    kill = button(
        "Kill",
        kind="danger",
        glyph="power-off",
        **dialog_opener(FlagPageState, "kill"),
        data_testid="kill",
    )
    revive = button(
        "Revive",
        kind="primary",
        glyph="power",
        **dialog_opener(FlagPageState, "revive"),
        data_testid="revive",
    )
    retire = rx.cond(
        header.in_code,
        rx.menu.item(icon("archive"), "Retire: still used in the code", disabled=True),
        rx.menu.item(
            icon("archive"), "Retire", on_select=FlagPageState.open_dialog("retire", ""), color_scheme="red"
        ),
    )
    more_menu = menu(
        icon_button("More", "ellipsis"),
        rx.menu.item(
            icon("calendar-clock"), "Change removal date", on_select=FlagPageState.open_dialog("move", "")
        ),
        retire,
        align="end",
    )
    shown = rx.fragment(
        rx.cond(is_allowed(actions.OP_FLAG_WRITE), more_menu),
        guard_control(actions.OP_FLAG_WRITE, rx.cond(header.killed, revive, kill), "Kill", glyph="power-off"),
    )
    return rx.cond(FlagPageState.loaded & ~header.retired, shown)


def flag_page_header() -> rx.Component:
    header = FlagPageState.header
    crumbs = rx.el.nav(
        link("Flags", "/flags", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(header.title, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    facts = rx.cond(
        FlagPageState.loaded,
        rx.fragment(
            rx.el.span(header.sentence),
            rx.el.span("Owner ", header.owner),
            rx.el.span("Remove by ", header.cleanup_by),
            rx.cond(header.requires != "", rx.el.span("Requires ", header.requires)),
            rx.el.code(header.key, class_name="mono"),
        ),
        skeleton_block("240px"),
    )
    badges = rx.cond(
        FlagPageState.loaded,
        rx.fragment(badge(header.state, header.tone), rx.cond(header.stale, badge("Stale"))),
    )
    title = rx.cond(FlagPageState.loaded, header.title, skeleton_block("160px", "24px"))
    return page_header(
        title, breadcrumbs=crumbs, badges=badges, description=facts, actions=[header_actions()]
    )


def flag_notice() -> rx.Component:
    """The most important notice about the flag."""
    header = FlagPageState.header
    killed_banner = banner(
        rx.fragment(rx.el.b("Killed. "), header.killed_text), tone="bad", glyph="power-off"
    )
    overdue_text = rx.fragment(rx.el.b("Overdue since ", header.cleanup_by, ". "), header.advice)
    stale_banner = banner(overdue_text, tone="warn", glyph="clock-alert")
    return rx.cond(header.killed, killed_banner, rx.cond(header.stale, stale_banner))


@rx.page(route="/flags/[flag]", title="Flag · Operator", on_load=FlagPageState.load)
def flag_page() -> rx.Component:
    return page(
        flag_page_header(),
        rules_panel(),
        metrics_panel(),
        exposed_panel(),
        history_panel(),
        flag_dialogs(),
        current="Flags",
        load=FlagPageState.load,
        banner=flag_notice(),
    )
