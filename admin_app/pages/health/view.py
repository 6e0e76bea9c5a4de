"""/health: alerts, traffic by kind, tenant, plan and flag, refusals, webhooks, jobs, limits and operators' actions."""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.health.rows import AlertRow, CohortRow, CountRow, LaneRow
from admin_app.pages.health.state import HealthState
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.charts import bar_chart
from shared.ui.controls import button
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

LANE_COLUMNS = [
    Column("Lane"),
    Column("Waiting", align_end=True),
    Column("Running", align_end=True, hidden_on_phone=True),
    Column("Failed", align_end=True),
    Column("Oldest due", align_end=True, hidden_on_phone=True),
]


def alert_item(alert: AlertRow) -> rx.Component:
    """Shared with the overview."""
    subject = rx.cond(
        alert.href != "", link(alert.subject, alert.href, class_name="plain-link"), rx.el.span(alert.subject)
    )
    title = rx.el.span(
        strong(alert.title),
        rx.cond(alert.subject != "", rx.fragment(": ", subject)),
        " ",
        badge(alert.urgency, alert.tone),
    )
    note = small(alert.detail, " ", alert.owner, ", since ", local_time(alert.since, "", "ago"))
    return rx.el.li(
        text_with_note(title, note),
        link("Runbook", f"/health/{alert.name}", class_name="link small"),
        data_testid="alert",
    )


def alerts_panel() -> rx.Component:
    none = empty_state("Nothing is wrong", "Alerts are evaluated once a minute.", glyph="circle-check")
    firing = rx.el.ul(rx.foreach(HealthState.alerts, alert_item), class_name="list", data_testid="alerts")
    content = rx.cond(has_items(HealthState.alerts), firing, none)
    return panel(rx.cond(HealthState.loaded, content, skeleton_rows(2)), title="Alerts")


def traffic_panel() -> rx.Component:
    stats = stat_grid(
        stat("Requests", HealthState.requests, "Last hour"),
        stat("Errors", HealthState.errors, "Unexpected ones"),
        stat("95th percentile", HealthState.latency, "Of the response time"),
        columns=3,
        columns_on_phone=1,
    )
    shown = rx.fragment(stats, rx.el.div(bar_chart(HealthState.chart), class_name="body"))
    return panel(
        rx.cond(HealthState.loaded, shown, skeleton_rows(3)), title="All requests", aside=small("1 hour")
    )


def cohort_panel(title: str, column: str, rows: Any, *, test_id: str, empty: str) -> rx.Component:
    columns = [
        Column(column),
        Column("Requests", align_end=True),
        Column("Errors", align_end=True),
        Column("95th percentile", align_end=True, hidden_on_phone=True),
    ]

    def line(cohort: CohortRow) -> rx.Component:
        name = rx.cond(
            cohort.href != "",
            link(cohort.name, cohort.href, class_name="plain-link"),
            rx.el.span(cohort.name),
        )
        return table_row(
            columns,
            rx.el.span(name, rx.cond(cohort.state != "", rx.fragment(" ", badge(cohort.state, cohort.tone)))),
            cohort.requests,
            cohort.errors,
            cohort.latency,
        )

    table = data_table(title, columns, rx.foreach(rows, line), test_id=test_id)
    content = rx.cond(has_items(rows), table, empty_state("No requests", empty, glyph="activity"))
    return panel(rx.cond(HealthState.loaded, content, skeleton_rows(2)), title=title, aside=small("1 hour"))


def count_panel(title: str, rows: Any, *, test_id: str, period: str, empty: str) -> rx.Component:
    def line(row: CountRow) -> rx.Component:
        name = rx.cond(row.href != "", link(row.title, row.href, class_name="plain-link"), row.title)
        return rx.el.li(rx.el.span(name, class_name="grow"), rx.el.span(row.count, class_name="num strong"))

    counts = rx.el.ul(rx.foreach(rows, line), class_name="list", data_testid=test_id)
    content = rx.cond(has_items(rows), counts, empty_state("None", empty, glyph="circle-check"))
    return panel(rx.cond(HealthState.loaded, content, skeleton_rows(2)), title=title, aside=small(period))


def webhooks_panel() -> rx.Component:
    stats = stat_grid(
        stat("From the payment provider", HealthState.inbound, HealthState.inbound_note),
        stat("To customers", HealthState.outbound, HealthState.outbound_note),
        columns=2,
        columns_on_phone=1,
    )
    return panel(
        rx.cond(HealthState.loaded, rx.el.div(stats, data_testid="webhook-lag"), skeleton_rows(1)),
        title="Waiting webhooks",
    )


def lanes_panel() -> rx.Component:
    def line(lane: LaneRow) -> rx.Component:
        failed = rx.el.span(lane.failed, class_name=rx.cond(lane.is_failing, "num down", "num"))
        return table_row(LANE_COLUMNS, strong(lane.title), lane.waiting, lane.running, failed, lane.oldest)

    table = data_table("Jobs by lane", LANE_COLUMNS, rx.foreach(HealthState.lanes, line), test_id="lanes")
    return panel(
        rx.cond(HealthState.loaded, table, skeleton_rows(4)),
        title="Jobs by lane",
        aside=link("Jobs", "/jobs", class_name="link small"),
    )


def mail_button() -> rx.Component:
    label = rx.cond(HealthState.is_subscribed, "Stop alert emails", "Email me about alerts")
    return rx.cond(HealthState.loaded, button(label, on_click=HealthState.toggle_mails))


@rx.page(route="/health", title="Health · Operator", on_load=HealthState.load)
def health_page() -> rx.Component:
    lists = rx.el.div(
        count_panel(
            "Denials by reason",
            HealthState.refusals,
            test_id="refusals",
            period="24 hours",
            empty="No action was refused.",
        ),
        count_panel(
            "Usage warnings",
            HealthState.warnings,
            test_id="usage-warnings",
            period="24 hours",
            empty="No tenant reached a limit.",
        ),
        class_name="split",
        data_even="true",
    )
    rows = HealthState
    return page(
        page_header("Health", description="The platform as it runs now.", actions=[mail_button()]),
        alerts_panel(),
        traffic_panel(),
        cohort_panel("By kind", "Kind", rows.kinds, test_id="kinds", empty="None in the last hour."),
        cohort_panel("By tenant", "Tenant", rows.tenants, test_id="tenants", empty="None in the last hour."),
        cohort_panel("By plan", "Plan", rows.plans, test_id="plans", empty="None in the last hour."),
        cohort_panel(
            "Rollout exposure",
            "Flag",
            rows.flags,
            test_id="flags",
            empty="No requests from tenants with a flag.",
        ),
        lists,
        webhooks_panel(),
        lanes_panel(),
        count_panel(
            "Actions of operators",
            rows.operator_actions,
            test_id="operator-actions",
            period="24 hours",
            empty="No operator changed anything.",
        ),
        current="Health",
        load=HealthState.load,
    )
