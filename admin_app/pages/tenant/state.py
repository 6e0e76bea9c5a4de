"""State of a tenant's page."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import reflex as rx
from pydantic import Field, StringConstraints
from reflex.event import EventSpec

from admin_app.pages.tenant.exports import TenantExportsState
from admin_app.pages.tenant.lists import TenantEventsState, TenantMembersState
from admin_app.pages.tenant.timeline import TenantTimelineState
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_rights.state import TenantRightsState
from admin_app.pages.tenant_support.state import TenantSupportState
from admin_app.pages.tenant_usage.state import TenantUsageState
from admin_app.submissions import describe_outcome
from admin_app.tenant_header import TenantHeader, TenantHeaderState, TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approvals, tenant_deletions, tenant_directory
from shared.backoffice.approved_changes import TenantDeletionOrder
from shared.core.ids import is_id
from shared.offboarding.deletions import MAX_GRACE_DAYS, MIN_GRACE_DAYS
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ConfirmReasonForm, ReasonForm
from shared.ui.forms import parse_choice

TABS = {
    "overview": "Overview",
    "timeline": "Timeline",
    "rights": "Rights",
    "billing": "Billing",
    "usage": "Usage",
    "members": "Members",
    "provisioning": "Provisioning",
    "support": "Support",
    "audit": "Audit",
}


class SuspensionForm(ConfirmReasonForm):
    message: Annotated[str, StringConstraints(min_length=1, max_length=tenant_directory.MAX_MESSAGE_LENGTH)]


class DeletionForm(ConfirmReasonForm):
    grace_days: Annotated[int, Field(ge=MIN_GRACE_DAYS, le=MAX_GRACE_DAYS)]


class TenantPageState(DialogState, TenantObjectState, TenantHeaderState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    dialogs: ClassVar[Sequence[str]] = ("suspend", "restore", "resume", "delete", "keep")
    loaded: bool = False
    tab: str = "overview"
    _last_address: str = ""  # the address when it was last read

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> Any:
        tenant_id = self._tenant_id()
        await self._apply_address(tenant_id)
        topics = ("tenant", "members", "invitations", "provisioning", "billing", "usage", "usage_check")
        async with self._open_page(TenantPageState.load, *topics, tenant_id=tenant_id) as octx:
            header_data = await self._read_header(octx)
        self._show_header(*header_data)
        self.loaded = True
        return await self._tab_event()

    async def _tab_event(self) -> Any:
        """The load of the open tab, where the tab has a state of its own."""
        visit = await self.get_state(TenantVisitState)
        visit._reason_for(self._tenant_id())
        loads = {
            "timeline": TenantTimelineState.load,
            "rights": TenantRightsState.load,
            "billing": TenantBillingState.load,
            "usage": TenantUsageState.load,
            "members": TenantMembersState.load,
            "support": TenantSupportState.load,
            "audit": [TenantEventsState.load, TenantExportsState.load],
        }
        return loads.get(self.tab)

    async def _apply_address(self, tenant_id: str) -> None:
        """`?tab=audit&request=req_…` once; afterwards the choices on the page apply."""
        query = dict(self.router.url.query_parameters)
        tab, request = str(query.get("tab", "")), str(query.get("request", ""))
        if (address := f"{tenant_id} {tab} {request}") != self._last_address:
            self._last_address = address
            self.tab = tab if tab in TABS else self.tab
            events = await self.get_state(TenantEventsState)
            events._cursors, events.request = [], request if is_id("req", request) else ""

    async def _forget_object(self) -> None:
        """Clears the page, including the reason, for another tenant."""
        await super()._forget_object()
        self.header, self.steps, self.has_open_steps = TenantHeader(), [], False
        await self._end_visit()

    async def _end_visit(self) -> None:
        (await self.get_state(TenantVisitState)).reset()
        (await self.get_state(TenantMembersState)).reset()
        (await self.get_state(TenantTimelineState)).reset()
        (await self.get_state(TenantSupportState)).reset()
        (await self.get_state(TenantExportsState)).reset()
        events = await self.get_state(TenantEventsState)
        request = events.request
        events.reset()
        events.request = request

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def choose_tab(self, tab: str) -> Any:
        self.tab = parse_choice(tab, TABS)
        for tenant_list in (
            TenantMembersState,
            TenantSupportState,
            TenantEventsState,
            TenantTimelineState,
        ):
            (await self.get_state(tenant_list))._cursors = []
        return await self._tab_event()

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def start_visit(self, payload: dict[str, Any]) -> Any:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            reason = self._state_reason(octx, form.reason)
        (await self.get_state(TenantVisitState))._open_visit(reason)
        success = rx.toast.success(
            f"You can view {self.header.name} for 30 minutes.",
            description="The customer sees this in their audit log.",
        )
        return await self._with_tab_event(success)

    @rx.event
    @needs(actions.OP_TENANT_READ)
    async def end_visit(self) -> Any:
        await self._end_visit()
        return await self._tab_event() if self.tab in ("billing", "usage") else None

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def suspend_tenant(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = SuspensionForm.read(payload)
        form.check(self.header.name)
        async with self._change_page() as octx:
            await tenant_directory.suspend_tenant(
                octx, self._tenant_id(), self._state_reason(octx, form.reason), message=form.message
            )
        return await self._finish(
            f"Suspended {self.header.name}.",
            "Members can’t open it and its jobs wait until you restore it.",
        )

    @rx.event
    @needs(actions.OP_TENANT_SUSPEND)
    async def restore_tenant(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = ConfirmReasonForm.read(payload)
        form.check(self.header.name)
        async with self._change_page() as octx:
            await tenant_directory.restore_tenant(
                octx, self._tenant_id(), self._state_reason(octx, form.reason)
            )
        return await self._finish(
            f"Restored {self.header.name}.", "Members can sign in again with their previous roles."
        )

    @rx.event
    @needs(actions.OP_TENANT_DELETE)
    async def delete_tenant(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = DeletionForm.read(payload)
        form.check(self.header.name)
        async with self._change_page() as octx:
            order = TenantDeletionOrder(tenant_id=self._tenant_id(), grace_days=form.grace_days)
            reason = self._state_reason(octx, form.reason)
            submission = await approvals.submit(octx, actions.OP_TENANT_DELETE, order, reason)
        title = f"Scheduled the deletion of {self.header.name}."
        return await self._finish(
            *describe_outcome(submission, title, "Its owners get an email with the day.")
        )

    @rx.event
    @needs(actions.OP_TENANT_KEEP)
    async def keep_tenant(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_deletions.cancel(octx, self._tenant_id(), self._state_reason(octx, form.reason))
        return await self._finish(
            f"Cancelled the deletion of {self.header.name}.", "Its owners get an email."
        )

    @rx.event
    @needs(actions.OP_TENANT_RESUME)
    async def resume_provisioning(self, payload: dict[str, Any]) -> list[EventSpec]:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await tenant_directory.resume_provisioning(
                octx, self._tenant_id(), self._state_reason(octx, form.reason)
            )
        return await self._finish("Retrying unfinished steps.", "Updates automatically.")

    async def _finish(self, title: str, detail: str) -> list[EventSpec]:
        self._close_dialog()
        return await self._with_tab_event(rx.toast.success(title, description=detail))

    async def _with_tab_event(self, toast: EventSpec) -> list[EventSpec]:
        events = await self._tab_event() or []
        return [toast, *(events if isinstance(events, list) else [events])]
