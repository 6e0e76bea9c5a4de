"""The use behind an invoice: what of each meter was billed in its periods, so that a line can be followed to its events."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.meters import METERS
from shared.billing import usage_repository
from shared.billing.models import BillingInvoice
from shared.billing.subscriptions import invoices
from shared.core.context import Ctx

BILLED_AFTERWARDS = timedelta(
    hours=2
)  # a period that has ended by then, after the invoice was made, is one of use


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceUsage:
    """Of one meter in one period. Units are units of sale."""

    meter: str
    starts_at: datetime
    ends_at: datetime
    units: int  # billed
    drawn: int  # paid by prepaid credits
    moved: int  # of both, used before the period and recorded too late for its own


async def list_invoice_usage(ctx: Ctx, invoice_id: str) -> list[InvoiceUsage]:
    """By period and meter. Raises Refused, NotFound."""
    policy.require(ctx, actions.BILLING_READ)
    invoice = await invoices.get_invoice(ctx, invoice_id)
    usage = list[InvoiceUsage]()
    for starts_at, ends_at in _list_periods(invoice):
        for row in await usage_repository.sum_by_meter(ctx, since=starts_at, until=ends_at):
            if row.meter in METERS:
                usage.append(
                    InvoiceUsage(
                        meter=row.meter,
                        starts_at=starts_at,
                        ends_at=ends_at,
                        units=row.billed,
                        drawn=row.drawn,
                        moved=row.moved,
                    )
                )
    return usage


def _list_periods(invoice: BillingInvoice) -> list[tuple[datetime, datetime]]:
    """Of the lines that are billed afterwards: use is, and flat prices are billed in advance."""
    periods = set[tuple[datetime, datetime]]()
    for line in invoice.lines:
        starts, ends = str(line.get("starts_at") or ""), str(line.get("ends_at") or "")
        if not starts or not ends or line.get("proration"):
            continue
        period = datetime.fromisoformat(starts), datetime.fromisoformat(ends)
        if period[0] < period[1] <= invoice.created_at + BILLED_AFTERWARDS:
            periods.add(period)
    return sorted(periods)
