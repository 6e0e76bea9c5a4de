"""/tenants/[tenant]: one customer organisation.

The header is always visible; its members and its audit log need a reason.
"""

from typing import Any

import reflex as rx

from admin_app.frame import page
from admin_app.pages.tenant.banners import tenant_banners
from admin_app.pages.tenant.buttons import delete_button, suspend_or_restore_button
from admin_app.pages.tenant.dialogs import tenant_dialogs
from admin_app.pages.tenant.exports import export_dialog, exports_panel
from admin_app.pages.tenant.lists import TenantEventsState, TenantMembersState
from admin_app.pages.tenant.rows import TenantMemberRow
from admin_app.pages.tenant.state import TABS, TenantPageState
from admin_app.pages.tenant.timeline import timeline_list
from admin_app.pages.tenant_billing.view import billing_panel
from admin_app.pages.tenant_rights.view import rights_panel
from admin_app.pages.tenant_support.view import impersonate_button, support_dialogs, support_tab
from admin_app.pages.tenant_usage.dialogs import usage_dialogs
from admin_app.pages.tenant_usage.view import usage_panel
from admin_app.shell import guard_control
from admin_app.tenant_header import ProvisioningStepRow
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.ui.audit_list import event_list
from shared.ui.banners import empty_state, local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button, icon_button
from shared.ui.dialogs import access_banner, access_form, dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small, stat, stat_grid, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, person_cell, table_row

MEMBER_COLUMNS = [
    Column("Name"),
    Column("Role", hidden_on_phone=True),
    Column("Status"),
    Column("Last active", align_end=True, hidden_on_phone=True),
    Column("Joined", align_end=True, hidden_on_phone=True),
    Column("Act", align_end=True, label_hidden=True),
]


def overview_tab() -> rx.Component:
    seen_at = rx.cond(
        TenantPageState.header.seen_at != "", local_time(TenantPageState.header.seen_at, "", "ago"), "Never"
    )
    facts = stat_grid(
        stat("Members", TenantPageState.header.members, TenantPageState.header.invited),
        stat("Owner", TenantPageState.header.owner, "Email shown under Members"),
        stat("Last active", seen_at, "Any member"),
        stat("Provisioning", TenantPageState.header.setup, TenantPageState.header.setup_note),
    )

    def line(label: str, value: Any) -> rx.Component:
        return rx.el.li(
            rx.el.span(label, class_name="muted grow"), rx.el.span(value, class_name="num cut-anywhere")
        )

    details = rx.el.ul(
        line("Address", rx.el.code(f"/t/{TenantPageState.header.slug}", class_name="mono")),
        line("Plan", TenantPageState.header.plan),
        rx.cond(
            TenantPageState.header.test_tenant_id != "",
            line(
                "Test mode",
                link("Open the test tenant", f"/tenants/{TenantPageState.header.test_tenant_id}"),
            ),
        ),
        line("Created", local_time(TenantPageState.header.created_at, "", "moment")),
        line(
            "Id",
            rx.el.span(
                rx.el.code(TenantPageState.header.id, class_name="mono"),
                icon_button("Copy id", "copy", on_click=rx.set_clipboard(TenantPageState.header.id)),
                class_name="row",
            ),
        ),
        class_name="list",
    )
    return rx.el.div(
        panel(rx.cond(TenantPageState.loaded, facts, skeleton_rows(1)), name="Facts"),
        panel(rx.cond(TenantPageState.loaded, details, skeleton_rows(3)), title="Details"),
        class_name="stack",
    )


def visit_form(subject: str) -> rx.Component:
    """The form that asks for a reason before members and events are shown."""
    return access_form(
        f"Reason for access to {subject}",
        TenantPageState.start_visit,
        hint="Visible to the customer with your name. Valid for 30 minutes.",
        example="Ticket 4471, cannot sign in",
    )


def visit_banner() -> rx.Component:
    return access_banner("Access open: ", TenantVisitState.reason, TenantPageState.end_visit)


def members_tab() -> rx.Component:
    def line(member: TenantMemberRow) -> rx.Component:
        seen_at = rx.cond(
            member.seen_at != "",
            local_time(member.seen_at, "", "ago"),
            rx.el.span("Never", class_name="muted"),
        )
        status = text_with_note(
            badge(member.status, member.tone), rx.cond(member.note != "", small(member.note))
        )
        return table_row(
            MEMBER_COLUMNS,
            person_cell(member.name, member.email, member.initials, rx.fragment(member.role, " · ", seen_at)),
            member.role,
            status,
            seen_at,
            local_time(member.joined_at, "", "day"),
            impersonate_button(member),
        )

    table = data_table(
        "Members",
        MEMBER_COLUMNS,
        rx.foreach(TenantMembersState.rows, line),
        footer=list_pager(TenantMembersState, ("Previous", "Next")),
        test_id="members",
    )
    no_members = empty_state(
        "No members yet", "The owner appears after confirming their email.", glyph="users"
    )
    members_panel = panel(rx.cond(has_items(TenantMembersState.rows), table, no_members), name="Members")
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner(), members_panel, class_name="section"),
        visit_form("its members"),
    )


def provisioning_tab() -> rx.Component:
    def line(step: ProvisioningStepRow) -> rx.Component:
        step_text = text_with_note(rx.el.h3(step.title), rx.cond(step.note != "", small(step.note)))
        finished_at = rx.cond(
            step.finished_at != "", small(local_time(step.finished_at, "", "moment"), class_name="num nowrap")
        )
        return rx.el.li(step_text, finished_at, badge(step.state, step.tone))

    retry_button = rx.cond(
        TenantPageState.has_open_steps,
        guard_control(
            actions.OP_TENANT_RESUME,
            button("Retry", glyph="rotate-cw", **dialog_opener(TenantPageState, "resume")),
            "Retry",
            glyph="rotate-cw",
        ),
    )
    steps = rx.el.ol(rx.foreach(TenantPageState.steps, line), class_name="list", data_testid="provisioning")
    no_steps = empty_state(
        "No provisioning steps", "They appear when the organisation is created.", glyph="list-checks"
    )
    content = rx.cond(has_items(TenantPageState.steps), steps, no_steps)
    return panel(
        rx.cond(TenantPageState.loaded, content, skeleton_rows(5)), title="Provisioning", aside=retry_button
    )


def audit_tab() -> rx.Component:
    no_events = empty_state("No events yet", "Changes appear here.", glyph="scroll-text")
    event_table = rx.el.div(
        event_list(TenantEventsState.rows),
        list_pager(TenantEventsState, ("Previous", "Next")),
        class_name="hull-foot",
    )
    no_request_events = empty_state(
        "This request changed nothing",
        "Denied requests aren’t recorded here. See Why? for denials.",
        glyph="search-x",
    )
    empty_text = rx.cond(TenantEventsState.request != "", no_request_events, no_events)
    events_panel = rx.cond(has_items(TenantEventsState.rows), event_table, panel(empty_text, name="Events"))
    request_note = rx.el.div(
        small(
            "Only request ",
            rx.el.code(TenantEventsState.request, class_name="mono"),
            class_name="grow cut-anywhere",
        ),
        button("Clear filters", kind="quiet", on_click=TenantEventsState.clear_request_filter),
        class_name="row",
    )
    request_filter = rx.cond(TenantEventsState.request != "", request_note)
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner(), exports_panel(), request_filter, events_panel, class_name="section"),
        visit_form("its audit log"),
    )


def timeline_tab() -> rx.Component:
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner(), timeline_list(), class_name="section"),
        visit_form("its timeline"),
    )


def billing_tab() -> rx.Component:
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner(), billing_panel(), class_name="section"),
        visit_form("its billing"),
    )


def usage_tab() -> rx.Component:
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner(), usage_panel(), usage_dialogs(), class_name="section"),
        visit_form("its usage"),
    )


def tenant_page_header() -> rx.Component:
    header = TenantPageState.header
    crumbs = rx.el.nav(
        link("Tenants", "/tenants", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(header.name, aria_current="page"),
        class_name="crumbs",
        aria_label="You are here",
    )
    description = rx.cond(
        TenantPageState.loaded,
        rx.fragment(
            rx.el.span(header.plan),
            rx.el.span("Owner ", header.owner),
            rx.el.span(rx.el.code(header.id, class_name="mono")),
        ),
        skeleton_block("240px"),
    )
    title = rx.cond(TenantPageState.loaded, header.name, skeleton_block("160px", "24px"))
    state = rx.cond(
        TenantPageState.loaded,
        rx.fragment(badge(header.state, header.tone), rx.cond(header.live_tenant_id != "", badge("Test"))),
    )
    return page_header(
        title,
        breadcrumbs=crumbs,
        badges=state,
        description=description,
        actions=[suspend_or_restore_button(), delete_button()],
    )


@rx.page(route="/tenants/[tenant]", title="Tenant · Operator", on_load=TenantPageState.load)
def tenant_page() -> rx.Component:
    contents = {
        "overview": overview_tab,
        "timeline": timeline_tab,
        "rights": rights_panel,
        "billing": billing_tab,
        "usage": usage_tab,
        "members": members_tab,
        "provisioning": provisioning_tab,
        "support": lambda: support_tab(visit_banner(), visit_form("its support sessions")),
        "audit": audit_tab,
    }
    panels = rx.tabs.root(
        rx.tabs.list(*[rx.tabs.trigger(name, value=key) for key, name in TABS.items()], aria_label="Tenant"),
        *[rx.tabs.content(contents[key](), value=key) for key in TABS],
        value=TenantPageState.tab,
        on_change=TenantPageState.choose_tab,
    )
    return page(
        tenant_page_header(),
        panels,
        tenant_dialogs(),
        support_dialogs(),
        export_dialog(),
        current="Tenants",
        load=TenantPageState.load,
        banner=tenant_banners(),
    )
