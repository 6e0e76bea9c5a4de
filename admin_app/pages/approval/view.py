"""/approvals/[approval]: what will happen, who asked for it and why; approve, decline or withdraw."""

import reflex as rx

from admin_app.frame import page
from admin_app.pages.approval.state import ApprovalPageState
from admin_app.shell import guard_control
from shared.access import actions
from shared.ui.banners import local_time, skeleton_block, skeleton_rows
from shared.ui.controls import button
from shared.ui.decision_trace import change_list
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel, small, stat, stat_grid
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items


def approval_header() -> rx.Component:
    state, facts = ApprovalPageState, ApprovalPageState.facts
    crumbs = rx.el.nav(
        link("Approvals", "/approvals", class_name=""),
        rx.el.span("/", aria_hidden="true"),
        rx.el.span(facts.id, aria_current="page", class_name="cut-anywhere"),
        class_name="crumbs",
        aria_label="You are here",
    )
    approve = button("Approve", kind="primary", glyph="check", **dialog_opener(state, "approve"))
    decline = button("Decline", **dialog_opener(state, "decline"))
    withdraw = button("Withdraw", **dialog_opener(state, "withdraw"))
    decide = rx.fragment(
        guard_control(actions.OP_APPROVAL_DECIDE, decline, "Decline", id="decline-request"),
        rx.cond(
            facts.obstacle == "",
            guard_control(actions.OP_APPROVAL_DECIDE, approve, "Approve", id="approve-request"),
        ),
    )
    return page_header(
        rx.cond(state.loaded, rx.el.span(facts.subject, class_name="cut-anywhere"), skeleton_block("220px")),
        breadcrumbs=crumbs,
        badges=rx.cond(state.loaded, badge(facts.status, facts.tone)),
        description=rx.cond(state.loaded, facts.action, skeleton_block("240px")),
        actions=[rx.cond(facts.is_waiting, rx.cond(facts.is_own, withdraw, decide))],
    )


def request_panel() -> rx.Component:
    facts = ApprovalPageState.facts
    decided = rx.cond(
        facts.decided_by != "",
        stat(
            "Decided by",
            facts.decided_by,
            rx.fragment(local_time(facts.decided_at, "", "moment"), " · ", facts.decision_reason),
        ),
        stat("Open until", local_time(facts.expires_at, "", "moment"), "Then it expires."),
    )
    grid = stat_grid(
        stat("Asked by", facts.requested_by, local_time(facts.requested_at, "", "moment")),
        stat("Reason", rx.el.span(facts.reason, class_name="cut-anywhere"), "As they wrote it."),
        stat("Action", facts.action, "Needs two operators."),
        decided,
    )
    obstacle = rx.cond(
        facts.is_waiting & (facts.obstacle != ""),
        rx.el.div(small(facts.obstacle, class_name="cut-anywhere"), class_name="body ruled", role="status"),
    )
    return panel(
        rx.cond(ApprovalPageState.loaded, rx.fragment(grid, obstacle), skeleton_rows(1)), name="Request"
    )


def change_panels() -> rx.Component:
    state = ApprovalPageState
    effects = panel(
        rx.el.div(change_list(state.effects), class_name="body"), title="Effect as of now", name="Effect"
    )
    return rx.fragment(
        panel(
            rx.el.div(change_list(state.lines), class_name="body", data_testid="approval-lines"),
            title="What will happen",
            name="Change",
        ),
        rx.cond(has_items(state.effects), effects),
    )


def approval_dialogs() -> rx.Component:
    state = ApprovalPageState
    approve = form_dialog(
        state,
        "approve",
        "Approve and carry out",
        "The change is carried out at once, with both names in the audit log.",
        reason_field("approve", OPERATOR_AUDIT_HINT, example="Compared with the price list of 2027"),
        confirm="Approve",
        submit=state.approve_request,
    )
    decline = form_dialog(
        state,
        "decline",
        "Decline this request",
        "Nothing is changed. It can be requested again.",
        reason_field("decline", OPERATOR_AUDIT_HINT),
        confirm="Decline",
        submit=state.decline_request,
    )
    withdraw = form_dialog(
        state,
        "withdraw",
        "Withdraw your request",
        "Nothing is changed. You can ask for it again.",
        reason_field("withdraw", OPERATOR_AUDIT_HINT),
        confirm="Withdraw",
        submit=state.withdraw_request,
    )
    return rx.fragment(approve, decline, withdraw)


@rx.page(route="/approvals/[approval]", title="Approval · Operator", on_load=ApprovalPageState.load)
def approval_page() -> rx.Component:
    state = ApprovalPageState
    return page(
        approval_header(),
        rx.el.div(request_panel(), rx.cond(state.loaded, change_panels()), class_name="section"),
        approval_dialogs(),
        current="Approvals",
        load=state.load,
    )
