"""State of a webhook's page."""

from collections.abc import Sequence
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.pages.webhook.rows import (
    BillingEventRow,
    WebhookDetail,
    billing_event_row,
    webhook_detail,
)
from admin_app.shell import PageState
from admin_app.visit_state import VisitState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import webhook_inbox
from shared.backoffice.reasons import Reason, state_reason
from shared.core.context import OperatorCtx
from shared.ui.authorize import needs
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm
from shared.ui.object_state import ObjectState


class WebhookState(VisitState, DialogState, ObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_WEBHOOK_READ
    dialogs: ClassVar[Sequence[str]] = ("replay",)
    loaded: bool = False
    detail: WebhookDetail = WebhookDetail()
    payload: str = ""
    effects: list[BillingEventRow] = []

    @rx.event
    @needs(actions.OP_WEBHOOK_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(WebhookState.load, "webhooks", "billing") as octx:
            await self._read(octx, self._current_reason())

    async def _read(self, octx: OperatorCtx, reason: Reason | None) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        received = await webhook_inbox.get_webhook(octx, *self._shown_key())
        contents = await webhook_inbox.read_content(octx, *self._shown_key(), reason) if reason else None
        self.detail, self.loaded = webhook_detail(received), True
        if contents is None:
            self._end_visit()
        else:
            self.payload, self.effects = (
                contents.payload,
                [billing_event_row(event) for event in contents.effects],
            )

    def _end_visit(self) -> None:
        self._close_visit()
        self.payload, self.effects = "", []

    def _shown_key(self) -> tuple[str, str]:
        """Account and event that are shown; unchecked."""
        return addresses.parse_webhook_path(self._shown_path)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def start_visit(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            reason = state_reason(octx, form.reason)
            await self._read(octx, reason)
        self._open_visit(reason)
        audit_note = (
            f"Recorded in the audit log of {self.detail.tenant}."
            if self.detail.tenant
            else "Recorded in the operator audit log."
        )
        return rx.toast.success("You can view this webhook for 30 minutes.", description=audit_note)

    @rx.event
    @needs(actions.OP_WEBHOOK_READ)
    async def end_visit(self) -> None:
        self._end_visit()

    @rx.event
    @needs(actions.OP_WEBHOOK_REPLAY)
    async def replay_webhook(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        account_id, event_id = self._shown_key()
        async with self._change_page() as octx:
            await webhook_inbox.replay(octx, account_id, event_id, state_reason(octx, form.reason))
            await self._read(octx, self._current_reason())
        self._close_dialog()
        return rx.toast.success("Webhook queued again.", description="Updates automatically.")
