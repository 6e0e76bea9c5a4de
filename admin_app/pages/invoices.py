"""/invoices: invoices of all tenants, for a reason."""

from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses, labels
from admin_app.frame import page
from admin_app.invoice_cells import invoice_cell
from admin_app.shell import PageState
from admin_app.visit_state import VisitState, visit_vars
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_billing
from shared.backoffice.reasons import state_reason
from shared.backoffice.tenant_billing import TenantInvoice
from shared.core.context import OperatorCtx
from shared.core.paging import Page
from shared.ui import dialogs
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import search_input, select
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm
from shared.ui.forms import parse_choice, parse_line
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Invoice"),
    Column("Tenant", hidden_on_phone=True),
    Column("Status"),
    Column("Due", align_end=True, hidden_on_phone=True),
    Column("Total", align_end=True),
    Column("Date", align_end=True, hidden_on_phone=True),
]
STATUS_CHOICES = [
    ("", "All states"),
    *((key, label_and_tone[0]) for key, label_and_tone in labels.INVOICE_STATUS_LABELS.items()),
]
PAGE_SIZE = 50


@dataclass(frozen=True, kw_only=True)
class ListedInvoiceRow:
    id: str
    number: str
    href: str  # of the provider's page for it
    tenant: str
    tenant_href: str
    status: str
    tone: str
    due: str
    total: str
    tax: str
    at: str


def listed_invoice_row(listed_invoice: TenantInvoice) -> ListedInvoiceRow:
    invoice = listed_invoice.invoice
    status_label, tone = labels.invoice_badge(invoice.status)
    return ListedInvoiceRow(
        id=invoice.id,
        number=invoice.number or "No number yet",
        href=invoice.page_url,
        tenant=listed_invoice.tenant_name,
        tenant_href=addresses.billing_url(invoice.tenant_id),
        status=status_label,
        tone=tone,
        due=labels.format_amount(invoice.due, invoice.currency) if invoice.due else "",
        total=labels.format_amount(invoice.total, invoice.currency),
        tax=labels.describe_tax(invoice.tax, invoice.included_tax, invoice.currency),
        at=invoice.created_at.isoformat(),
    )


class InvoicesState(VisitState, ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_BILLING_READ
    loaded: bool = False
    rows: list[ListedInvoiceRow] = []
    status: str = ""
    query: str = ""

    @rx.event
    @needs(actions.OP_BILLING_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(InvoicesState.load, "billing") as octx:
            invoice_page = await self._read(octx)
        self._show(invoice_page)

    async def _read(self, octx: OperatorCtx) -> Page[TenantInvoice] | None:
        """None without a reason."""
        if not (reason := self._current_reason()):
            return None
        return await tenant_billing.list_invoices(
            octx,
            reason,
            self.status,
            query=self.query,
            after=self._cursor(),
            limit=PAGE_SIZE,
        )

    def _show(self, invoice_page: Page[TenantInvoice] | None) -> None:
        if invoice_page is None:
            self._close_visit()
            invoice_page = Page(rows=())
        self.rows = [listed_invoice_row(listed_invoice) for listed_invoice in invoice_page.rows]
        self._show_page(invoice_page, "invoice")
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            invoice_page = await self._read(octx)
        self._show(invoice_page)

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def start_visit(self, payload: dict[str, Any]) -> EventSpec:
        form = ReasonForm.read(payload)
        async with self._ctx() as octx:
            reason = state_reason(octx, form.reason)
        await self._show_first_page(**visit_vars(reason), status="", query="")
        return rx.toast.success(
            "You can view all tenants for 30 minutes.", description="Recorded in the operator audit log."
        )

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def end_visit(self) -> None:
        self._close_visit()
        await self._show_first_page(status="", query="")

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def search_invoices(self, query: str) -> None:
        await self._show_first_page(query=parse_line(query))

    @rx.event
    @needs(actions.OP_BILLING_READ)
    async def choose_status(self, status: str) -> None:
        await self._show_first_page(status=parse_choice(status, ("", *tenant_billing.INVOICE_STATUSES)))


def invoice_line(invoice: ListedInvoiceRow) -> rx.Component:
    tenant_link = link(invoice.tenant, invoice.tenant_href, class_name="plain-link")
    name = invoice_cell(invoice, tenant_link, " · ", local_time(invoice.at, "", "day"))
    return table_row(
        COLUMNS,
        name,
        link(invoice.tenant, invoice.tenant_href, class_name="plain-link"),
        badge(invoice.status, invoice.tone),
        invoice.due,
        amount_with_tax(invoice),
        local_time(invoice.at, "", "day"),
    )


def amount_with_tax(invoice: ListedInvoiceRow) -> rx.Component:
    return rx.fragment(invoice.total, rx.cond(invoice.tax != "", rx.el.div(small(invoice.tax))))


def invoices_panel() -> rx.Component:
    state = InvoicesState
    search_field = search_input(
        "Search by number, tenant or ID",
        default_value=state.query,
        on_change=state.search_invoices.debounce(200),
        max_length=200,
    )
    status_select = select("State", STATUS_CHOICES, value=state.status, on_change=state.choose_status)
    no_invoices = rx.cond(
        (state.query != "") | (state.status != ""),
        empty_state(
            "No invoice matches",
            "Search by full invoice number or ID, or by tenant name.",
            glyph="search-x",
        ),
        empty_state("No invoices yet", "Invoices appear after the first subscription.", glyph="receipt-text"),
    )
    table = data_table(
        "Invoices",
        COLUMNS,
        rx.foreach(state.rows, invoice_line),
        footer=list_pager(state),
        test_id="invoices",
    )
    return rx.el.div(
        dialogs.access_banner("Reading across tenants: ", state.reason, state.end_visit),
        rx.el.div(search_field, status_select, class_name="row wrap"),
        panel(rx.cond(has_items(state.rows), table, no_invoices), name="Invoices"),
        class_name="section",
    )


@rx.page(route="/invoices", title="Invoices · Operator", on_load=InvoicesState.load)
def invoices_page() -> rx.Component:
    reason_form = dialogs.access_form(
        "Reason for access",
        InvoicesState.start_visit,
        hint=f"{OPERATOR_AUDIT_HINT} Valid for 30 minutes.",
        example="Month end, what is still open",
        label="Read across tenants",
    )
    loading = panel(skeleton_rows(5), name="Invoices")
    return page(
        page_header("Invoices", description="Invoices of all tenants, as of the last sync with Stripe."),
        rx.cond(
            InvoicesState.loaded, rx.cond(InvoicesState.is_visit_open, invoices_panel(), reason_form), loading
        ),
        current="Invoices",
        load=InvoicesState.load,
    )
