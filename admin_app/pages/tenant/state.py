"""State of a tenant's page."""

from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.pages.tenant.rows import (
    ProvisioningStepRow,
    TenantHeader,
    TenantMemberRow,
    provisioning_step_row,
    tenant_header,
    tenant_member_row,
)
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.state import TenantRightsState, tenant_id_from_path
from admin_app.shell import PageState
from shared.access import actions
from shared.audit import audit_log
from shared.backoffice import tenant_directory
from shared.backoffice.tenant_directory_rows import TenantSummary
from shared.core.context import OperatorCtx
from shared.core.ids import is_id
from shared.tenancy.entry import VISIT_DURATION
from shared.ui.audit_list import EventRow, event_rows
from shared.ui.authorize import needs
from shared.ui.dialogs import ConfirmText, ReasonText, check_confirmation
from shared.ui.forms import Form, parse_choice

TABS = {
    "overview": "Overview",
    "rights": "Rights",
    "billing": "Billing",
    "members": "Members",
    "provisioning": "Provisioning",
    "audit": "Audit",
}
DIALOGS = ("", "suspend", "restore", "resume")
PAGE_SIZE = 50


class ReasonForm(Form):
    reason: ReasonText


class TenantSwitchForm(Form):
    """Suspending and restoring."""

    reason: ReasonText
    confirm: ConfirmText


class TenantPageState(PageState):
    loaded: bool = False
    header: TenantHeader = TenantHeader()
    steps: list[ProvisioningStepRow] = []
    has_open_steps: bool = False
    tab: str = "overview"
    is_visit_open: bool = False  # a reason has been given and still counts
    reason: str = ""
    members: list[TenantMemberRow] = []
    events: list[EventRow] = []
    count_text: str = ""
    has_next: bool = False
    has_previous: bool = False
    dialog: str = ""
    request: str = ""  # only what happened in this request is shown of the trail
    _last_address: str = ""  # what the address named when it was last looked at
    _visit_until: datetime | None = None  # until when the reason counts
    _cursors: list[str] = []  # of the pages before this one, of the open tab
    _next_cursor: str = ""

    def _tenant_id(self) -> str:
        """From the address: a wish. What may be seen of it is decided by the service."""
        return tenant_id_from_path(self.router.url.path)

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> Any:
        tenant_id = self._tenant_id()
        if self.header.id != tenant_id:
            self._clear_page()
        self._apply_address(tenant_id)
        topics = ("tenant", "members", "invitations", "provisioning", "billing")
        async with self._open_page(TenantPageState.load, *topics, tenant_id=tenant_id) as octx:
            page_data = await self._read(octx, tenant_id, self._current_reason(), self.tab, self._cursors)
        self._show(*page_data)
        return self._tab_event()

    def _tab_event(self) -> Any:
        """What brings the tab that has a state of its own."""
        if self.tab == "billing":
            return TenantBillingState.load(self._current_reason())
        return TenantRightsState.load if self.tab == "rights" else None

    def _apply_address(self, tenant_id: str) -> None:
        """`?tab=audit&request=req_…` once; afterwards what the person chose on the page counts."""
        query = dict(self.router.url.query_parameters)
        tab, request = str(query.get("tab", "")), str(query.get("request", ""))
        if (address := f"{tenant_id} {tab} {request}") != self._last_address:
            self._last_address, self._cursors = address, []
            self.tab = tab if tab in TABS else self.tab
            self.request = request if is_id("req", request) else ""

    def _clear_page(self) -> None:
        """Another tenant's page: nothing of the last one stays, its reason neither."""
        self.loaded, self.header, self.steps, self.has_open_steps = False, TenantHeader(), [], False
        self.tab, self.dialog, self.request, self._cursors = "overview", "", "", []
        self._end_visit()

    def _end_visit(self) -> None:
        self.is_visit_open, self.reason, self._visit_until, self.members, self.events = (
            False,
            "",
            None,
            [],
            [],
        )

    def _current_reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._visit_until and datetime.now(UTC) < self._visit_until else ""

    async def _read(
        self, octx: OperatorCtx, tenant_id: str, reason: str, tab: str, cursors: list[str]
    ) -> tuple[Any, ...]:
        tenant, steps = (
            await tenant_directory.get_tenant(octx, tenant_id),
            await tenant_directory.list_provisioning_steps(octx, tenant_id),
        )
        after = cursors[-1] if cursors else ""
        tab_data: Any = None
        if reason and tab == "members":
            tab_data = await tenant_directory.list_members(
                octx, tenant_id, reason, after=after, limit=PAGE_SIZE
            )
        elif reason and tab == "audit":
            tab_data = await tenant_directory.list_events(
                octx, tenant_id, reason, request_id=self.request, after=after, limit=PAGE_SIZE
            )
        return tenant, steps, tab_data

    def _show(self, tenant: TenantSummary, steps: Any, details: Any) -> None:
        self.header, self.steps = tenant_header(tenant), [provisioning_step_row(step) for step in steps]
        self.has_open_steps = tenant.steps_done < tenant.steps
        if not self._current_reason():
            self._end_visit()
        if isinstance(details, tenant_directory.TenantMemberPage):
            self.members, self._next_cursor = (
                [tenant_member_row(member) for member in details.rows],
                details.after,
            )
            self.count_text = labels.plural(len(details.rows), "person", "people")
        elif isinstance(details, audit_log.AuditEventPage):
            self.events, self._next_cursor = event_rows(details.events), details.next_cursor
            self.count_text = labels.plural(len(details.events), "event", "events")
        self.has_next, self.has_previous = bool(self._next_cursor), bool(self._cursors)
        self.loaded = True

    async def _reload(self, tab: str, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._tenant_id(), self._current_reason(), tab, cursors)
        self.tab, self._cursors, self._next_cursor = tab, cursors, ""
        self._show(*page_data)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_tab(self, tab: str) -> Any:
        await self._reload(parse_choice(tab, TABS), [])
        return self._tab_event()

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def clear_request_filter(self) -> None:
        self.request = ""
        await self._reload("audit", [])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def next_page(self) -> None:
        if self._next_cursor:
            await self._reload(self.tab, [*self._cursors, self._next_cursor])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def previous_page(self) -> None:
        await self._reload(self.tab, self._cursors[:-1])

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def start_visit(self, payload: dict[str, Any]) -> Any:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            page_data = await self._read(octx, self._tenant_id(), form.reason, self.tab, [])
        self.is_visit_open, self.reason, self._visit_until = (
            True,
            form.reason,
            datetime.now(UTC) + VISIT_DURATION,
        )
        self._cursors, self._next_cursor = [], ""
        self._show(*page_data)
        success = rx.toast.success(
            f"You can view {self.header.name} for 30 minutes.",
            description="The customer sees this in their audit log.",
        )
        return [success, self._tab_event()] if self.tab == "billing" else success

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def end_visit(self) -> Any:
        self._end_visit()
        return self._tab_event() if self.tab == "billing" else None

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def open_dialog(self, dialog: str) -> None:
        self.dialog = parse_choice(dialog, DIALOGS)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def close_dialog(self, open: bool) -> None:  # noqa: ARG002  Radix says whether; we only ever close here
        self.dialog = ""

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def suspend_tenant(self, payload: dict[str, Any]) -> EventSpec:
        form = TenantSwitchForm.read(payload)
        check_confirmation(self.header.name, form.confirm)
        async with self._ctx() as octx:
            await tenant_directory.suspend_tenant(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(
            page_data,
            f"Suspended {self.header.name}.",
            "Members can't open it and its jobs wait until you restore it.",
        )

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def restore_tenant(self, payload: dict[str, Any]) -> EventSpec:
        form = TenantSwitchForm.read(payload)
        check_confirmation(self.header.name, form.confirm)
        async with self._ctx() as octx:
            await tenant_directory.restore_tenant(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(
            page_data, f"Restored {self.header.name}.", "Members can sign in again with their previous roles."
        )

    @rx.event
    @needs(actions.OP_TENANT_RESUME)
    async def resume_provisioning(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await tenant_directory.resume_provisioning(octx, self._tenant_id(), form.reason)
            page_data = await self._read(
                octx, self._tenant_id(), self._current_reason(), self.tab, self._cursors
            )
        return self._finish(page_data, "Retrying unfinished steps.", "Updates automatically.")

    def _finish(self, page_data: tuple[Any, ...], title: str, detail: str) -> EventSpec:
        self._show(*page_data)
        self.dialog = ""
        return rx.toast.success(title, description=detail)
