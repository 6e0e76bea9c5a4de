"""/recovery: people who lost their second factor. An operator starts the waiting time with a reason, or declines."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.frame import page
from admin_app.shell import PageState, is_allowed
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import factor_resets
from shared.backoffice.reasons import Reason, state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.plurals import plural
from shared.identity.factor_resets import TOPIC, PersonsReset, get_waiting_time
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm, dialog_opener, form_dialog, reason_field
from shared.ui.forms import parse_id
from shared.ui.panels import panel, small, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import Column, badge, data_table, has_items, initials_of, person_cell, table_row

COLUMNS = [
    Column("Person"),
    Column("Status"),
    Column("Requested", hidden_on_phone=True),
    Column("Removed at", hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]

Answer = Callable[[OperatorCtx, str, Reason], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class ResetRow:
    id: str = ""
    name: str = ""
    email: str = ""
    initials: str = ""
    status: str = ""
    tone: str = ""
    started_by: str = ""
    requested_at: str = ""
    due_at: str = ""


def reset_row(reset: PersonsReset) -> ResetRow:
    status, tone = ("Waiting time", "wait") if reset.due_at else ("Requested", "accent")
    return ResetRow(
        id=reset.id,
        name=reset.name,
        email=reset.email,
        initials=initials_of(reset.name),
        status=status,
        tone=tone,
        started_by=f"Started by {reset.started_by}" if reset.started_by else "",
        requested_at=reset.requested_at.isoformat(),
        due_at=reset.due_at.isoformat() if reset.due_at else "",
    )


class RecoveryState(DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_USER_READ_RESETS
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_USER_RESET_FACTOR
    row_dialogs: ClassVar[Sequence[str]] = ("start", "decline")
    loaded: bool = False
    hours: str = ""
    rows: list[ResetRow] = []
    hidden_text: str = ""
    subject: ResetRow = ResetRow()

    @rx.event
    @needs(actions.OP_USER_READ_RESETS, page=True)
    async def load(self) -> None:
        async with self._open_page(RecoveryState.load, TOPIC) as octx:
            await self._read(octx)

    async def _read(self, octx: OperatorCtx) -> None:
        resets = await factor_resets.list_open(octx)
        self.rows = [reset_row(reset) for reset in resets.listed]
        hidden = plural(resets.hidden_count, "newer request")
        self.hidden_text = f"{hidden} will be listed once these are answered." if resets.hidden_count else ""
        self.hours = f"{int(get_waiting_time().total_seconds()) // 3600} h"
        self.loaded = True

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  both are about a request
        rows = {reset.id: reset for reset in self.rows}
        if parse_id("frs", row_id) not in rows:
            raise Invalid("This request is no longer in the list.", "Reload the page.")
        self.subject = rows[row_id]

    @rx.event
    @needs(actions.OP_USER_RESET_FACTOR)
    async def start_reset(self, payload: dict[str, Any]) -> EventSpec:
        await self._answer_request(ReasonForm.read(payload), factor_resets.start)
        return self._finish("Started the waiting time.")

    @rx.event
    @needs(actions.OP_USER_RESET_FACTOR)
    async def decline_reset(self, payload: dict[str, Any]) -> EventSpec:
        await self._answer_request(ReasonForm.read(payload), factor_resets.decline)
        return self._finish("Declined the request.")

    async def _answer_request(self, form: ReasonForm, answer: Answer) -> None:
        async with self._change_page() as octx:
            await answer(octx, parse_id("frs", self.subject.id), state_reason(octx, form.reason))
            await self._read(octx)

    def _finish(self, title: str) -> EventSpec:
        self._close_dialog()
        return rx.toast.success(title, description=f"We’ve emailed {self.subject.email}.")


def reset_line(reset: ResetRow) -> rx.Component:
    start = button(
        "Start",
        **dialog_opener(RecoveryState, "start", reset.id),
        aria_label=f"Start the reset for {reset.name}",
    )
    decline = button(
        "Decline",
        kind="quiet",
        **dialog_opener(RecoveryState, "decline", reset.id),
        aria_label=f"Decline the reset for {reset.name}",
    )
    due = rx.cond(reset.due_at != "", local_time(reset.due_at, "", "moment"), rx.el.span("–"))
    return table_row(
        COLUMNS,
        person_cell(reset.name, reset.email, reset.initials, reset.status),
        text_with_note(badge(reset.status, reset.tone), small(reset.started_by)),
        local_time(reset.requested_at, "", "ago"),
        due,
        rx.cond(
            is_allowed(actions.OP_USER_RESET_FACTOR),
            rx.el.div(rx.cond(reset.due_at == "", start), decline, class_name="row to-end"),
        ),
    )


def recovery_dialogs() -> rx.Component:
    start = form_dialog(
        RecoveryState,
        "start",
        rx.fragment("Remove the second factor of ", RecoveryState.subject.name),
        rx.fragment(
            "Make sure that it’s them first. ",
            RecoveryState.subject.email,
            " is emailed now and can cancel. The factor is removed after ",
            RecoveryState.hours,
            ", and all their devices are signed out.",
        ),
        reason_field("start", OPERATOR_AUDIT_HINT),
        confirm="Start waiting time",
        submit=RecoveryState.start_reset,
        kind="danger-fill",
    )
    decline = form_dialog(
        RecoveryState,
        "decline",
        rx.fragment("Decline the request of ", RecoveryState.subject.name),
        "Two-step sign-in stays on. They’re emailed and can ask again.",
        reason_field("decline", OPERATOR_AUDIT_HINT),
        confirm="Decline",
        submit=RecoveryState.decline_reset,
    )
    return rx.fragment(start, decline)


@rx.page(route="/recovery", title="Recovery · Operator", on_load=RecoveryState.load)
def recovery_page() -> rx.Component:
    nothing = empty_state(
        "No requests", "People who lost their second factor ask for it when they sign in.", glyph="key-round"
    )
    table = data_table("Requests", COLUMNS, rx.foreach(RecoveryState.rows, reset_line), test_id="resets")
    hidden = rx.cond(RecoveryState.hidden_text != "", small(RecoveryState.hidden_text))
    content = rx.cond(has_items(RecoveryState.rows), rx.fragment(table, hidden), nothing)
    return page(
        page_header("Recovery", description="People who know their password and lost their second factor."),
        panel(rx.cond(RecoveryState.loaded, content, skeleton_rows(2)), name="Requests"),
        recovery_dialogs(),
        current="Recovery",
        load=RecoveryState.load,
    )
