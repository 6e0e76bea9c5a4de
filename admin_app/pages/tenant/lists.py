"""The two lists of a tenant's page that are shown for a reason: its members and its audit log."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.tenant.rows import TenantMemberRow, tenant_member_row
from admin_app.pages.tenant_support.session_form import SupportSessionForm, open_tenant
from admin_app.shell import PageState
from admin_app.submissions import describe_outcome
from admin_app.tenant_header import TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approved_changes, tenant_directory
from shared.ui.audit_list import EventRow, event_rows
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import parse_id
from shared.ui.list_state import ListState

PAGE_SIZE = 50


class TenantMembersState(DialogState, ListState, TenantObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    row_dialogs: ClassVar[Sequence[str]] = ("impersonate",)
    rows: list[TenantMemberRow] = []
    member_name: str = ""  # for whom a support session is about to begin
    _membership_id: str = ""

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches. Without a reason nothing is shown."""
        await self._reload()

    async def _reload(self) -> None:
        tenant_id = self._tenant_id()
        visit = await self.get_state(TenantVisitState)
        if not (reason := visit._reason_for(tenant_id)):
            self.rows, self._cursors = [], []
            return
        async with self._ctx() as octx:
            members = await tenant_directory.list_members(
                octx,
                tenant_id,
                reason,
                after=self._cursor(),
                limit=PAGE_SIZE,
            )
        self.rows = [tenant_member_row(member) for member in members.rows]
        self._show_page(members, "person", "people")

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  it has one
        self._membership_id = parse_id("mem", row_id)
        self.member_name = next((member.name for member in self.rows if member.id == row_id), "")

    @rx.event
    @needs(actions.OP_IMPERSONATE)
    async def start_support_session(self, payload: dict[str, Any]) -> EventSpec:
        form = SupportSessionForm.read(payload)
        request = form.build_request(parse_id("mem", self._membership_id))
        async with self._ctx() as octx:
            reason = self._state_reason(octx, form.reason)
            session = await approved_changes.request_support_session(octx, self._tenant_id(), request, reason)
        self._close_dialog()
        if session.submission is not None and session.submission.is_waiting:
            title, detail = describe_outcome(session.submission, "", "")
            return rx.toast.info(title, description=f"{detail} Then begin it on the tab Support.")
        if session.requested.code:
            return open_tenant(session.requested)
        return rx.toast.info(
            "An owner has to agree first.", description="They were asked in the app and by email."
        )


class TenantEventsState(ListState, TenantObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    rows: list[EventRow] = []
    request: str = ""  # only what happened in this request is shown

    async def _forget_object(self) -> None:
        request = self.request  # the page has read it from the new address already
        await super()._forget_object()
        self.request = request

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> None:
        """As of the members."""
        await self._reload()

    async def _reload(self) -> None:
        tenant_id = self._tenant_id()
        visit = await self.get_state(TenantVisitState)
        if not (reason := visit._reason_for(tenant_id)):
            self.rows, self._cursors = [], []
            return
        async with self._ctx() as octx:
            events = await tenant_directory.list_events(
                octx,
                tenant_id,
                reason,
                request_id=self.request,
                after=self._cursor(),
                limit=PAGE_SIZE,
            )
        self.rows = event_rows(events.rows)
        self._show_page(events, "event")

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def clear_request_filter(self) -> None:
        await self._show_first_page(request="")
