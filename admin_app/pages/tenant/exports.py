"""Exports of all data of a tenant, on the tab Audit of its page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.shell import PageState, guard_control, is_allowed
from admin_app.tenant_header import TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_exports
from shared.backoffice.tenant_exports import TenantExport
from shared.core.plurals import plural
from shared.files.models import ExportState
from shared.ui.authorize import needs
from shared.ui.banners import local_time
from shared.ui.controls import button
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm, dialog_opener, form_dialog, reason_field
from shared.ui.panels import panel, small
from shared.ui.shell import link
from shared.ui.tables import badge, has_items

STATE_BADGES = {
    ExportState.WAITING: ("Waiting", "wait"),
    ExportState.RUNNING: ("Running", "wait"),
    ExportState.READY: ("Ready", "ok"),
    ExportState.FAILED: ("Failed", "bad"),
    ExportState.CANCELLED: ("Cancelled", "idle"),
}


@dataclass(frozen=True, kw_only=True)
class TenantExportRow:
    id: str
    state: str
    tone: str
    note: str
    at: str
    path: str


def export_row(export: TenantExport) -> TenantExportRow:
    state, tone = STATE_BADGES[export.state]
    return TenantExportRow(
        id=export.id,
        state=state,
        tone=tone,
        note=export.problem or plural(export.row_count, "row"),
        at=export.created_at.isoformat(),
        path=export.path,
    )


class TenantExportsState(DialogState, TenantObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    dialogs: ClassVar[Sequence[str]] = ("export",)
    exports: list[TenantExportRow] = []

    @rx.event
    @needs(actions.OP_TENANT_READ, part=True)
    async def load(self) -> None:
        """As of the members."""
        tenant_id = self._tenant_id()
        visit = await self.get_state(TenantVisitState)
        self.exports = []
        if not (reason := visit._reason_for(tenant_id)):
            return
        async with self._ctx() as octx:
            exports = await tenant_exports.list_exports(octx, tenant_id, reason)
        self.exports = [export_row(export) for export in exports]

    @rx.event
    @needs(actions.OP_TENANT_EXPORT)
    async def start_export(self, payload: dict[str, Any]) -> list[Any]:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await tenant_exports.request(octx, self._tenant_id(), self._state_reason(octx, form.reason))
        self._close_dialog()
        toast: EventSpec = rx.toast.success("The export is being made.", description="Updates automatically.")
        return [TenantExportsState.load, toast]


def exports_panel() -> rx.Component:
    state = TenantExportsState

    def line(export: TenantExportRow) -> rx.Component:
        download = link("Download", export.path, class_name="link small nowrap", target="_blank")
        return rx.el.li(
            rx.el.div(
                badge(export.state, export.tone),
                small(export.note, " · ", local_time(export.at, "", "moment")),
                class_name="two",
            ),
            rx.cond(export.path != "", download),
        )

    export_button = guard_control(
        actions.OP_TENANT_EXPORT,
        button(
            "Export all data", glyph="download", **dialog_opener(state, "export"), data_testid="export-all"
        ),
        "Export all data",
        glyph="download",
        id="refused-export",
    )
    exports = rx.el.ul(rx.foreach(state.exports, line), class_name="list", data_testid="tenant-exports")
    nothing = rx.el.div(small("You have no export of this organisation."), class_name="body")
    content = rx.cond(has_items(state.exports), exports, nothing)
    return rx.cond(
        is_allowed(actions.OP_TENANT_EXPORT), panel(content, title="Your exports", aside=export_button)
    )


def export_dialog() -> rx.Component:
    state = TenantExportsState
    return form_dialog(
        state,
        "export",
        "Export all data",
        "A file with every row of this organisation, without secrets. Only you can download it, for 7 days. Its members see the"
        " export and its reason in their audit log.",
        reason_field("export", example="The customer asked for a copy, ticket 4471"),
        confirm="Export",
        submit=state.start_export,
    )
