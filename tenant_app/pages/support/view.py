"""/t/[tenant]/support: operators who acted for a member, and whether an owner has to agree first."""

import reflex as rx

from shared.access import actions
from shared.ui.banners import empty_state, skeleton_rows
from shared.ui.controls import button
from shared.ui.dialogs import result_dialog
from shared.ui.list_state import list_pager
from shared.ui.panels import panel, small
from shared.ui.shell import page_header
from shared.ui.support_rows import SupportRow, support_line, transcript_list
from shared.ui.tables import has_items
from tenant_app.frame import page
from tenant_app.pages.support.state import SupportState
from tenant_app.shell import guard_control


def consent_panel() -> rx.Component:
    state = SupportState
    turn_on = button(
        "Ask an owner first", on_click=state.choose_consent(True), data_once="true", data_testid="ask-owner"
    )
    turn_off = button("Stop asking", on_click=state.choose_consent(False), data_once="true")
    control = rx.cond(
        state.needs_consent,
        guard_control(actions.SUPPORT_ACCESS_DECIDE, turn_off, "Stop asking"),
        guard_control(actions.SUPPORT_ACCESS_DECIDE, turn_on, "Ask an owner first"),
    )
    words = small(
        rx.cond(
            state.needs_consent,
            "An owner has to agree before support acts for a member.",
            "Support can act for a member with a reason and a ticket. Owners are told each time.",
        ),
        class_name="grow",
    )
    content = rx.el.div(words, control, class_name="row wrap")
    return panel(rx.cond(state.loaded, content, skeleton_rows(1)), title="Consent", body=True)


def session_controls(row: SupportRow) -> rx.Component:
    state, decide = SupportState, actions.SUPPORT_ACCESS_DECIDE
    approve = button(
        "Agree", on_click=state.approve_request(row.id), data_once="true", data_testid="approve-support"
    )
    decline = button("Decline", on_click=state.decline_request(row.id), data_once="true")
    end = button("End", on_click=state.end_session(row.id), data_once="true", data_testid="end-support")
    answers = rx.fragment(
        guard_control(decide, approve, "Agree", id=f"agree-{row.id}"),
        guard_control(decide, decline, "Decline", id=f"decline-{row.id}"),
    )
    return rx.el.div(
        rx.cond(
            row.is_waiting,
            answers,
            rx.cond(row.is_open, guard_control(decide, end, "End", id=f"end-{row.id}")),
        ),
        button(
            "What was seen",
            kind="quiet",
            on_click=state.open_dialog("transcript", row.id),
            data_testid="show-transcript",
        ),
        class_name="row",
    )


def sessions_panel() -> rx.Component:
    state = SupportState
    sessions = rx.fragment(
        rx.el.ol(
            rx.foreach(state.rows, lambda row: support_line(row, session_controls(row))),
            class_name="list",
            data_testid="support-sessions",
        ),
        list_pager(state),
    )
    nothing = empty_state(
        "No support access yet",
        "Support sessions appear here, with the pages that were viewed.",
        glyph="life-buoy",
    )
    return panel(
        rx.cond(state.loaded, rx.cond(has_items(state.rows), sessions, nothing), skeleton_rows(3)),
        title="Sessions",
    )


def transcript_dialog() -> rx.Component:
    state = SupportState
    session = state.transcript.session
    return result_dialog(
        state,
        "transcript",
        rx.fragment(session.operator, " for ", session.person),
        rx.fragment(session.reason, " · ticket ", session.ticket, " · ", session.scope),
        transcript_list(state.transcript),
    )


@rx.page(route="/t/[tenant]/support", title="Support access · Bulkhead", on_load=SupportState.load)
def support_page() -> rx.Component:
    header = page_header(
        "Support access",
        description="When our support team viewed your organisation as one of its members.",
    )
    return page(
        header,
        consent_panel(),
        sessions_panel(),
        transcript_dialog(),
        current="Support access",
        load=SupportState.load,
    )
