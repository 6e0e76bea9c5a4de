"""The members page: toolbar, members, pending invitations."""

from typing import Any

import reflex as rx

from shared.access import actions
from shared.ui import charts
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import (
    button,
    disabled_icon_button,
    icon,
    icon_button,
    menu,
    search_input,
    select,
)
from shared.ui.dialogs import dialog_opener
from shared.ui.list_state import list_pager
from shared.ui.native_form import NativeForm
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import (
    badge,
    data_table,
    has_items,
    person_cell,
    table_row,
)
from tenant_app.exports import export_list, export_menu
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.pages.members.dialogs import member_dialogs
from tenant_app.pages.members.rows import COLUMNS, PENDING_COLUMNS, InvitationRow, MemberRow
from tenant_app.pages.members.state import MembersState
from tenant_app.shell import Shell, guard_control, guard_menu_item, is_allowed, is_visible


def member_line(member: MemberRow) -> rx.Component:
    def item(glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        return rx.menu.item(icon(glyph), label, on_select=MembersState.open_dialog(kind, member.id), **props)

    change = menu(
        icon_button(f"Actions for {member.name}", "ellipsis"),
        rx.cond(
            member.is_active,
            guard_menu_item(
                actions.MEMBER_SET_ROLE, item("user-cog", "Change role", "role"), "user-cog", "Change role"
            ),
        ),
        rx.cond(
            is_visible(actions.OWNER_TRANSFER) & member.is_active & ~member.is_you,
            guard_menu_item(
                actions.OWNER_TRANSFER,
                item("crown", "Transfer ownership", "transfer"),
                "crown",
                "Transfer ownership",
            ),
        ),
        rx.menu.separator(),
        rx.cond(
            member.is_active,
            item("user-x", "Deactivate", "deactivate"),
            guard_menu_item(
                actions.MEMBER_INVITE,  # it takes a seat
                rx.menu.item(
                    icon("user-check"), "Reactivate", on_select=MembersState.reactivate_member(member.id)
                ),
                "user-check",
                "Reactivate",
                obstacle=MembersState.invite_obstacle,
            ),
        ),
        item("user-minus", "Remove", "remove", color_scheme="red"),
        align="end",
    )
    seen_at = rx.cond(
        member.seen_at != "", local_time(member.seen_at, "", "ago"), rx.el.span("Never", class_name="muted")
    )
    name = rx.fragment(member.name, rx.cond(member.is_you, rx.el.span(" (you)", class_name="muted")))
    return table_row(
        COLUMNS,
        person_cell(name, member.email, member.initials, rx.fragment(member.role_name, " · ", seen_at)),
        member.role_name,
        badge(member.status, member.tone),
        seen_at,
        local_time(member.joined_at, "", "day"),
        rx.cond(member.can_edit, change),
    )


def invitation_line(invitation: InvitationRow) -> rx.Component:
    recipient = text_with_note(
        invitation.email, small(invitation.role, " · by ", invitation.invited_by, class_name="only-small")
    )
    refusals: Any = Shell.refusals
    change = rx.el.div(
        rx.cond(
            refusals.contains(actions.MEMBER_INVITE.name),
            disabled_icon_button(
                f"Resend the invitation to {invitation.email}",
                "send",
                refusals[actions.MEMBER_INVITE.name],
                id=f"resend-{invitation.id}",
            ),
            icon_button(
                f"Resend the invitation to {invitation.email}",
                "send",
                on_click=MembersState.resend_invitation(invitation.id),
                data_once="true",
            ),
        ),
        icon_button(
            f"Revoke the invitation for {invitation.email}",
            "x",
            on_click=MembersState.revoke_invitation(invitation.id),
            data_once="true",
        ),
        class_name="row to-end",
    )
    invited = small(local_time(invitation.invited_at, "", "day"), " by ", invitation.invited_by)
    return table_row(
        PENDING_COLUMNS,
        recipient,
        invitation.role,
        text_with_note(
            badge(invitation.status, invitation.tone),
            rx.cond(invitation.note != "", small(invitation.note, class_name="cut-anywhere")),
        ),
        invited,
        rx.cond(is_allowed(actions.INVITATION_REVOKE), change),
    )


def toolbar() -> rx.Component:
    meter = charts.meter(
        "Seats",
        MembersState.seats_used,
        MembersState.seats_limit,
        share=MembersState.share,
        tone=MembersState.tone,
        value_text=MembersState.seats,
    )
    seats = rx.el.div(
        rx.cond(MembersState.seats_limit > 0, rx.el.div(meter, class_name="slim")),
        rx.el.span(MembersState.seats, class_name="small num nowrap"),
        class_name="row",
    )
    search_field = search_input(
        "Search members",
        default_value=MembersState.query,
        on_change=MembersState.search_members.debounce(200),
    )
    role_select = select(
        "Role", MembersState.roles, value=MembersState.role, on_change=MembersState.choose_role
    )
    return rx.el.div(
        search_field,
        role_select,
        export_menu(MembersState),
        rx.el.span(class_name="grow"),
        seats,
        class_name="row wrap",
    )


def members_panel() -> rx.Component:
    no_matches = empty_state(
        "No members match your search",
        "Search covers names and email addresses. Invitations are listed below.",
        glyph="search-x",
    )
    table = data_table(
        "Members",
        COLUMNS,
        rx.foreach(MembersState.rows, member_line),
        footer=list_pager(MembersState, ("Previous", "Next")),
        test_id="members",
        sorted_by=MembersState.sorted_by,
        descending=MembersState.descending,
        on_sort=MembersState.sort_by,
    )
    content = rx.cond(has_items(MembersState.rows), table, no_matches)
    return panel(rx.cond(MembersState.loaded, content, skeleton_rows(4)), name="Members")


def invitations_panel() -> rx.Component:
    table = data_table(
        "Pending invitations",
        PENDING_COLUMNS,
        rx.foreach(MembersState.pending, invitation_line),
        test_id="invitations",
    )
    no_invitations = empty_state(
        "No pending invitations",
        "Pending invitations use a seat until accepted, revoked or expired (7 days).",
        glyph="mail-open",
    )
    content = rx.cond(has_items(MembersState.pending), table, no_invitations)
    return panel(rx.cond(MembersState.loaded, content, skeleton_rows(1)), name="Pending invitations")


def leave_form() -> rx.Component:
    """Opens a page outside of the app, which asks. A form, because the router would keep a link for itself."""
    return NativeForm.create(
        rx.el.input(type="hidden", name="t", value=Shell.slug),
        rx.el.button("Leave this organisation", type="submit", class_name="link small", data_testid="leave"),
        method="get",
        action="/organisations/leave",
        class_name="inline",
    )


@rx.page(route="/t/[tenant]/members", title="Members · Bulkhead", on_load=MembersState.load)
def members_page() -> rx.Component:
    invite = button(
        "Invite member",
        kind="primary",
        glyph="plus",
        **dialog_opener(MembersState, "invite"),
        data_testid="invite",
    )
    return page(
        page_header(
            "Members",
            description=rx.fragment(
                "People in this organisation. ", link("Role permissions", page_href("roles"))
            ),
            actions=[
                guard_control(
                    actions.MEMBER_INVITE,
                    invite,
                    "Invite member",
                    glyph="plus",
                    obstacle=MembersState.invite_obstacle,
                ),
            ],
        ),
        rx.el.div(toolbar(), export_list(MembersState), members_panel(), class_name="section"),
        section("Pending invitations", invitations_panel()),
        leave_form(),
        member_dialogs(),
        current="Members",
        load=MembersState.load,
    )
