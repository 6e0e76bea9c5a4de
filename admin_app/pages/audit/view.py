"""/audit: what happened in all tenants, for a reason; and what operators did outside of every tenant."""

import reflex as rx

from admin_app.frame import page
from admin_app.pages.audit.state import TABS, AuditPageState
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.audit_list import action_choices, event_list
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button, form_field, text_input
from shared.ui.panels import panel, small
from shared.ui.shell import page_header
from shared.ui.tables import has_items, pager


def access_form() -> rx.Component:
    reason = form_field(
        "Reason",
        text_input(
            "reason",
            required=True,
            has_note=True,
            max_length=MAX_REASON_LENGTH,
            auto_complete="off",
            placeholder="Ticket 4471, who changed roles yesterday",
        ),
        id="reason",
        hint="Recorded in the operator audit log with your name. Valid for 30 minutes.",
    )
    submit_row = rx.el.div(
        button("Read across tenants", kind="primary", glyph="eye", type="submit"), class_name="row"
    )
    return panel(
        rx.form(
            reason,
            submit_row,
            on_submit=AuditPageState.start_visit,
            class_name="stack",
            data_testid="reason-form",
        ),
        title="Reason for access",
        body=True,
    )


def filter_form() -> rx.Component:
    action = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in action_choices()],
        id="action",
        name="action",
        class_name="input",
    )
    fields = [
        form_field("Actor", text_input("actor", placeholder="Name or id", max_length=120), id="actor"),
        form_field("What", action, id="action"),
        form_field("Tenant", text_input("tenant", placeholder="ten_…", max_length=120), id="tenant"),
        form_field("Request", text_input("request", placeholder="req_…", max_length=120), id="request"),
    ]
    buttons = rx.el.div(
        button("Filter", type="submit", glyph="list-filter"),
        rx.cond(
            AuditPageState.filtered,
            button("Clear filters", kind="quiet", type="reset", on_click=AuditPageState.clear_filter),
        ),
        class_name="row wrap",
    )
    return rx.form(
        rx.el.div(*fields, buttons, class_name="filters"),
        on_submit=AuditPageState.apply_filter,
        data_testid="audit-filter",
    )


def events_panel(nothing: rx.Component) -> rx.Component:
    foot = pager(
        AuditPageState.count_text,
        on_next=AuditPageState.next_page,
        on_previous=AuditPageState.previous_page,
        has_next=AuditPageState.has_next,
        has_previous=AuditPageState.has_previous,
    )
    event_table = rx.el.div(event_list(AuditPageState.rows), foot, class_name="hull-foot")
    content = rx.cond(has_items(AuditPageState.rows), event_table, panel(nothing, name="Events"))
    return rx.cond(AuditPageState.loaded, content, panel(skeleton_rows(6), name="Events"))


def tenants_tab() -> rx.Component:
    reason_text = small(
        "Reading across tenants: ", rx.el.b(AuditPageState.reason), class_name="grow cut-anywhere"
    )
    end_button = button("End access", glyph="eye-off", kind="quiet", on_click=AuditPageState.end_visit)
    no_matches = empty_state("No events match your filters", "Change or clear the filters.", glyph="search-x")
    visit_content = rx.el.div(
        rx.el.div(reason_text, end_button, class_name="row"),
        filter_form(),
        events_panel(no_matches),
        class_name="section",
    )
    return rx.cond(
        AuditPageState.is_visit_open,
        visit_content,
        rx.cond(AuditPageState.loaded, access_form(), panel(skeleton_rows(3), name="Events")),
    )


def operators_tab() -> rx.Component:
    no_events = empty_state(
        "No events yet", "Operator sign-ins and access across tenants appear here.", glyph="scroll-text"
    )
    check = button(
        "Verify",
        glyph="link",
        on_click=AuditPageState.verify_chain,
        data_once="true",
        data_testid="verify",
    )
    description = small("Operator activity outside tenants.", class_name="grow")
    return rx.el.div(
        rx.el.div(description, check, class_name="row"), events_panel(no_events), class_name="section"
    )


@rx.page(route="/audit", title="Audit · Operator", on_load=AuditPageState.load)
def audit_page() -> rx.Component:
    contents = {"tenants": tenants_tab, "operators": operators_tab}
    panels = rx.tabs.root(
        rx.tabs.list(
            *[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Audit logs"
        ),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=AuditPageState.tab,
        on_change=AuditPageState.choose_tab,
    )
    return page(
        page_header(
            "Audit",
            description="These logs can't be edited or deleted. Each tenant's own log is on its page.",
        ),
        panels,
        current="Audit",
        load=AuditPageState.load,
    )
