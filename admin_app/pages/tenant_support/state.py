"""State of the tab Support of a tenant's page."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.pages.tenant_support.session_form import open_tenant
from admin_app.shell import PageState
from admin_app.tenant_header import TenantObjectState
from admin_app.visit_state import TenantVisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import impersonations
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.forms import parse_id
from shared.ui.list_state import ListState
from shared.ui.support_rows import SupportRow, TranscriptRow, support_row, transcript_row

PAGE_SIZE = 25


class TenantSupportState(DialogState, ListState, TenantObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_TENANT_READ
    filled_dialogs: ClassVar[Sequence[str]] = ("transcript",)
    rows: list[SupportRow] = []
    transcript: TranscriptRow = TranscriptRow()

    @rx.event
    @needs(actions.OP_TENANT_READ, page=True)
    async def load(self) -> None:
        """As of the members: without a reason nothing is shown."""
        await self._reload()

    async def _reload(self) -> None:
        tenant_id = self._tenant_id()
        visit = await self.get_state(TenantVisitState)
        if not (reason := visit._reason_for(tenant_id)):
            self.rows, self._cursors = [], []
            return
        async with self._ctx() as octx:
            sessions = await impersonations.list_impersonations(
                octx, tenant_id, reason, after=self._cursor(), limit=PAGE_SIZE
            )
        self.rows = [support_row(view, operator_id=octx.actor_id) for view in sessions.rows]
        self._show_page(sessions, "session")

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  it has one
        visit = await self.get_state(TenantVisitState)
        if reason := visit._reason_for(self._tenant_id()):
            async with self._ctx() as octx:
                transcript = await impersonations.get_transcript(
                    octx, self._tenant_id(), parse_id("imp", row_id), reason
                )
            self.transcript = transcript_row(transcript)

    @rx.event
    @needs(actions.OP_IMPERSONATE)
    async def begin_support_session(self, impersonation_id: str) -> EventSpec:
        async with self._ctx() as octx:
            requested = await impersonations.begin(octx, self._tenant_id(), parse_id("imp", impersonation_id))
        return open_tenant(requested)

    @rx.event
    @needs(actions.OP_IMPERSONATE)
    async def end_support_session(self, impersonation_id: str) -> list[Any]:
        async with self._quiet_ctx() as octx:
            await impersonations.end(octx, self._tenant_id(), parse_id("imp", impersonation_id))
        return [TenantSupportState.load, rx.toast.success("Ended the support session.")]
