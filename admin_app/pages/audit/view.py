"""/audit: events of all tenants, for a reason, and the operator audit log."""

import reflex as rx

from admin_app import labels
from admin_app.frame import page
from admin_app.pages.audit.chains import chains_tab
from admin_app.pages.audit.rows import FindingRow
from admin_app.pages.audit.state import TABS, AuditPageState, OperatorEventsState
from shared.ui.audit_list import action_choices, audit_filter_form, event_list
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, form_field, text_input
from shared.ui.dialogs import access_banner, access_form
from shared.ui.list_state import list_pager
from shared.ui.panels import code, panel, small, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items


def reason_form() -> rx.Component:
    return access_form(
        "Reason for access",
        AuditPageState.start_visit,
        hint="Recorded in the operator audit log with your name. Valid for 30 minutes.",
        example="Ticket 4471, who changed roles yesterday",
        label="Read across tenants",
    )


def audit_filter() -> rx.Component:
    state = AuditPageState
    tenant = text_input(
        "tenant", placeholder="ten_…", max_length=120, default_value=state.filter_values["tenant"]
    )
    return audit_filter_form(
        state.filter_values,
        action_choices(),
        form_field("Tenant", tenant, id="tenant"),
        is_filtered=state.filtered,
        on_apply=state.apply_filter,
        on_clear=state.clear_filter,
    )


def operator_filter() -> rx.Component:
    state = OperatorEventsState
    texts = sorted((f"… {text.text}", str(action)) for action, text in labels.OPERATOR_AUDIT_TEXTS.items())
    return audit_filter_form(
        state.filter_values,
        [("", "All events"), *((action, text) for text, action in texts)],
        is_filtered=state.filtered,
        on_apply=state.apply_filter,
        on_clear=state.clear_filter,
        test_id="operator-audit-filter",
    )


def events_panel(
    state: type[AuditPageState] | type[OperatorEventsState], no_events: rx.Component
) -> rx.Component:
    event_table = rx.el.div(event_list(state.rows), list_pager(state), class_name="hull-foot")
    content = rx.cond(has_items(state.rows), event_table, panel(no_events, name="Events"))
    return rx.cond(state.loaded, content, panel(skeleton_rows(6), name="Events"))


def request_panel() -> rx.Component:
    """Beside the events: what else is stored under the request that is filtered by."""

    def finding(row: FindingRow) -> rx.Component:
        title = rx.cond(row.url != "", link(row.title, row.url, class_name="plain-link"), row.title)
        return rx.el.li(
            text_with_note(strong(title), small(row.note, class_name="cut-anywhere")),
            small(local_time(row.at, "", "moment"), class_name="nowrap"),
        )

    no_findings = empty_state(
        "Nothing else has this reference",
        "Events of tenants are listed below. Errors are kept for 30 days, at most 200 of one kind an hour. "
        "Refusals are counted by the hour and keep their last reference.",
        glyph="search-x",
    )
    findings = rx.el.ol(
        rx.foreach(AuditPageState.findings, finding), class_name="list", data_testid="findings"
    )
    return panel(
        rx.cond(has_items(AuditPageState.findings), findings, no_findings),
        rx.el.p(
            small(
                "Log lines and spans have this reference and the trace ", code(AuditPageState.trace_id), "."
            ),
            class_name="body cut-anywhere",
            data_testid="trace",
        ),
        title="Errors, refusals and jobs with this reference",
        name="Reference",
    )


def tenants_tab() -> rx.Component:
    no_matches = empty_state("No events match your filters", "Change or clear the filters.", glyph="search-x")
    visit_content = rx.el.div(
        access_banner("Reading across tenants: ", AuditPageState.reason, AuditPageState.end_visit),
        audit_filter(),
        rx.cond(AuditPageState.request != "", request_panel()),
        events_panel(AuditPageState, no_matches),
        class_name="section",
    )
    return rx.cond(
        AuditPageState.is_visit_open,
        visit_content,
        rx.cond(AuditPageState.loaded, reason_form(), panel(skeleton_rows(3), name="Events")),
    )


def operators_tab() -> rx.Component:
    no_events = empty_state(
        "No events yet", "Operator sign-ins and access across tenants appear here.", glyph="scroll-text"
    )
    check = button(
        "Verify",
        glyph="link",
        on_click=OperatorEventsState.verify_chain,
        data_once="true",
        data_testid="verify",
    )
    description = small("Operator activity outside tenants.", class_name="grow")
    return rx.el.div(
        rx.el.div(description, check, class_name="row"),
        operator_filter(),
        events_panel(OperatorEventsState, no_events),
        class_name="section",
    )


@rx.page(route="/audit", title="Audit · Operator", on_load=AuditPageState.load)
def audit_page() -> rx.Component:
    contents = {"tenants": tenants_tab, "operators": operators_tab, "chains": chains_tab}
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
            description="These logs can’t be edited or deleted. Each tenant’s own log is on its page.",
        ),
        panels,
        current="Audit",
        load=AuditPageState.load,
    )
