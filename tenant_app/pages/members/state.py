"""What the members page shows and changes."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import StringConstraints
from reflex.event import EventSpec

from shared.access import actions, refusal_messages
from shared.access.actions import Action
from shared.access.file_kinds import ExportKind
from shared.access.roles import OWNER, can_grant
from shared.core.context import Ctx
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.tenancy import invitations, members, roles
from shared.tenancy.exports import MEMBERS
from shared.ui import charts
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmForm, EmptyForm
from shared.ui.forms import Form, VersionedForm, parse_choice, parse_id, parse_line
from shared.ui.list_state import ListState
from tenant_app.exports import ExportsState
from tenant_app.pages.members.rows import (
    SORTS,
    InvitationRow,
    MemberRow,
    RolesByKey,
    invitation_row,
    member_row,
)
from tenant_app.shell import PageState

PAGE_SIZE = 25


class InviteForm(Form):
    email: Annotated[str, StringConstraints(min_length=3, max_length=254)]
    role: str


class MemberRoleForm(VersionedForm):
    role: str


class MembersState(DialogState, ExportsState, ListState, PageState):
    reads: ClassVar[Action] = actions.MEMBER_READ
    export_kind: ClassVar[ExportKind] = MEMBERS
    dialogs: ClassVar[Sequence[str]] = ("invite",)
    row_dialogs: ClassVar[Sequence[str]] = ("role", "deactivate", "remove", "transfer")
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
    invite_obstacle: str = ""  # why members can't be invited, when no seat is left
    subject: MemberRow = MemberRow()

    @rx.event
    @needs(actions.MEMBER_READ, page=True)
    async def load(self) -> None:
        topics = ("members", "invitations", "roles")
        async with self._open_page(MembersState.load, *topics, own_topics=("exports",)) as ctx:
            page_data, exports = await self._read(ctx), await self._read_exports(ctx)
        self._show(*page_data)
        self._show_exports(exports)

    def _export_filter(self) -> Mapping[str, str]:
        return {
            "query": self.query,
            "role": self.role,
            "sort": self.sorted_by,
            "descending": "yes" if self.descending else "",
        }

    async def _read(self, ctx: Ctx) -> tuple[Any, ...]:
        roles_by_key = {role.key: role for role in await roles.list_roles(ctx)}
        if self.role not in ("", *roles_by_key):  # the role of the filter was deleted
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
        """Reads only the list: changes of seats and invitations load the whole page."""
        async with self._ctx() as ctx:
            roles_by_key = {role.key: role for role in await roles.list_roles(ctx)}
            members_list = await self._list_members(ctx)
        self._show_list(ctx, roles_by_key, members_list)

    @rx.event
    @needs(actions.MEMBER_READ)
    async def search_members(self, query: str) -> None:
        await self._show_first_page(query=parse_line(query))

    @rx.event
    @needs(actions.MEMBER_READ)
    async def choose_role(self, role: str) -> None:
        await self._show_first_page(role=parse_choice(role, [key for key, _ in self.roles]))

    @rx.event
    @needs(actions.MEMBER_READ)
    async def sort_by(self, column: str) -> None:
        descending = parse_choice(column, SORTS) == self.sorted_by and not self.descending
        await self._show_first_page(sorted_by=column, descending=descending)

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:
        rows = {member.id: member for member in self.rows}
        if dialog != "invite" and parse_id("mem", row_id) not in rows:
            raise Invalid("This person is no longer in the list.", "Reload the page.")
        self.subject = rows.get(row_id, MemberRow()) if dialog != "invite" else MemberRow()

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def invite_member(self, payload: dict[str, Any]) -> EventSpec:
        form = InviteForm.read(payload)
        async with self._change_page() as ctx:
            invitation = await invitations.invite(ctx, form.email, form.role)
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Invited {invitation.email}.", "We’ve emailed them a link.")

    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def resend_invitation(self, invitation_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            invitation = await invitations.resend(ctx, parse_id("inv", invitation_id))
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Sent {invitation.email} a new link.", "The old one no longer works.")

    @rx.event
    @needs(actions.INVITATION_REVOKE)
    async def revoke_invitation(self, invitation_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await invitations.revoke(ctx, parse_id("inv", invitation_id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data, "Revoked the invitation.", "Its link no longer works. The seat is free."
        )

    @rx.event
    @needs(actions.MEMBER_SET_ROLE)
    async def change_role(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = MemberRoleForm.read(payload), self.subject
        async with self._change_page() as ctx:
            await members.set_role(ctx, parse_id("mem", subject.id), form.role, version=form.row_version)
            page_data = await self._read(ctx)
        return self._finish(page_data, f"Changed the role of {subject.name}.", "Takes effect immediately.")

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def deactivate_member(self, payload: dict[str, Any]) -> EventSpec:
        EmptyForm.read(payload)
        subject = self.subject
        async with self._change_page() as ctx:
            await members.deactivate(ctx, parse_id("mem", subject.id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data, f"Deactivated {subject.name}.", "They’ve lost access until you reactivate them."
        )

    @rx.event
    @needs(actions.MEMBER_DEACTIVATE)
    async def reactivate_member(self, membership_id: str) -> EventSpec:
        async with self._change_page() as ctx:
            await members.reactivate(ctx, parse_id("mem", membership_id))
            page_data = await self._read(ctx)
        return self._finish(page_data, "Reactivated.", "They have access again, with their previous role.")

    @rx.event
    @needs(actions.MEMBER_REMOVE)
    async def remove_member(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        form.check(subject.name)
        async with self._change_page() as ctx:
            await members.remove(ctx, parse_id("mem", subject.id))
            page_data = await self._read(ctx)
        return self._finish(
            page_data,
            f"Removed {subject.name}.",
            "They’ve been signed out of this organisation. Their activity stays in the audit log.",
        )

    @rx.event
    @needs(actions.OWNER_TRANSFER)
    async def transfer_ownership(self, payload: dict[str, Any]) -> EventSpec:
        form, subject = ConfirmForm.read(payload), self.subject
        async with self._ctx() as ctx:
            await members.transfer_ownership(ctx, parse_id("mem", subject.id), form.confirm)
        self._close_dialog()
        return rx.toast.success(f"{subject.name} is now the owner.", description="You’re now an admin.")

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self._close_dialog()
        return rx.toast.success(title, description=detail)
