"""/finance: recurring revenue, its changes by month, invoiced revenue by plan and usage, growth, and who needs a look."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import addresses
from admin_app.attention import attention_url
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import finance
from shared.backoffice.attention_kinds import Attention
from shared.backoffice.finance import CurrencyReport, FinanceReport
from shared.backoffice.finance_rows import DueTenant
from shared.core import money
from shared.ui.as_of import AsOf, as_of_note, build_as_of
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.panels import panel, small, stat, stat_grid
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, data_table, has_items, table_row

MOVEMENT_COLUMNS = [
    Column("Month"),
    Column("New", align_end=True, hidden_on_phone=True),
    Column("Expansion", align_end=True, hidden_on_phone=True),
    Column("Contraction", align_end=True, hidden_on_phone=True),
    Column("Churn", align_end=True, hidden_on_phone=True),
    Column("Reactivation", align_end=True, hidden_on_phone=True),
    Column("MRR", align_end=True),
]
INVOICE_COLUMNS = [
    Column("Month"),
    Column("Plans", align_end=True, hidden_on_phone=True),
    Column("Usage", align_end=True),
    Column("Other", align_end=True, hidden_on_phone=True),
    Column("Discounts", align_end=True, hidden_on_phone=True),
    Column("Tax", align_end=True, hidden_on_phone=True),
    Column("Total", align_end=True),
]
PLAN_COLUMNS = [Column("Plan"), Column("Tenants", align_end=True), Column("MRR", align_end=True)]
GROWTH_COLUMNS = [
    Column("Month"),
    Column("Created", align_end=True),
    Column("Deleted", align_end=True),
]


@dataclass(frozen=True, kw_only=True)
class CurrencyPanel:
    currency: str
    recurring: str
    annual: str
    invoiced: str  # in the newest month that has invoices
    invoiced_month: str
    movements: list[list[str]] = field(default_factory=list)  # the newest month first
    plans: list[list[str]] = field(default_factory=list)
    invoices: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DueRow:
    name: str
    href: str
    at: str


def currency_panel(report: CurrencyReport) -> CurrencyPanel:
    code = report.currency

    def show(amount: int) -> str:
        return money.format_amount(amount, code) if amount else "–"

    movements = [
        [
            f"{movement.month:%B %Y}",
            *(show(movement.by_change[change]) for change in finance.CHANGES),
            show(movement.closing),
        ]
        for movement in reversed(report.movements)
    ]
    invoices = []
    for invoice in reversed(report.invoices):
        lines = [line for line in report.lines if line.month == invoice.month]
        plan_sum = sum(line.amount for line in lines if line.name and not line.is_usage)
        usage_sum = sum(line.amount for line in lines if line.is_usage)
        other_sum = sum(line.amount for line in lines if not line.name)
        amounts = (plan_sum, usage_sum, other_sum, -invoice.discount, invoice.tax, invoice.total)
        invoices.append([f"{invoice.month:%B %Y}", *map(show, amounts)])
    plans = [[plan.name, f"{plan.tenants:,}", show(finance.to_monthly(plan.annual))] for plan in report.plans]
    return CurrencyPanel(
        currency=code.upper(),
        recurring=money.format_amount(report.recurring, code),
        annual=money.format_amount(report.annual, code),
        invoiced=invoices[0][-1] if invoices else "–",
        invoiced_month=invoices[0][0] if invoices else "No invoice yet",
        movements=movements,
        plans=plans,
        invoices=invoices,
    )


def due_row(tenant: DueTenant) -> DueRow:
    return DueRow(name=tenant.name, href=addresses.billing_url(tenant.tenant_id), at=tenant.at.isoformat())


class FinanceState(PageState):
    reads: ClassVar[OperatorAction] = actions.OP_FINANCE_READ
    loaded: bool = False
    currencies: list[CurrencyPanel] = []
    growth: list[list[str]] = []
    trials: list[DueRow] = []
    past_due: list[DueRow] = []
    as_of: AsOf = AsOf()

    @rx.event
    @needs(actions.OP_FINANCE_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(FinanceState.load, "billing") as octx:
            report = await finance.get_report(octx)
        self._show(report)

    def _show(self, report: FinanceReport) -> None:
        self.currencies = [currency_panel(each) for each in report.currencies]
        self.growth = [
            [f"{row.month:%B %Y}", f"{row.created:,}", f"{row.deleted:,}"] for row in reversed(report.growth)
        ]
        self.trials = [due_row(tenant) for tenant in report.ending_trials]
        self.past_due = [due_row(tenant) for tenant in report.past_due]
        self.as_of = build_as_of(report.source)
        self.loaded = True

    @rx.event
    @needs(actions.OP_FINANCE_READ)
    async def download_report(self) -> EventSpec:
        async with self._ctx() as octx:
            data = await finance.export_report(octx)
        return rx.download(data=data, filename="finance.csv")


def numbers_table(name: str, columns: list[Column], rows: Any, id: str) -> rx.Component:
    def line(cells: Any) -> rx.Component:
        return table_row(columns, *(cells[index] for index in range(len(columns))))

    return data_table(name, columns, rx.foreach(rows, line), test_id=id)


def currency_section(shown: CurrencyPanel) -> rx.Component:
    return rx.el.div(
        panel(
            stat_grid(
                stat(
                    "Monthly recurring revenue", shown.recurring, "List prices, before discounts and taxes."
                ),
                stat("Annual recurring revenue", shown.annual, "Monthly recurring revenue × 12."),
                stat("Invoiced", shown.invoiced, shown.invoiced_month),
                stat("Currency", shown.currency, "Currencies aren’t added together."),
            ),
            name="Recurring revenue",
        ),
        panel(
            numbers_table("Changes by month", MOVEMENT_COLUMNS, shown.movements, "movements"),
            title="Changes by month",
        ),
        panel(numbers_table("By plan", PLAN_COLUMNS, shown.plans, "plans"), title="By plan"),
        panel(
            numbers_table("Invoiced", INVOICE_COLUMNS, shown.invoices, "invoiced"),
            title="Invoiced",
            aside=small("Issued and paid"),
        ),
        class_name="section",
    )


def due_panel(title: str, rows: Any, nothing: str, attention: Attention) -> rx.Component:
    def line(row: DueRow) -> rx.Component:
        return rx.el.li(
            link(row.name, row.href, class_name="plain-link strong"), small(local_time(row.at, "", "moment"))
        )

    due_list = rx.el.ul(rx.foreach(rows, line), class_name="list")
    return panel(
        rx.cond(has_items(rows), due_list, rx.el.div(small(nothing), class_name="body")),
        title=title,
        aside=link("Show all", attention_url(attention), class_name="link small"),
    )


def finance_content() -> rx.Component:
    state = FinanceState
    nothing = empty_state("No revenue yet", "It appears after the first subscription.", glyph="chart-line")
    return rx.el.div(
        as_of_note(state.as_of),
        rx.cond(has_items(state.currencies), rx.foreach(state.currencies, currency_section), nothing),
        panel(numbers_table("Tenants", GROWTH_COLUMNS, state.growth, "growth"), title="Tenants"),
        due_panel(
            "Trials that end within 7 days",
            state.trials,
            "No trial ends within 7 days.",
            Attention.TRIAL_ENDING,
        ),
        due_panel("Past due", state.past_due, "No tenant is past due.", Attention.PAST_DUE),
        class_name="section",
    )


@rx.page(route="/finance", title="Finance · Operator", on_load=FinanceState.load)
def finance_page() -> rx.Component:
    state = FinanceState
    return page(
        page_header(
            "Finance",
            description="Recurring and invoiced revenue of the last 13 months, by currency.",
            actions=[button("Export CSV", glyph="download", on_click=state.download_report)],
        ),
        rx.cond(state.loaded, finance_content(), panel(skeleton_rows(6), name="Finance")),
        current="Finance",
        load=state.load,
    )
