"""/mail: addresses that get no more mail, with the reason, and what lifts it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app.frame import page
from admin_app.shell import PageState, is_allowed
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import mail_suppressions
from shared.backoffice.mail_suppressions import SuppressedAddress
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.core.paging import Page
from shared.core.plurals import plural
from shared.jobs.models import SuppressionCause
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button, search_input
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm, dialog_opener, form_dialog, reason_field
from shared.ui.forms import parse_line
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Address"),
    Column("Reason"),
    Column("Not sent", align_end=True, hidden_on_phone=True),
    Column("Since", align_end=True, hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
]
CAUSES = {
    SuppressionCause.COMPLAINT: ("Complaint", "wait"),
    SuppressionCause.HARD_BOUNCE: ("Hard bounce", "bad"),
}
PAGE_SIZE, MAX_ADDRESS_LENGTH = 50, 254


@dataclass(frozen=True, kw_only=True)
class AddressRow:
    address: str
    cause: str
    tone: str
    detail: str
    unsent: str
    last_template: str
    suppressed_at: str


def address_row(suppressed: SuppressedAddress) -> AddressRow:
    cause, tone = CAUSES[suppressed.cause]
    template = suppressed.last_unsent_template.replace("_", " ")
    return AddressRow(
        address=suppressed.address,
        cause=cause,
        tone=tone,
        detail=suppressed.detail,
        unsent=plural(suppressed.unsent_count, "email"),
        last_template=f"Latest: {template}" if template else "",
        suppressed_at=suppressed.suppressed_at.isoformat(),
    )


class MailState(ListState, DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_MAIL_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_MAIL_LIFT
    row_dialogs: ClassVar[Sequence[str]] = ("lift",)
    loaded: bool = False
    rows: list[AddressRow] = []
    query: str = ""
    chosen: str = ""  # the address of the open dialog

    @rx.event
    @needs(actions.OP_MAIL_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(MailState.load) as octx:
            addresses = await self._read(octx)
        self._show(addresses)

    async def _read(self, octx: OperatorCtx) -> Page[SuppressedAddress]:
        return await mail_suppressions.list_suppressed(
            octx, address=self.query, after=self._cursor(), limit=PAGE_SIZE
        )

    def _show(self, addresses: Page[SuppressedAddress]) -> None:
        self.rows = [address_row(suppressed) for suppressed in addresses.rows]
        self._show_page(addresses, "address", "addresses")
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            addresses = await self._read(octx)
        self._show(addresses)

    @rx.event
    @needs(actions.OP_MAIL_READ)
    async def find_address(self, query: str) -> None:
        await self._show_first_page(query=parse_line(query, MAX_ADDRESS_LENGTH))

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  there is one
        if row_id not in {row.address for row in self.rows}:
            raise Invalid("The page has changed.", "Reload and try again.")
        self.chosen = row_id

    @rx.event
    @needs(actions.OP_MAIL_LIFT)
    async def lift_suppression(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._change_page() as octx:
            await mail_suppressions.lift(octx, self.chosen, state_reason(octx, form.reason))
            addresses = await self._read(octx)
        self._show(addresses)
        self._close_dialog()
        return rx.toast.success("This address gets mail again.")


def address_line(row: AddressRow) -> rx.Component:
    lift = button(
        "Lift",
        kind="quiet",
        **dialog_opener(MailState, "lift", row.address),
        aria_label=f"Send mail to {row.address} again",
    )
    return table_row(
        COLUMNS,
        text_with_note(strong(row.address), small(row.detail, class_name="cut-anywhere")),
        badge(row.cause, row.tone),
        text_with_note(rx.el.span(row.unsent), small(row.last_template)),
        local_time(row.suppressed_at, "", "ago"),
        rx.cond(is_allowed(actions.OP_MAIL_LIFT), rx.el.div(lift, class_name="row to-end")),
    )


@rx.page(route="/mail", title="Mail · Operator", on_load=MailState.load)
def mail_page() -> rx.Component:
    nothing = empty_state(
        "No suppressed addresses",
        "Addresses appear here when the mail provider reports a hard bounce or a complaint.",
        glyph="mail-check",
    )
    table = data_table("Addresses", COLUMNS, rx.foreach(MailState.rows, address_line), test_id="addresses")
    content = rx.cond(has_items(MailState.rows), rx.fragment(table, list_pager(MailState)), nothing)
    search = search_input(
        "Find an address", on_change=MailState.find_address.debounce(300), max_length=MAX_ADDRESS_LENGTH
    )
    dialog = form_dialog(
        MailState,
        "lift",
        "Send mail to this address again?",
        rx.fragment(
            MailState.chosen,
            " gets mail again. If the mailbox doesn’t exist, the next email bounces and the address is suppressed again.",
        ),
        reason_field("lift", OPERATOR_AUDIT_HINT),
        confirm="Lift",
        submit=MailState.lift_suppression,
    )
    return page(
        page_header("Mail", description="Addresses that get no email, or only essential email."),
        rx.el.div(search, class_name="filters", data_few="true"),
        panel(rx.cond(MailState.loaded, content, skeleton_rows(3)), name="Suppressed addresses"),
        dialog,
        current="Mail",
        load=MailState.load,
    )
