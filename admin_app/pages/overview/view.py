"""/: overview of the platform: tenants by state, unfinished provisioning, suspicious requests."""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.health.view import alert_item
from admin_app.pages.overview.attention import attention_stats
from admin_app.pages.overview.rows import AttemptRow, UnfinishedStepRow
from admin_app.pages.overview.state import OverviewState
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.panels import code, panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

UNFINISHED_COLUMNS = [
    Column("Tenant"),
    Column("Step"),
    Column("State"),
    Column("Since", align_end=True, hidden_on_phone=True),
]


def state_stat(label: str, value: Any, note: str, state: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure"),
        link(note, f"/tenants?state={state}", class_name="link small"),
        class_name="stat",
    )


def state_stats() -> rx.Component:
    shown = stat_grid(
        state_stat("Active", OverviewState.active, "Show them", "active"),
        state_stat("Unverified", OverviewState.unverified, "Show them", "pending_verification"),
        state_stat("Suspended", OverviewState.suspended, "Show them", "suspended"),
        state_stat("Deleted", OverviewState.deleted, "Show them", "deleted"),
    )
    return panel(rx.cond(OverviewState.loaded, shown, skeleton_rows(1)), name="Tenants by state")


def attention_panel() -> rx.Component:
    shown = attention_stats(OverviewState.attention)
    return panel(rx.cond(OverviewState.loaded, shown, skeleton_rows(1)), name="Needs attention")


def alerts_panel() -> rx.Component:
    """Shown only while some fire."""
    firing = rx.el.ul(rx.foreach(OverviewState.alerts, alert_item), class_name="list", data_testid="alerts")
    health_link = link("Health", "/health", class_name="link small")
    return rx.cond(has_items(OverviewState.alerts), panel(firing, title="Alerts", aside=health_link))


def failed_jobs_banner() -> rx.Component:
    """Shown only while there are some."""
    sentence = rx.cond(
        OverviewState.failed_jobs == 1,
        "1 job is out of retries.",
        rx.fragment(OverviewState.failed_jobs, " jobs are out of retries."),
    )
    content = rx.el.p(sentence, " ", link("Retry or drop them", "/jobs"), data_testid="failed-jobs")
    return rx.cond(OverviewState.failed_jobs > 0, panel(content, title="Failed jobs", body=True))


def waiting_resets_banner() -> rx.Component:
    """Shown only while there are some."""
    sentence = rx.cond(
        OverviewState.waiting_resets == 1,
        "1 person has lost their second factor and waits for an answer.",
        rx.fragment(
            OverviewState.waiting_resets, " people have lost their second factor and wait for an answer."
        ),
    )
    content = rx.el.p(sentence, " ", link("Answer them", "/recovery"), data_testid="waiting-resets")
    return rx.cond(OverviewState.waiting_resets > 0, panel(content, title="Recovery", body=True))


def paying_twice_banner() -> rx.Component:
    """Shown only while there are some."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(link(row[0], row[1]))

    content = rx.el.div(
        rx.el.p("These customers are charged for more than one subscription. End one of them and refund it."),
        rx.el.ul(rx.foreach(OverviewState.paying_twice, line)),
        data_testid="paying-twice",
    )
    return rx.cond(has_items(OverviewState.paying_twice), panel(content, title="Paying twice", body=True))


def unbilled_usage_banner() -> rx.Component:
    """Shown only while there is some."""

    def line(usage: Any) -> rx.Component:
        return rx.el.li(link(usage[0], usage[1]), ": ", usage[2])

    content = rx.el.ul(rx.foreach(OverviewState.unbilled_usage, line), data_testid="unbilled-usage")
    return rx.cond(
        has_items(OverviewState.unbilled_usage), panel(content, title="Usage that isn’t billed", body=True)
    )


def deletions_panel() -> rx.Component:
    """Shown only while there are some."""

    def line(deletion: Any) -> rx.Component:
        return rx.el.li(link(deletion[0], deletion[1]), ": ", deletion[2])

    content = rx.el.ul(rx.foreach(OverviewState.deletions, line), data_testid="deletions")
    return rx.cond(has_items(OverviewState.deletions), panel(content, title="Deletions", body=True))


def differing_usage_banner() -> rx.Component:
    """Shown only while there is some: aggregates that are not those of their events."""

    def line(usage: Any) -> rx.Component:
        return rx.el.li(link(usage[0], usage[1]), ": ", usage[2])

    content = rx.el.div(
        rx.el.p("Added-up usage differs from its events. Recompute the month of the tenant."),
        rx.el.ul(rx.foreach(OverviewState.differing_usage, line)),
        data_testid="differing-usage",
    )
    return rx.cond(
        has_items(OverviewState.differing_usage), panel(content, title="Usage that differs", body=True)
    )


def chain_alerts_banner() -> rx.Component:
    """Shown only while there are some."""
    sentence = rx.cond(
        OverviewState.chain_alerts == 1,
        "1 audit log doesn’t match its hash chain or its anchor.",
        rx.fragment(OverviewState.chain_alerts, " audit logs don’t match their hash chains or anchors."),
    )
    content = rx.el.p(sentence, " ", link("See which", "/audit?tab=chains"), data_testid="chain-alerts")
    return rx.cond(OverviewState.chain_alerts > 0, panel(content, title="Audit logs changed", body=True))


def cancellations_panel() -> rx.Component:
    """Shown only where customers said why they cancelled."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(rx.el.span(row[0]), rx.el.span(row[1], class_name="num strong"))

    content = rx.el.ul(
        rx.foreach(OverviewState.cancellations, line), class_name="list", data_testid="cancellations"
    )
    return rx.cond(
        has_items(OverviewState.cancellations),
        panel(content, title="Why customers cancel", aside=small("90 days")),
    )


def unfinished_panel() -> rx.Component:
    def line(unfinished: UnfinishedStepRow) -> rx.Component:
        step = text_with_note(
            rx.el.span(unfinished.step), rx.cond(unfinished.note != "", small(unfinished.note))
        )
        return table_row(
            UNFINISHED_COLUMNS,
            link(unfinished.name, f"/tenants/{unfinished.tenant_id}", class_name="strong plain-link"),
            step,
            badge(unfinished.state, unfinished.tone),
            local_time(unfinished.since, "", "ago"),
        )

    table = data_table(
        "Unfinished provisioning",
        UNFINISHED_COLUMNS,
        rx.foreach(OverviewState.unfinished, line),
        test_id="unfinished",
    )
    no_steps = empty_state(
        "All tenants are provisioned", "Waiting and failed steps appear here.", glyph="circle-check"
    )
    content = rx.cond(has_items(OverviewState.unfinished), table, no_steps)
    return panel(rx.cond(OverviewState.loaded, content, skeleton_rows(2)), title="Unfinished provisioning")


def security_panels() -> rx.Component:
    def count(counter: Any) -> rx.Component:
        return rx.el.li(
            text_with_note(rx.el.h3(counter[0]), small(counter[2])),
            rx.el.span(
                counter[1],
                class_name=rx.cond(counter[3], "num down", "num strong"),
                data_testid="security-count",
            ),
        )

    def attempt(security_event: AttemptRow) -> rx.Component:
        actor = small(
            code(security_event.actor),
            rx.cond(security_event.note != "", rx.fragment(" · ", security_event.note)),
            class_name="cut-anywhere",
        )
        times = rx.cond(security_event.count != "1", rx.fragment(" ", small(security_event.count, " times")))
        return rx.el.li(
            text_with_note(rx.el.span(strong(security_event.title), times), actor),
            small(local_time(security_event.at, "", "ago"), class_name="nowrap"),
        )

    counts = rx.el.ul(rx.foreach(OverviewState.counters, count), class_name="list", data_testid="security")
    latest = rx.cond(
        has_items(OverviewState.attempts),
        rx.el.ol(rx.foreach(OverviewState.attempts, attempt), class_name="list", data_testid="attempts"),
        empty_state(
            "No suspicious requests",
            "No suspicious requests in the last 24 hours.",
            glyph="shield-check",
        ),
    )
    return rx.el.div(
        panel(
            rx.cond(OverviewState.loaded, counts, skeleton_rows(2)),
            title="Blocked requests",
            aside=small("24 hours"),
        ),
        panel(
            rx.cond(OverviewState.loaded, latest, skeleton_rows(3)),
            title="Latest blocked requests",
            aside=small("24 hours"),
        ),
        class_name="split",
        data_even="true",
    )


@rx.page(route="/", title="Overview · Operator", on_load=OverviewState.load)
def overview_page() -> rx.Component:
    return page(
        page_header("Overview", description="Updates automatically."),
        state_stats(),
        attention_panel(),
        alerts_panel(),
        failed_jobs_banner(),
        chain_alerts_banner(),
        waiting_resets_banner(),
        paying_twice_banner(),
        unbilled_usage_banner(),
        differing_usage_banner(),
        unfinished_panel(),
        deletions_panel(),
        cancellations_panel(),
        security_panels(),
        current="Overview",
        load=OverviewState.load,
    )
