"""/invoices: what every tenant owes and has paid, for a reason."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, billing_words, confirming, words
from admin_app.confirming import FOR_US, Reason
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.billing import desk
from shared.billing.desk import ListedInvoice
from shared.core.ctx import OperatorCtx
from shared.tenancy.entry import LOOK_LASTS
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import search, select
from shared.ui.form_model import Form, a_line, a_word
from shared.ui.gate import needs
from shared.ui.hull import hull, small
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, pager, row, some

COLUMNS = [
    Column("Invoice"),
    Column("Tenant", less=True),
    Column("Status"),
    Column("Due", end=True, less=True),
    Column("Total", end=True),
    Column("Date", end=True, less=True),
]
CHOICES = [("", "All states"), *((key, words_[0]) for key, words_ in billing_words.INVOICE.items())]
PAGE = 50


class ReasonForm(Form):
    reason: Reason


@dataclass(frozen=True)
class InvoiceRow:
    id: str
    number: str
    href: str  # of the provider's page for it
    tenant: str
    tenant_href: str
    status: str
    tone: str
    due: str
    total: str
    at: str


def invoice_row(one: ListedInvoice) -> InvoiceRow:
    found = one.invoice
    word, tone = billing_words.invoice(found.status)
    return InvoiceRow(
        found.id,
        found.number or "No number yet",
        found.page_url,
        one.tenant,
        addresses.billing(found.tenant_id),
        word,
        tone,
        billing_words.amount(found.due, found.currency) if found.due else "",
        billing_words.amount(found.total, found.currency),
        found.created_at.isoformat(),
    )


class InvoicesState(PageState):
    loaded: bool = False
    inside: bool = False  # a reason has been given and still counts
    reason: str = ""
    rows: list[InvoiceRow] = []
    status: str = ""
    query: str = ""
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    _until: datetime | None = None  # until when the reason counts
    _cursors: list[str] = []  # of the pages before this one; the last is this page's own
    _next: str = ""

    @rx.event
    @needs(actions.OP_BILLING_READ, page=True)
    async def load(self) -> None:
        async with self._open(InvoicesState.load, "billing") as octx:
            await self._read(octx, self._reason(), self.status, self.query, self._cursors)

    async def _read(
        self, octx: OperatorCtx, reason: str, status: str, query: str, cursors: list[str]
    ) -> None:
        """Reads and then shows: a refusal leaves the page as it was."""
        found = desk.InvoicesPage(())
        if reason:
            after = cursors[-1] if cursors else ""
            found = await desk.list_invoices(octx, reason, status, query=query, after=after, limit=PAGE)
        self.rows = [invoice_row(one) for one in found.rows]
        self.status, self.query, self._cursors, self._next = status, query, cursors, found.after
        self.inside, self.reason = bool(reason), reason
        self.has_next, self.has_previous = bool(found.after), bool(cursors)
        self.said = words.some_of(len(self.rows), "invoice", "invoices")
        self.loaded = True

    def _reason(self) -> str:
        """ "" when none was given, or too long ago."""
        return self.reason if self._until and datetime.now(UTC) < self._until else ""

    async def _turn(self, status: str, query: str, cursors: list[str]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, self._reason(), status, query, cursors)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def enter(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            await self._read(octx, form.reason, "", "", [])
        self._until = datetime.now(UTC) + LOOK_LASTS
        return rx.toast.success(
            "You are reading across tenants.", description="The operators' trail says so."
        )

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def leave(self) -> None:
        self._until = None
        await self._turn("", "", [])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def look_for(self, query: str) -> None:
        await self._turn(self.status, a_line(query), [])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def choose_status(self, status: str) -> None:
        await self._turn(a_word(status, ("", *desk.INVOICE_STATUSES)), self.query, [])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def next(self) -> None:
        if self._next:
            await self._turn(self.status, self.query, [*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def previous(self) -> None:
        await self._turn(self.status, self.query, self._cursors[:-1])


def invoice_line(one: InvoiceRow) -> rx.Component:
    number = rx.cond(
        one.href != "",
        link(one.number, one.href, class_name="strong", target="_blank"),
        rx.el.span(one.number, class_name="strong"),
    )
    name = rx.el.div(
        number,
        small(rx.el.code(one.id, class_name="mono"), class_name="cut-anywhere"),
        small(link(one.tenant, one.tenant_href, class_name="plain-link"), " · ", when(one.at, "", "day"),
              class_name="only-small"),
        class_name="two",
    )  # fmt: skip
    return row(
        COLUMNS,
        name,
        link(one.tenant, one.tenant_href, class_name="plain-link"),
        badge(one.status, one.tone),
        one.due,
        one.total,
        when(one.at, "", "day"),
    )


def listed() -> rx.Component:
    state = InvoicesState
    find = search(
        "Search by number, tenant or id",
        default_value=state.query,
        on_change=state.look_for.debounce(200),
        max_length=200,
    )
    chosen = select("State", CHOICES, value=state.status, on_change=state.choose_status)
    nothing = rx.cond(
        (state.query != "") | (state.status != ""),
        empty(
            "No invoice matches",
            "The search looks at whole numbers and ids, and at names of tenants.",
            glyph="search-x",
        ),
        empty("No invoices yet", "The first one comes when somebody has subscribed.", glyph="receipt-text"),
    )
    foot = pager(
        state.said,
        older=state.next,
        newer=state.previous,
        has_older=state.has_next,
        has_newer=state.has_previous,
    )
    table = data_table(
        "Invoices", COLUMNS, rx.foreach(state.rows, invoice_line), foot=foot, test_id="invoices"
    )
    return rx.el.div(
        confirming.looking("Reading across tenants: ", state.reason, state.leave),
        rx.el.div(find, chosen, class_name="row wrap"),
        hull(rx.cond(some(state.rows), table, nothing), name="Invoices"),
        class_name="section",
    )


@rx.page(route="/invoices", title="Invoices · Operator", on_load=InvoicesState.load)
def invoices() -> rx.Component:
    door = confirming.door(
        "Why do you read everybody's invoices?",
        InvoicesState.enter,
        hint=f"{FOR_US} It counts for 30 minutes.",
        example="Month end, what is still open",
        label="Read across tenants",
    )
    loading = hull(skeleton_rows(5), name="Invoices")
    return page(
        head("Invoices", said="Of every tenant, as last seen at the payment provider."),
        rx.cond(InvoicesState.loaded, rx.cond(InvoicesState.inside, listed(), door), loading),
        current="Invoices",
        load=InvoicesState.load,
    )
