"""/t/[tenant]/members: who works here, who is asked to, and what each of them may do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions, refusal_messages
from shared.access.actions import Action
from shared.access.decision import has_permission
from shared.access.roles import OWNER, can_grant
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.tenancy import invitations, members, roles
from shared.ui import charts
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import (
    button,
    dialog,
    disabled_icon_button,
    disabled_menu_item,
    form_field,
    icon,
    icon_button,
    menu,
    radio_cards,
    search_input,
    select,
    text_input,
)
from shared.ui.forms import Form, parse_choice, parse_id, parse_line
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, section, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import (
    TONE_BY_LABEL,
    Column,
    badge,
    data_table,
    has_items,
    initials_of,
    person_cell,
    table_row,
)
from tenant_app.exports import export_button
from tenant_app.frame import page
from tenant_app.nav import page_href
from tenant_app.shell import PageState, Shell, guard_control, is_allowed, is_visible

COLUMNS = [
    Column("Name", sort="name"),
    Column("Role", sort="role", hidden_on_phone=True),
    Column("Status"),
    Column("Last active", sort="seen_at", hidden_on_phone=True),
    Column("Joined", sort="created_at", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
PENDING_COLUMNS = [
    Column("Email"),
    Column("Role", hidden_on_phone=True),
    Column("Status"),
    Column("Invited", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
SORTS = tuple(column.sort for column in COLUMNS if column.sort)
DIALOGS = ("invite", "role", "deactivate", "remove", "transfer")
PAGE_SIZE = 25


class InviteForm(Form):
    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    role: str


class MemberRoleForm(Form):
    role: str


class ConfirmForm(Form):
    confirm: Annotated[str, StringConstraints(max_length=200)]


class EmptyForm(Form):
    """A dialog that only asks."""


@dataclass(frozen=True)
class MemberRow:
    id: str = ""
    name: str = ""
    email: str = ""
    initials: str = ""
    role: str = ""  # key
    role_name: str = ""
    status: str = ""
    tone: str = ""
    seen_at: str = ""
    joined_at: str = ""
    is_you: bool = False
    can_edit: bool = False  # may the reader change this row at all
    is_active: bool = True


@dataclass(frozen=True)
class InvitationRow:
    id: str
    email: str
    role: str
    status: str
    tone: str
    invited_at: str
    invited_by: str


RolesByKey = dict[str, Any]  # roles by key


def member_row(ctx: Ctx, roles_by_key: RolesByKey, member: members.Member) -> MemberRow:
    status, role = "Active" if member.state == "active" else "Deactivated", roles_by_key[member.role]
    can_edit = has_permission(ctx, actions.MEMBER_SET_ROLE) and can_grant(ctx.permissions, role.permissions)
    return MemberRow(
        member.id,
        member.name,
        member.email,
        initials_of(member.name),
        member.role,
        role.name,
        status,
        TONE_BY_LABEL[status],
        member.seen_at.isoformat() if member.seen_at else "",
        member.created_at.isoformat(),
        member.user_id == ctx.actor_id,
        can_edit,
        status == "Active",
    )


def invitation_row(roles_by_key: RolesByKey, invitation: Any) -> InvitationRow:
    time_left = invitation.expires_at - datetime.now(UTC)
    status = (
        "Expired"
        if time_left <= timedelta(0)
        else "Expires soon"
        if time_left < timedelta(days=1)
        else "Invited"
    )
    return InvitationRow(
        invitation.id,
        invitation.email,
        roles_by_key[invitation.role].name
        if invitation.role in roles_by_key
        else "A deleted role",  # of one that has expired
        status,
        TONE_BY_LABEL[status],
        invitation.created_at.isoformat(),
        invitation.invited_by_name,
    )


class MembersState(ListState, PageState):
    reads: ClassVar[Action] = actions.MEMBER_READ
    loaded: bool = False
    rows: list[MemberRow] = []
    pending: list[InvitationRow] = []
    query: str = ""
    role: str = ""
    sorted_by: str = "name"
    descending: bool = False
    seats: str = ""
    seats_used: int = 0
    seats_limit: int = 0
    share: str = "0%"
    tone: str = "calm"
    grantable: list[tuple[str, str, str]] = []
    roles: list[tuple[str, str]] = [("", "All roles")]
    invite_obstacle: str = ""  # why nobody can be invited now, when no seat is left
    dialog: str = ""
    subject: MemberRow = MemberRow()

    @rx.event
    @needs(actions.MEMBER_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(MembersState.load, "members", "invitations", "roles") as ctx:
            page_data = await self._read(ctx)
        self._show(*page_data)

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        roles_by_key = {role.key: role for role in await roles.list_roles(ctx)}
        if self.role not in ("", *roles_by_key):  # deleted while it was the filter
            self.role, self._cursors = "", []
        members_list = await self._list_members(ctx)
        return (
            ctx,
            roles_by_key,
            members_list,
            await invitations.list_pending(ctx),
            await members.count_seats(ctx),
        )

    async def _list_members(self, ctx: Ctx) -> Page[members.Member]:
        return await members.list_members(
            ctx,
            query=self.query,
            role=self.role,
            sort=self.sorted_by,
            descending=self.descending,
            after=self._cursor(),
            limit=PAGE_SIZE,
        )

    def _show(self, ctx: Ctx, roles_by_key: RolesByKey, members_list: Any, pending: Any, used: int) -> None:
        self._show_list(ctx, roles_by_key, members_list)
        limit = ctx.rights.limits["members"].amount
        self.pending = [invitation_row(roles_by_key, invitation) for invitation in pending]
        self.seats_used, self.seats_limit = used, limit or 0
        self.seats = f"{used} of {limit} seats" if limit is not None else f"{used} seats, no limit"
        self.share, self.tone = (
            charts.meter_width_and_tone(used, limit) if limit is not None else ("0%", "calm")
        )
        self.invite_obstacle = refusal_messages.refusal_text(ctx, actions.MEMBER_INVITE, used=used)
        self.roles = [("", "All roles"), *((role.key, role.name) for role in roles_by_key.values())]
        self.grantable = [
            (role.key, role.name, role.sentence)
            for role in roles_by_key.values()
            if role.key != OWNER and can_grant(ctx.permissions, role.permissions)
        ]
        self.loaded = True

    def _show_list(self, ctx: Ctx, roles_by_key: RolesByKey, members_list: Page[members.Member]) -> None:
        self.rows = [member_row(ctx, roles_by_key, member) for member in members_list.rows]
        self._show_page(members_list, "person", "people")

    async def _reload(self) -> None:
        """The list in another view. Seats and invitations stay: a change of theirs loads the page anyway."""
        async with self._ctx() as ctx:
            roles_by_key = {role.key: role for role in await roles.list_roles(ctx)}
            members_list = await self._list_members(ctx)
        self._show_list(ctx, roles_by_key, members_list)

    @rx.event
    @needs(actions.MEMBER_READ)
    async def search_members(self, query: str) -> None:
        self.query, self._cursors = parse_line(query), []
        await self._reload()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def choose_role(self, role: str) -> None:
        self.role, self._cursors = parse_choice(role, [key for key, _ in self.roles]), []
        await self._reload()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def sort_by(self, column: str) -> None:
        self.descending = parse_choice(column, SORTS) == self.sorted_by and not self.descending
        self.sorted_by, self._cursors = column, []
        await self._reload()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def open_dialog(self, dialog: str, membership_id: str) -> None:
        """Opens a dialog, about one row unless it is the invitation."""
        rows = {member.id: member for member in self.rows}
        if dialog != "invite" and parse_id("mem", membership_id) not in rows:
            raise Invalid("This person is no longer in the list.", "Reload the page.")
        self.subject = rows.get(membership_id, MemberRow())
        self.dialog = parse_choice(dialog, DIALOGS)

    @rx.event
    @needs(actions.MEMBER_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def invite_member(self, payload: dict[str, Any]) -> EventSpec:
        form = InviteForm.read(payload)
        async with self._ctx() as ctx:
            invitation = await invitations.invite(ctx, form.email, form.role)
            page_data = await self._read(ctx)
        return self._finish(
            page_data, f"Invited {invitation.email}.", "The mail with the link is on its way."
        )

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def resend_invitation(self, invitation_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            invitation = await invitations.resend(ctx, parse_id("inv", invitation_id))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Sent {invitation.email} a new link.", "The old one no longer works.")

    @rx.event
    @needs(actions.INVITATION_REVOKE)
    async def revoke_invitation(self, invitation_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            await invitations.revoke(ctx, parse_id("inv", invitation_id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data, "Revoked the invitation.", "Its link no longer works and the seat is free."
        )

    @rx.event
    @needs(actions.MEMBER_SET_ROLE)
    async def change_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = MemberRoleForm.read(payload), self.subject
        async with self._ctx() as ctx:
            await members.set_role(ctx, parse_id("mem", subject.id), form.role)
            page_data = await self._read(ctx)
        return self._finish(
            page_data, f"Changed the role of {subject.name}.", "It counts from their next click."
        )

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def deactivate_member(self, payload: dict[str, Any]) -> EventSpec:
        EmptyForm.read(payload)
        subject = self.subject
        async with self._ctx() as ctx:
            await members.deactivate(ctx, parse_id("mem", subject.id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data, f"Deactivated {subject.name}.", "They cannot enter until you reactivate them."
        )

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def reactivate_member(self, membership_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            await members.reactivate(ctx, parse_id("mem", membership_id))
            page_data = await self._read(ctx)
        return self._finish(page_data, "Reactivated.", "They may enter again with the role they had.")

    @rx.event
    @needs(actions.MEMBER_REMOVE)
    async def remove_member(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        if form.confirm != subject.name:
            raise Invalid(f"This is not the name {subject.name}.", "Type it exactly as it is written above.")
        async with self._ctx() as ctx:
            await members.remove(ctx, parse_id("mem", subject.id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data,
            f"Removed {subject.name}.",
            "Their open pages have stopped; the trail keeps their name.",
        )

    @rx.event
    @needs(actions.OWNER_TRANSFER)
    async def transfer_ownership(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        async with self._ctx() as ctx:
            await members.transfer_ownership(ctx, parse_id("mem", subject.id), form.confirm)
        self.dialog = ""
        return rx.toast.success(
            f"{subject.name} is now the owner.", description="You are an admin from here on."
        )

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self.dialog = ""
        return rx.toast.success(title, description=detail)


def guard_menu_item(
    action: Action, item: rx.Component, glyph: str, label: str, *, obstacle: Any = None
) -> rx.Component:
    """An entry of a row's menu, or why it cannot be chosen now."""
    refusals: Any = Shell.refusals
    if obstacle is not None:
        item = rx.cond(obstacle != "", disabled_menu_item(glyph, label, obstacle), item)
    return rx.cond(
        refusals.contains(action.name), disabled_menu_item(glyph, label, refusals[action.name]), item
    )


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
                f"Resend the invitation of {invitation.email}",
                "send",
                refusals[actions.MEMBER_INVITE.name],
                id=f"resend-{invitation.id}",
            ),
            icon_button(
                f"Resend the invitation of {invitation.email}",
                "send",
                on_click=MembersState.resend_invitation(invitation.id),
                data_once="true",
            ),
        ),
        icon_button(
            f"Revoke the invitation of {invitation.email}",
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
        badge(invitation.status, invitation.tone),
        invited,
        rx.cond(is_allowed(actions.INVITATION_REVOKE), change),
    )


def member_dialog(
    name: str, title: Any, sentence: Any, *children: rx.Component, **props: Any
) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=MembersState.dialog == name,
        on_open_change=MembersState.close_dialog,
        test_id=f"{name}-form",
        **props,
    )


def confirm_field(label: Any) -> rx.Component:
    return form_field(label, text_input("confirm", required=True, auto_complete="off"), id="confirm")


def member_dialogs() -> rx.Component:
    name = MembersState.subject.name
    email = text_input(
        "email", type="email", required=True, auto_complete="off", placeholder="name@company.com"
    )
    invite = member_dialog(
        "invite",
        "Invite a member",
        f"They get a mail with a link that works for 7 days. {MembersState.seats} are in use.",
        form_field("Email", email, id="email"),
        radio_cards("Role", "role", MembersState.grantable, value="member"),
        confirm="Send invitation",
        submit=MembersState.invite_member,
    )
    role = member_dialog(
        "role",
        f"Change the role of {name}",
        "It counts from their next click; open pages reload by themselves.",
        radio_cards("Role", "role", MembersState.grantable, value=MembersState.subject.role),
        confirm="Change role",
        submit=MembersState.change_role,
    )
    deactivate = member_dialog(
        "deactivate",
        f"Deactivate {name}",
        "They cannot enter until somebody reactivates them. What they did stays; their seat becomes free.",
        confirm="Deactivate",
        submit=MembersState.deactivate_member,
        kind="danger-fill",
    )
    remove = member_dialog(
        "remove",
        f"Remove {name}",
        f"They lose access to {Shell.tenant} at once. To return they need a new invitation.",
        confirm_field(rx.fragment("Type ", rx.el.b(name), " to confirm")),
        confirm="Remove",
        submit=MembersState.remove_member,
        kind="danger-fill",
    )
    transfer = member_dialog(
        "transfer",
        f"Make {name} the owner",
        f"They can then do everything in {Shell.tenant}, also remove you. You become an admin.",
        confirm_field(
            rx.fragment("Type the name of the organisation, ", rx.el.b(Shell.tenant), ", to confirm")
        ),
        confirm="Transfer ownership",
        submit=MembersState.transfer_ownership,
        kind="danger-fill",
    )
    return rx.fragment(invite, role, deactivate, remove, transfer)


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
    export_fields = {
        "query": MembersState.query,
        "role": MembersState.role,
        "sort": MembersState.sorted_by,
        "descending": rx.cond(MembersState.descending, "yes", ""),
    }
    hidden_inputs = (
        rx.el.input(type="hidden", name=name, value=value) for name, value in export_fields.items()
    )
    export = export_button(actions.MEMBER_EXPORT, "members", *hidden_inputs)
    return rx.el.div(
        search_field, role_select, export, rx.el.span(class_name="grow"), seats, class_name="row wrap"
    )


def members_panel() -> rx.Component:
    no_matches = empty_state(
        "Nobody here by that name",
        "Search looks at names and addresses. Invitations are listed below.",
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
        "Nobody is waiting to join",
        "An invitation holds a seat until it is accepted, revoked, or 7 days old.",
        glyph="mail-open",
    )
    content = rx.cond(has_items(MembersState.pending), table, no_invitations)
    return panel(rx.cond(MembersState.loaded, content, skeleton_rows(1)), name="Pending invitations")


@rx.page(route="/t/[tenant]/members", title="Members · Bulkhead", on_load=MembersState.load)
def members_page() -> rx.Component:
    invite = button(
        "Invite member",
        kind="primary",
        glyph="plus",
        on_click=MembersState.open_dialog("invite", ""),
        data_testid="invite",
    )
    return page(
        page_header(
            "Members",
            description=rx.fragment("Who works here. ", link("What each role may do", page_href("roles"))),
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
        rx.el.div(toolbar(), members_panel(), class_name="section"),
        section("Pending invitations", invitations_panel()),
        member_dialogs(),
        current="Members",
        load=MembersState.load,
    )
