"""The finance report: recurring revenue and its changes, invoiced revenue by plan and usage, growth, and what needs a look.

It reads sums, never a list of all tenants. Currencies aren’t added together. Recurring revenue is kept for twelve months of
prices (`billing.recurring_revenue`); a twelfth of a sum is rounded once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.backoffice import finance_repository as repository
from shared.backoffice.finance_rows import (
    DueTenant,
    InvoiceSum,
    LineSum,
    Movement,
    PlanRevenue,
    TenantGrowth,
)
from shared.billing.models import RevenueChange
from shared.core import money, replica
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.replica import ReadSource
from shared.files.csv_cells import to_csv
from shared.tenancy import entry

REPORT_REASON = "Finance report"
MONTHS = 13  # with the present one
MAX_TENANTS = 50  # in each list
TRIAL_PERIOD = timedelta(days=7)
CHANGES = (
    RevenueChange.NEW,
    RevenueChange.EXPANSION,
    RevenueChange.CONTRACTION,
    RevenueChange.CHURN,
    RevenueChange.REACTIVATION,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthMovement:
    """Monthly amounts. `closing`: recurring revenue at the end of the month, or now."""

    month: date
    by_change: dict[RevenueChange, int]
    closing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrencyReport:
    currency: str
    recurring: int  # a month, now
    annual: int  # the same in twelve months
    movements: Sequence[MonthMovement]
    plans: Sequence[PlanRevenue]  # recurring, of twelve months
    invoices: Sequence[InvoiceSum] = ()
    lines: Sequence[LineSum] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FinanceReport:
    currencies: Sequence[CurrencyReport]
    growth: Sequence[TenantGrowth]
    ending_trials: Sequence[DueTenant]
    past_due: Sequence[DueTenant]
    source: ReadSource


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """What the report is made of. `opening`: recurring revenue before its time, by currency."""

    movements: Sequence[Movement]
    opening: Mapping[str, int]
    plans: Sequence[PlanRevenue]
    invoices: Sequence[InvoiceSum]
    lines: Sequence[LineSum]
    growth: Sequence[TenantGrowth]
    ending_trials: Sequence[DueTenant]
    past_due: Sequence[DueTenant]


async def get_report(octx: OperatorCtx) -> FinanceReport:
    """Of the last `MONTHS`. Recorded as a read across tenants."""
    policy.require_operator(octx, actions.OP_FINANCE_READ)
    months = list_months(now().astimezone(UTC).date())
    async with entry.read_across_tenants(octx, REPORT_REASON) as session:
        reading = await replica.read(session, lambda reading_session: _read_sums(reading_session, months[0]))
    sums = reading.value
    return FinanceReport(
        currencies=_build_currencies(sums, months),
        growth=sums.growth,
        ending_trials=sums.ending_trials,
        past_due=sums.past_due,
        source=reading.source,
    )


async def _read_sums(session: AsyncSession, since: date) -> _Sums:
    since_time = datetime.combine(since, time(), UTC)
    return _Sums(
        movements=await repository.list_movements(session, since),
        opening=await repository.get_opening(session, since),
        plans=await repository.list_plan_revenue(session),
        invoices=await repository.list_invoice_sums(session, since_time),
        lines=await repository.list_line_sums(session, since_time),
        growth=await repository.list_growth(session, since_time),
        ending_trials=await repository.list_ending_trials(
            session, now(), now() + TRIAL_PERIOD, most=MAX_TENANTS
        ),
        past_due=await repository.list_past_due(session, most=MAX_TENANTS),
    )


def _build_currencies(sums: _Sums, months: Sequence[date]) -> list[CurrencyReport]:
    movements, opening, invoices = sums.movements, sums.opening, sums.invoices
    codes = {*opening, *(row.currency for row in movements), *(row.currency for row in invoices)}
    currencies = []
    for code in sorted(codes):
        rows = [row for row in movements if row.currency == code]
        closing, month_movements = opening.get(code, 0), []
        for month in sorted({*months, *(row.month for row in rows)}):
            of_month = {RevenueChange(row.change): row.annual for row in rows if row.month == month}
            closing += sum(of_month.values())
            by_change = {change: to_monthly(of_month.get(change, 0)) for change in CHANGES}
            month_movements.append(
                MonthMovement(month=month, by_change=by_change, closing=to_monthly(closing))
            )
        currencies.append(
            CurrencyReport(
                currency=code,
                recurring=to_monthly(closing),
                annual=closing,
                movements=month_movements,
                plans=[row for row in sums.plans if row.currency == code and row.annual],
                invoices=[row for row in invoices if row.currency == code],
                lines=[row for row in sums.lines if row.currency == code],
            )
        )
    return currencies


async def export_report(octx: OperatorCtx) -> str:
    """The numbers of the report as CSV, a line for each. Amounts are decimal numbers in their currency."""
    report = await get_report(octx)
    rows = [["month", "currency", "kind", "name", "amount"]]
    for each in report.currencies:
        for movement in each.movements:
            month = f"{movement.month:%Y-%m}"
            for change, amount in movement.by_change.items():
                rows.append(_build_line(month, each.currency, "recurring", change.value, amount))
            rows.append(_build_line(month, each.currency, "recurring", "closing", movement.closing))
        for invoice in each.invoices:
            month = f"{invoice.month:%Y-%m}"
            for name in ("total", "tax", "included_tax", "discount", "paid", "credited"):
                amount = getattr(invoice, name)
                rows.append(_build_line(month, each.currency, "invoiced", name, amount))
        for line in each.lines:
            kind = "usage" if line.is_usage else "plan"
            name = line.name or "other"
            rows.append(_build_line(f"{line.month:%Y-%m}", each.currency, kind, name, line.amount))
    rows += [[f"{row.month:%Y-%m}", "", "tenants", "created", str(row.created)] for row in report.growth]
    rows += [[f"{row.month:%Y-%m}", "", "tenants", "deleted", str(row.deleted)] for row in report.growth]
    return to_csv(rows)


def list_months(today: date) -> list[date]:
    """First days of the last `MONTHS`, the oldest first."""
    number = today.year * 12 + today.month - 1
    return [date(month // 12, month % 12 + 1, 1) for month in range(number - MONTHS + 1, number + 1)]


def to_monthly(annual: int) -> int:
    """A twelfth, rounded half away from zero."""
    sign = -1 if annual < 0 else 1
    return sign * ((abs(annual) * 2 + 12) // 24)


def _build_line(month: str, currency: str, kind: str, name: str, amount: int) -> list[str]:
    return [month, currency.upper(), kind, name, money.format_plain(amount, currency)]
