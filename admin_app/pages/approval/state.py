"""State of the page of one request for approval."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approvals
from shared.backoffice.approval_kinds import PreviewLine
from shared.backoffice.approvals import TOPIC, ApprovalDetail, ApprovalView
from shared.backoffice.models import ApprovalState
from shared.core.context import OperatorCtx
from shared.core.errors import NotFound
from shared.core.ids import is_id
from shared.ui.authorize import needs
from shared.ui.decision_trace import Change
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import ReasonForm
from shared.ui.object_state import ObjectState

Decide = Callable[[OperatorCtx, str, str], Awaitable[ApprovalView]]


@dataclass(frozen=True, kw_only=True)
class RequestFacts:
    id: str = ""
    subject: str = ""
    action: str = ""
    reason: str = ""
    requested_by: str = ""
    requested_at: str = ""
    expires_at: str = ""
    status: str = ""
    tone: str = ""
    decided_by: str = ""
    decided_at: str = ""
    decision_reason: str = ""
    obstacle: str = ""
    is_waiting: bool = False
    is_own: bool = False


def request_facts(detail: ApprovalDetail) -> RequestFacts:
    view = detail.view
    status, tone = labels.APPROVAL_LABELS[view.state]
    return RequestFacts(
        id=view.id,
        subject=view.subject,
        action=f"{view.action.description[:1].upper()}{view.action.description[1:]}",
        reason=view.reason,
        requested_by=view.requested_by_name,
        requested_at=view.requested_at.isoformat(),
        expires_at=view.expires_at.isoformat(),
        status=status,
        tone=tone,
        decided_by=view.decided_by_name,
        decided_at=labels.iso_or_empty(view.decided_at),
        decision_reason=view.decision_reason,
        obstacle=detail.obstacle,
        is_waiting=view.state is ApprovalState.WAITING,
        is_own=view.is_own,
    )


def preview_changes(lines: Sequence[PreviewLine]) -> list[Change]:
    return [Change(line.label, line.before, line.after) for line in lines]


class ApprovalPageState(DialogState, ObjectState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_APPROVAL_READ
    dialogs: ClassVar[Sequence[str]] = ("approve", "decline", "withdraw")
    loaded: bool = False
    facts: RequestFacts = RequestFacts()
    lines: list[Change] = []
    effects: list[Change] = []

    def _shown_id(self) -> str:
        """Raises NotFound for an impossible one."""
        approval_id = self._shown_path.strip("/").partition("/")[2]
        if not is_id("apr", approval_id):
            raise NotFound("This request doesn’t exist.", "Choose one from the list of approvals.")
        return approval_id

    @rx.event
    @needs(actions.OP_APPROVAL_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(ApprovalPageState.load, TOPIC) as octx:
            detail = await approvals.get_approval(octx, self._shown_id())
        self._show(detail)

    def _show(self, detail: ApprovalDetail) -> None:
        self.facts, self.loaded = request_facts(detail), True
        self.lines, self.effects = preview_changes(detail.lines), preview_changes(detail.effects)

    @rx.event
    @needs(actions.OP_APPROVAL_DECIDE)
    async def approve_request(self, payload: dict[str, Any]) -> EventSpec:
        await self._decide(ReasonForm.read(payload), approvals.approve)
        return rx.toast.success("Approved.", description="The change was carried out.")

    @rx.event
    @needs(actions.OP_APPROVAL_DECIDE)
    async def decline_request(self, payload: dict[str, Any]) -> EventSpec:
        await self._decide(ReasonForm.read(payload), approvals.decline)
        return rx.toast.success("Declined.", description="Nothing was changed.")

    @rx.event
    @needs(actions.OP_APPROVAL_READ)
    async def withdraw_request(self, payload: dict[str, Any]) -> EventSpec:
        await self._decide(ReasonForm.read(payload), approvals.withdraw)
        return rx.toast.success("Withdrawn.", description="Nothing was changed.")

    async def _decide(self, form: ReasonForm, decide: Decide) -> None:
        approval_id = self._shown_id()
        async with self._change_page() as octx:
            await decide(octx, approval_id, form.reason)
        async with self._ctx() as octx:
            detail = await approvals.get_approval(octx, approval_id)
        self._show(detail)
        self._close_dialog()
