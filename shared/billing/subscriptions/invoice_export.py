"""Export a tenant's invoices. `shared.files` runs the export."""

from shared.access import actions, policy
from shared.access.file_kinds import (
    ColumnType,
    ExportColumn,
    ExportFilter,
    ExportKind,
    ExportRow,
    ExportSource,
)
from shared.audit import audit_log
from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.core import money
from shared.core.context import Ctx
from shared.core.paging import Page, build_page, encode_cursor, map_page
from shared.core.rate_limits import RateLimit, enforce_rate_limit

BATCH_SIZE = 2_000  # rows
COLUMNS = (
    *(ExportColumn("Number"), ExportColumn("Date", ColumnType.TIME), ExportColumn("Status")),
    *(ExportColumn("From", ColumnType.TIME), ExportColumn("To", ColumnType.TIME)),
    *(ExportColumn(title) for title in ("Currency", "Subtotal", "Discount", "Tax", "Tax included in prices")),
    *(ExportColumn(title) for title in ("Total", "Paid", "Due", "Credited")),
)


async def start(ctx: Ctx, export_filter: ExportFilter) -> int:  # noqa: ARG001  invoices have no filter
    """Record the export. Returns how many invoices there are. Raises Refused, including after too many exports."""
    policy.require(ctx, actions.BILLING_EXPORT)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    audit_log.record(ctx, "billing.exported", ctx.tenant_id)
    return await repository.count_invoices(ctx)


async def list_batch(ctx: Ctx, export_filter: ExportFilter, after: str) -> Page[ExportRow]:  # noqa: ARG001
    """The next batch, newest first. `after` is the previous batch's `next_cursor`. Raises Refused."""
    policy.require(ctx, actions.BILLING_EXPORT, counted=False)
    invoices = await repository.list_invoice_page(ctx, after=after, limit=BATCH_SIZE + 1)
    page = build_page(
        invoices, limit=BATCH_SIZE, cursor_of=lambda invoice: encode_cursor(invoice.created_at, invoice.id)
    )
    return map_page(page, _build_row)


def _build_row(invoice: BillingInvoice) -> ExportRow:
    """Amounts in whole units of the currency. An invoice that was synced before its parts were kept has the total only."""
    amounts = (invoice.total, invoice.paid, invoice.due, invoice.credited)
    parts: tuple[int, ...] = ()
    if invoice.subtotal is not None:
        parts = (invoice.subtotal, invoice.discount, invoice.tax, invoice.included_tax)
    return (
        invoice.number,
        invoice.created_at,
        invoice.status,
        invoice.period_starts_at,
        invoice.period_ends_at,
        invoice.currency.upper(),
        *([money.format_plain(amount, invoice.currency) for amount in parts] or [""] * 4),
        *(money.format_plain(amount, invoice.currency) for amount in amounts),
    )


INVOICES = ExportKind(
    name="invoices",
    title="Invoices",
    action=actions.BILLING_EXPORT,
    page="billing",
    source=ExportSource(columns=COLUMNS, filter_fields=(), start=start, list_batch=list_batch),
)
