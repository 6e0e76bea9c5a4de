"""The tab Support of a tenant's page, and the dialogs of support sessions."""

import reflex as rx

from admin_app.pages.tenant.lists import TenantMembersState
from admin_app.pages.tenant.rows import TenantMemberRow
from admin_app.pages.tenant_support.state import TenantSupportState
from admin_app.shell import guard_control, is_allowed
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.backoffice.impersonations import MAX_TICKET_LENGTH
from shared.core.stated_reason import MAX_REASON_LENGTH
from shared.ui.banners import empty_state
from shared.ui.controls import button, dialog_field, text_input
from shared.ui.dialogs import form_dialog, reason_field, result_dialog
from shared.ui.list_state import list_pager
from shared.ui.panels import panel
from shared.ui.support_rows import SupportRow, support_line, transcript_list
from shared.ui.tables import has_items

MINUTES = (("10", "10 minutes"), ("20", "20 minutes"), ("30", "30 minutes"))


def impersonate_button(member: TenantMemberRow) -> rx.Component:
    control = button(
        "Act as",
        kind="quiet",
        glyph="eye",
        aria_label=f"Act as {member.name}",
        data_testid="act-as",
        on_click=TenantMembersState.open_dialog("impersonate", member.id),
    )
    return guard_control(actions.OP_IMPERSONATE, control, "Act as", id=f"act-as-{member.id}")


def session_controls(row: SupportRow) -> rx.Component:
    begin = button(
        "Begin", on_click=TenantSupportState.begin_support_session(row.id), data_testid="begin-support"
    )
    end = button("End", kind="quiet", on_click=TenantSupportState.end_support_session(row.id))
    return rx.el.div(
        rx.cond(
            row.is_own & row.is_open,
            rx.fragment(rx.cond(row.is_ready, begin), end),
        ),
        button("What was seen", kind="quiet", on_click=TenantSupportState.open_dialog("transcript", row.id)),
        class_name="row",
    )


def support_tab(visit_banner: rx.Component, visit_form: rx.Component) -> rx.Component:
    """`visit_form`: asks for the reason without which nothing is shown."""
    sessions = rx.fragment(
        rx.el.ol(
            rx.foreach(TenantSupportState.rows, lambda row: support_line(row, session_controls(row))),
            class_name="list",
            data_testid="support-sessions",
        ),
        list_pager(TenantSupportState),
    )
    nothing = empty_state(
        "No support sessions yet", "Choose “Act as” beside a member to begin one.", glyph="life-buoy"
    )
    sessions_panel = panel(rx.cond(has_items(TenantSupportState.rows), sessions, nothing), name="Support")
    return rx.cond(
        TenantVisitState.is_visit_open,
        rx.el.div(visit_banner, sessions_panel, class_name="section"),
        visit_form,
    )


def support_dialogs() -> rx.Component:
    return rx.fragment(_start_dialog(), _transcript_dialog())


def _start_dialog() -> rx.Component:
    state = TenantMembersState
    ticket = text_input(
        "impersonate-ticket",
        name="ticket",
        required=True,
        max_length=MAX_TICKET_LENGTH,
        auto_complete="off",
        placeholder="4471",
    )
    minutes = rx.el.select(
        *[rx.el.option(label, value=value) for value, label in MINUTES],
        name="minutes",
        class_name="input",
        custom_attrs={"id": "impersonate-minutes"},
    )
    write_reason = text_input(
        "impersonate-write-reason",
        name="write_reason",
        max_length=MAX_REASON_LENGTH,
        auto_complete="off",
        placeholder="",
    )
    changes = dialog_field(
        "Reason for changes",
        write_reason,
        id="impersonate-write-reason",
        name="write_reason",
        hint="Leave it empty for a read-only session. Changes may need a second operator’s approval.",
    )
    return form_dialog(
        state,
        "impersonate",
        rx.fragment("Act as ", state.member_name),
        "You see the organisation as this member does. Owners are told, and see every page that you open.",
        reason_field("impersonate", example="The members list is empty"),
        dialog_field("Ticket", ticket, id="impersonate-ticket", name="ticket"),
        dialog_field("Duration", minutes, id="impersonate-minutes", name="minutes"),
        rx.cond(is_allowed(actions.OP_IMPERSONATE_WRITE), changes),
        confirm="Start",
        submit=state.start_support_session,
    )


def _transcript_dialog() -> rx.Component:
    state = TenantSupportState
    session = state.transcript.session
    return result_dialog(
        state,
        "transcript",
        rx.fragment(session.operator, " for ", session.person),
        rx.fragment(session.reason, " · ticket ", session.ticket, " · ", session.scope),
        transcript_list(state.transcript),
    )
