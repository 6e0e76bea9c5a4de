"""/approvals: what operators want to do and a second one has to approve, and what was decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import reflex as rx

from admin_app import labels
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import approvals
from shared.backoffice.approvals import TOPIC, ApprovalView
from shared.backoffice.models import ApprovalState
from shared.core.context import OperatorCtx
from shared.core.paging import Page
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import select
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

PAGE_SIZE = 25
COLUMNS = [
    Column("Request"),
    Column("Asked by"),
    Column("Status"),
    Column("Until", hidden_on_phone=True),
]
SHOWN = {"waiting": "Waiting", "decided": "Decided"}


@dataclass(frozen=True, kw_only=True)
class ApprovalRow:
    id: str
    subject: str
    action: str
    requested_by: str
    requested_at: str
    status: str
    tone: str
    until: str


def approval_row(view: ApprovalView) -> ApprovalRow:
    status, tone = labels.APPROVAL_LABELS[view.state]
    until = view.expires_at if view.state is ApprovalState.WAITING else view.decided_at or view.expires_at
    return ApprovalRow(
        id=view.id,
        subject=view.subject,
        action=f"{view.action.description[:1].upper()}{view.action.description[1:]}",
        requested_by="You" if view.is_own else view.requested_by_name,
        requested_at=view.requested_at.isoformat(),
        status=status,
        tone=tone,
        until=until.isoformat(),
    )


class ApprovalsState(ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_APPROVAL_READ
    loaded: bool = False
    shown: str = "waiting"
    rows: list[ApprovalRow] = []

    @rx.event
    @needs(actions.OP_APPROVAL_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(ApprovalsState.load, TOPIC) as octx:
            approval_page = await self._read(octx)
        self._show(approval_page)

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            approval_page = await self._read(octx)
        self._show(approval_page)

    async def _read(self, octx: OperatorCtx) -> Page[ApprovalView]:
        return await approvals.list_approvals(
            octx, waiting=self.shown == "waiting", after=self._cursor(), limit=PAGE_SIZE
        )

    def _show(self, approval_page: Page[ApprovalView]) -> None:
        self.rows = [approval_row(view) for view in approval_page.rows]
        self._show_page(approval_page, "request")
        self.loaded = True

    @rx.event
    @needs(actions.OP_APPROVAL_READ)
    async def choose_shown(self, shown: str) -> None:
        await self._show_first_page(shown=parse_choice(shown, SHOWN))


def approval_line(row: ApprovalRow) -> rx.Component:
    return table_row(
        COLUMNS,
        text_with_note(
            link(row.subject, f"/approvals/{row.id}", class_name="plain-link strong"), small(row.action)
        ),
        text_with_note(row.requested_by, small(local_time(row.requested_at, "", "ago"))),
        badge(row.status, row.tone),
        local_time(row.until, "", "moment"),
    )


@rx.page(route="/approvals", title="Approvals · Operator", on_load=ApprovalsState.load)
def approvals_page() -> rx.Component:
    state = ApprovalsState
    choices: Sequence[tuple[str, str]] = list(SHOWN.items())
    filters = rx.el.div(
        select("Show", choices, value=state.shown, on_change=state.choose_shown), class_name="row wrap"
    )
    nothing = empty_state(
        "No requests",
        "Plans, prices, flags for everyone and deletions of tenants wait here for a second operator.",
        glyph="user-check",
    )
    table = data_table("Approvals", COLUMNS, rx.foreach(state.rows, approval_line), test_id="approvals")
    content = rx.cond(has_items(state.rows), rx.fragment(table, list_pager(state)), nothing)
    return page(
        page_header(
            "Approvals", description="Changes that take effect when a second operator approves them."
        ),
        rx.el.div(
            filters,
            panel(rx.cond(state.loaded, content, skeleton_rows(4)), name="Approvals"),
            class_name="section",
        ),
        current="Approvals",
        load=state.load,
    )
