"""/t/[tenant]/members: who works here, who is asked to, and what each of them may do."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions, policy
from shared.access.actions import Action
from shared.access.decision import holds
from shared.access.roles import OWNER, may_grant
from shared.core.ctx import Ctx
from shared.core.errors import Invalid
from shared.tenancy import invitations, members, roles
from shared.ui import chart
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import (
    button,
    choices,
    dialog,
    field,
    icon,
    icon_button,
    menu,
    refused_icon,
    refused_item,
    search,
    select,
    text_input,
)
from shared.ui.form_model import Form, a_line, a_word, an_id
from shared.ui.gate import needs
from shared.ui.hull import hull, small, titled, two
from shared.ui.shell import head, link
from shared.ui.table import TONE, Column, badge, data_table, initials, pager, person, row, some
from tenant_app.exports import export_button
from tenant_app.frame import page
from tenant_app.nav import href
from tenant_app.shell import PageState, Shell, allowed, may, within

COLUMNS = [
    Column("Name", sort="name"),
    Column("Role", sort="role", less=True),
    Column("Status"),
    Column("Last active", sort="seen_at", less=True),
    Column("Joined", sort="created_at", less=True),
    Column("Actions", end=True, hidden=True),
]
PENDING_COLUMNS = [
    Column("Email"),
    Column("Role", less=True),
    Column("Status"),
    Column("Invited", less=True),
    Column("Actions", end=True, hidden=True),
]
SORTS = tuple(column.sort for column in COLUMNS if column.sort)
DIALOGS = ("invite", "role", "deactivate", "remove", "transfer")
PAGE = 25


class InviteForm(Form):
    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    role: str


class RoleForm(Form):
    role: str


class ConfirmForm(Form):
    confirm: Annotated[str, StringConstraints(max_length=200)]


class NoForm(Form):
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
    you: bool = False
    touchable: bool = False  # may the reader change this row at all
    active: bool = True


@dataclass(frozen=True)
class InvitationRow:
    id: str
    email: str
    role: str
    status: str
    tone: str
    invited_at: str
    invited_by: str


Known = dict[str, Any]  # roles by key


def member_row(ctx: Ctx, known: Known, one: members.Member) -> MemberRow:
    status, role = "Active" if one.state == "active" else "Deactivated", known[one.role]
    touchable = holds(ctx, actions.MEMBER_SET_ROLE) and may_grant(ctx.permissions, role.permissions)
    return MemberRow(
        one.id,
        one.name,
        one.email,
        initials(one.name),
        one.role,
        role.name,
        status,
        TONE[status],
        one.seen_at.isoformat() if one.seen_at else "",
        one.created_at.isoformat(),
        one.user_id == ctx.actor_id,
        touchable,
        status == "Active",
    )


def invitation_row(known: Known, one: Any) -> InvitationRow:
    left = one.expires_at - datetime.now(UTC)
    status = "Expired" if left <= timedelta(0) else "Expires soon" if left < timedelta(days=1) else "Invited"
    return InvitationRow(
        one.id,
        one.email,
        known[one.role].name if one.role in known else "A deleted role",  # of one that has expired
        status,
        TONE[status],
        one.created_at.isoformat(),
        one.invited_by_name,
    )


class MembersState(PageState):
    loaded: bool = False
    rows: list[MemberRow] = []
    pending: list[InvitationRow] = []
    query: str = ""
    role: str = ""
    sorted_by: str = "name"
    descending: bool = False
    has_next: bool = False
    has_previous: bool = False
    said: str = ""
    seats: str = ""
    seats_used: int = 0
    seats_limit: int = 0
    share: str = "0%"
    tone: str = "calm"
    grantable: list[tuple[str, str, str]] = []
    roles: list[tuple[str, str]] = [("", "All roles")]
    full: str = ""  # why nobody can be invited now, when no seat is left
    dialog: str = ""
    subject: MemberRow = MemberRow()
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next: str = ""

    @rx.event
    @needs(actions.MEMBER_READ, page=True)
    async def load(self) -> None:
        async with self._open(MembersState.load, "members", "invitations", "roles") as ctx:
            found = await self._read(ctx)
        self._show(*found)

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        known = {one.key: one for one in await roles.list_all(ctx)}
        if self.role not in ("", *known):  # deleted while it was the filter
            self.role, self._cursors = "", []
        listed = await self._list(ctx)
        return ctx, known, listed, await invitations.list_pending(ctx), await members.count_seats(ctx)

    async def _list(self, ctx: Ctx) -> members.Page:
        after = self._cursors[-1] if self._cursors else ""
        return await members.list_members(
            ctx,
            query=self.query,
            role=self.role,
            sort=self.sorted_by,
            descending=self.descending,
            after=after,
            limit=PAGE,
        )

    def _show(self, ctx: Ctx, known: Known, listed: Any, pending: Any, used: int) -> None:
        self._show_list(ctx, known, listed)
        limit = ctx.rights.limits["members"].amount
        self.pending = [invitation_row(known, one) for one in pending]
        self.seats_used, self.seats_limit = used, limit or 0
        self.seats = f"{used} of {limit} seats" if limit is not None else f"{used} seats, no limit"
        self.share, self.tone = chart.gauge(used, limit) if limit is not None else ("0%", "calm")
        self.full = policy.said(ctx, actions.MEMBER_INVITE, used=used)
        self.roles = [("", "All roles"), *((one.key, one.name) for one in known.values())]
        self.grantable = [
            (one.key, one.name, one.sentence)
            for one in known.values()
            if one.key != OWNER and may_grant(ctx.permissions, one.permissions)
        ]
        self.loaded = True

    def _show_list(self, ctx: Ctx, known: Known, listed: members.Page) -> None:
        self.rows = [member_row(ctx, known, one) for one in listed.rows]
        self._next, self.has_next, self.has_previous = listed.after, bool(listed.after), bool(self._cursors)
        count = len(self.rows)
        self.said = "1 person" if count == 1 else f"{count} people"

    async def _reread(self) -> None:
        """The list in another view. Seats and invitations stay: a change of theirs loads the page anyway."""
        async with self._ctx() as ctx:
            known = {one.key: one for one in await roles.list_all(ctx)}
            listed = await self._list(ctx)
        self._show_list(ctx, known, listed)

    @rx.event
    @needs(actions.MEMBER_READ)
    async def look_for(self, query: str) -> None:
        self.query, self._cursors = a_line(query), []
        await self._reread()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def choose_role(self, role: str) -> None:
        self.role, self._cursors = a_word(role, [key for key, _ in self.roles]), []
        await self._reread()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def sort(self, column: str) -> None:
        self.descending = a_word(column, SORTS) == self.sorted_by and not self.descending
        self.sorted_by, self._cursors = column, []
        await self._reread()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def next(self) -> None:
        if self._next:
            self._cursors = [*self._cursors, self._next]
            await self._reread()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def previous(self) -> None:
        self._cursors = self._cursors[:-1]
        await self._reread()

    @rx.event
    @needs(actions.MEMBER_READ)
    async def ask(self, dialog: str, membership_id: str) -> None:
        """Opens a dialog, about one row unless it is the invitation."""
        rows = {one.id: one for one in self.rows}
        if dialog != "invite" and an_id("mem", membership_id) not in rows:
            raise Invalid("This person is no longer in the list.", "Reload the page.")
        self.subject = rows.get(membership_id, MemberRow())
        self.dialog = a_word(dialog, DIALOGS)

    @rx.event
    @needs(actions.MEMBER_READ)
    async def dismiss(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def invite(self, payload: dict[str, Any]) -> EventSpec:
        form = InviteForm.read(payload)
        async with self._ctx() as ctx:
            invitation = await invitations.invite(ctx, form.email, form.role)
            found = await self._read(ctx)
        return self._done(found, f"Invited {invitation.email}.", "The mail with the link is on its way.")

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def resend(self, invitation_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            invitation = await invitations.resend(ctx, an_id("inv", invitation_id))
            found = await self._read(ctx)
        return self._done(found, f"Sent {invitation.email} a new link.", "The old one no longer works.")

    @rx.event
    @needs(actions.INVITATION_REVOKE)
    async def revoke(self, invitation_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            await invitations.revoke(ctx, an_id("inv", invitation_id))
            found = await self._read(ctx)
        return self._done(found, "Revoked the invitation.", "Its link no longer works and the seat is free.")

    @rx.event
    @needs(actions.MEMBER_SET_ROLE)
    async def set_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = RoleForm.read(payload), self.subject
        async with self._ctx() as ctx:
            await members.set_role(ctx, an_id("mem", subject.id), form.role)
            found = await self._read(ctx)
        return self._done(found, f"Changed the role of {subject.name}.", "It counts from their next click.")

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def deactivate(self, payload: dict[str, Any]) -> EventSpec:
        NoForm.read(payload)
        subject = self.subject
        async with self._ctx() as ctx:
            await members.deactivate(ctx, an_id("mem", subject.id))
            found = await self._read(ctx)
        return self._done(
            found, f"Deactivated {subject.name}.", "They cannot enter until you reactivate them."
        )

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def reactivate(self, membership_id: str) -> EventSpec:
        async with self._ctx() as ctx:
            await members.reactivate(ctx, an_id("mem", membership_id))
            found = await self._read(ctx)
        return self._done(found, "Reactivated.", "They may enter again with the role they had.")

    @rx.event
    @needs(actions.MEMBER_REMOVE)
    async def remove(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        if form.confirm != subject.name:
            raise Invalid(f"This is not the name {subject.name}.", "Type it exactly as it is written above.")
        async with self._ctx() as ctx:
            await members.remove(ctx, an_id("mem", subject.id))
            found = await self._read(ctx)
        return self._done(
            found, f"Removed {subject.name}.", "Their open pages have stopped; the trail keeps their name."
        )

    @rx.event
    @needs(actions.OWNER_TRANSFER)
    async def transfer(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        async with self._ctx() as ctx:
            await members.transfer_ownership(ctx, an_id("mem", subject.id), form.confirm)
        self.dialog = ""
        return rx.toast.success(
            f"{subject.name} is now the owner.", description="You are an admin from here on."
        )

    def _done(self, found: tuple[Any, ...], said: str, then: str) -> EventSpec:
        self._show(*found)
        self.dialog = ""
        return rx.toast.success(said, description=then)


def possible(action: Action, item: rx.Component, glyph: str, label: str, *, full: Any = None) -> rx.Component:
    """An entry of a row's menu, or why it cannot be chosen now."""
    why: Any = Shell.why
    if full is not None:
        item = rx.cond(full != "", refused_item(glyph, label, full), item)
    return rx.cond(why.contains(action.name), refused_item(glyph, label, why[action.name]), item)


def member_line(one: MemberRow) -> rx.Component:
    def item(glyph: str, label: str, kind: str, **props: Any) -> rx.Component:
        return rx.menu.item(icon(glyph), label, on_select=MembersState.ask(kind, one.id), **props)

    change = menu(
        icon_button(f"Actions for {one.name}", "ellipsis"),
        rx.cond(
            one.active,
            possible(
                actions.MEMBER_SET_ROLE, item("user-cog", "Change role", "role"), "user-cog", "Change role"
            ),
        ),
        rx.cond(
            within(actions.OWNER_TRANSFER) & one.active & ~one.you,
            possible(
                actions.OWNER_TRANSFER,
                item("crown", "Transfer ownership", "transfer"),
                "crown",
                "Transfer ownership",
            ),
        ),
        rx.menu.separator(),
        rx.cond(
            one.active,
            item("user-x", "Deactivate", "deactivate"),
            possible(
                actions.MEMBER_INVITE,  # it takes a seat
                rx.menu.item(icon("user-check"), "Reactivate", on_select=MembersState.reactivate(one.id)),
                "user-check",
                "Reactivate",
                full=MembersState.full,
            ),
        ),
        item("user-minus", "Remove", "remove", color_scheme="red"),
        align="end",
    )
    seen = rx.cond(one.seen_at != "", when(one.seen_at, "", "ago"), rx.el.span("Never", class_name="muted"))
    name = rx.fragment(one.name, rx.cond(one.you, rx.el.span(" (you)", class_name="muted")))
    return row(
        COLUMNS,
        person(name, one.email, one.initials, rx.fragment(one.role_name, " · ", seen)),
        one.role_name,
        badge(one.status, one.tone),
        seen,
        when(one.joined_at, "", "day"),
        rx.cond(one.touchable, change),
    )


def invitation_line(one: InvitationRow) -> rx.Component:
    who = two(one.email, small(one.role, " · by ", one.invited_by, class_name="only-small"))
    why: Any = Shell.why
    change = rx.el.div(
        rx.cond(
            why.contains(actions.MEMBER_INVITE.name),
            refused_icon(
                f"Resend the invitation of {one.email}",
                "send",
                why[actions.MEMBER_INVITE.name],
                id=f"resend-{one.id}",
            ),
            icon_button(
                f"Resend the invitation of {one.email}",
                "send",
                on_click=MembersState.resend(one.id),
                data_once="true",
            ),
        ),
        icon_button(
            f"Revoke the invitation of {one.email}",
            "x",
            on_click=MembersState.revoke(one.id),
            data_once="true",
        ),
        class_name="row to-end",
    )
    invited = small(when(one.invited_at, "", "day"), " by ", one.invited_by)
    return row(
        PENDING_COLUMNS,
        who,
        one.role,
        badge(one.status, one.tone),
        invited,
        rx.cond(may(actions.INVITATION_REVOKE), change),
    )


def about(which: str, title: Any, sentence: Any, *children: rx.Component, **props: Any) -> rx.Component:
    return dialog(
        None,
        title,
        sentence,
        *children,
        open=MembersState.dialog == which,
        on_open_change=MembersState.dismiss,
        test_id=f"{which}-form",
        **props,
    )


def confirm_field(label: Any) -> rx.Component:
    return field(label, text_input("confirm", required=True, auto_complete="off"), id="confirm")


def dialogs() -> rx.Component:
    name = MembersState.subject.name
    email = text_input(
        "email", type="email", required=True, auto_complete="off", placeholder="name@company.com"
    )
    invite = about(
        "invite",
        "Invite a member",
        f"They get a mail with a link that works for 7 days. {MembersState.seats} are in use.",
        field("Email", email, id="email"),
        choices("Role", "role", MembersState.grantable, value="member"),
        confirm="Send invitation",
        submit=MembersState.invite,
    )
    role = about(
        "role",
        f"Change the role of {name}",
        "It counts from their next click; open pages reload by themselves.",
        choices("Role", "role", MembersState.grantable, value=MembersState.subject.role),
        confirm="Change role",
        submit=MembersState.set_role,
    )
    deactivate = about(
        "deactivate",
        f"Deactivate {name}",
        "They cannot enter until somebody reactivates them. What they did stays; their seat becomes free.",
        confirm="Deactivate",
        submit=MembersState.deactivate,
        kind="danger-fill",
    )
    remove = about(
        "remove",
        f"Remove {name}",
        f"They lose access to {Shell.tenant} at once. To return they need a new invitation.",
        confirm_field(rx.fragment("Type ", rx.el.b(name), " to confirm")),
        confirm="Remove",
        submit=MembersState.remove,
        kind="danger-fill",
    )
    transfer = about(
        "transfer",
        f"Make {name} the owner",
        f"They can then do everything in {Shell.tenant}, also remove you. You become an admin.",
        confirm_field(
            rx.fragment("Type the name of the organisation, ", rx.el.b(Shell.tenant), ", to confirm")
        ),
        confirm="Transfer ownership",
        submit=MembersState.transfer,
        kind="danger-fill",
    )
    return rx.fragment(invite, role, deactivate, remove, transfer)


def tools() -> rx.Component:
    meter = chart.meter(
        "Seats",
        MembersState.seats_used,
        MembersState.seats_limit,
        share=MembersState.share,
        tone=MembersState.tone,
        said=MembersState.seats,
    )
    seats = rx.el.div(
        rx.cond(MembersState.seats_limit > 0, rx.el.div(meter, class_name="slim")),
        rx.el.span(MembersState.seats, class_name="small num nowrap"),
        class_name="row",
    )
    find = search(
        "Search members", default_value=MembersState.query, on_change=MembersState.look_for.debounce(200)
    )
    chosen = select("Role", MembersState.roles, value=MembersState.role, on_change=MembersState.choose_role)
    shown = {
        "query": MembersState.query,
        "role": MembersState.role,
        "sort": MembersState.sorted_by,
        "descending": rx.cond(MembersState.descending, "yes", ""),
    }
    hidden = (rx.el.input(type="hidden", name=name, value=value) for name, value in shown.items())
    export = export_button(actions.MEMBER_EXPORT, "members", *hidden)
    return rx.el.div(find, chosen, export, rx.el.span(class_name="grow"), seats, class_name="row wrap")


def people() -> rx.Component:
    nobody = empty(
        "Nobody here by that name",
        "Search looks at names and addresses. Invitations are listed below.",
        glyph="search-x",
    )
    table = data_table(
        "Members",
        COLUMNS,
        rx.foreach(MembersState.rows, member_line),
        foot=pager(
            MembersState.said,
            older=MembersState.next,
            newer=MembersState.previous,
            has_older=MembersState.has_next,
            has_newer=MembersState.has_previous,
            words=("Previous", "Next"),
        ),
        test_id="members",
        sorted_by=MembersState.sorted_by,
        descending=MembersState.descending,
        on_sort=MembersState.sort,
    )
    found = rx.cond(some(MembersState.rows), table, nobody)
    return hull(rx.cond(MembersState.loaded, found, skeleton_rows(4)), name="Members")


def waiting() -> rx.Component:
    table = data_table(
        "Pending invitations",
        PENDING_COLUMNS,
        rx.foreach(MembersState.pending, invitation_line),
        test_id="invitations",
    )
    nobody = empty(
        "Nobody is waiting to join",
        "An invitation holds a seat until it is accepted, revoked, or 7 days old.",
        glyph="mail-open",
    )
    found = rx.cond(some(MembersState.pending), table, nobody)
    return hull(rx.cond(MembersState.loaded, found, skeleton_rows(1)), name="Pending invitations")


@rx.page(route="/t/[tenant]/members", title="Members · Bulkhead", on_load=MembersState.load)
def members_page() -> rx.Component:
    invite = button(
        "Invite member",
        kind="primary",
        glyph="plus",
        on_click=MembersState.ask("invite", ""),
        data_testid="invite",
    )
    return page(
        head(
            "Members",
            said=rx.fragment("Who works here. ", link("What each role may do", href("roles"))),
            actions=[
                allowed(actions.MEMBER_INVITE, invite, "Invite member", glyph="plus", full=MembersState.full),
            ],
        ),
        rx.el.div(tools(), people(), class_name="section"),
        titled("Pending invitations", waiting()),
        dialogs(),
        current="Members",
        load=MembersState.load,
    )
