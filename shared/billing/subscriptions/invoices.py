"""A tenant's invoices, as of the last sync."""

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit, encode_cursor
from shared.core.rate_limits import RateLimit, enforce_rate_limit

EXPORT_BATCH_SIZE = 500


async def list_invoices(ctx: Ctx, *, after: str = "", limit: int = 10) -> Page[BillingInvoice]:
    """Newest first, without drafts. `after` is `Page.next_cursor`. Raises Invalid for a page that doesn't exist."""
    policy.require(ctx, actions.BILLING_READ)
    limit = clamp_limit(limit)
    rows = await repository.list_invoice_page(ctx, after=after, limit=limit + 1)
    return build_page(rows, limit=limit, cursor_of=lambda row: encode_cursor(row.created_at, row.id))


async def start_export(ctx: Ctx) -> None:
    """Records the export. Raises Refused, including after too many exports."""
    policy.require(ctx, actions.BILLING_EXPORT)
    await enforce_rate_limit(RateLimit.EXPORT_TENANT, ctx.tenant_id)
    audit_log.record(ctx, "billing.exported", ctx.tenant_id)


async def list_export_batch(ctx: Ctx, *, after: str = "") -> Page[BillingInvoice]:
    """The next batch, newest first. `after` is the previous batch's `next_cursor`."""
    policy.require(ctx, actions.BILLING_EXPORT, counted=False)
    rows = await repository.list_invoice_page(ctx, after=after, limit=EXPORT_BATCH_SIZE + 1)
    return build_page(
        rows, limit=EXPORT_BATCH_SIZE, cursor_of=lambda row: encode_cursor(row.created_at, row.id)
    )


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice:
    """Raises NotFound, including for another tenant's invoice."""
    policy.require(ctx, actions.BILLING_READ)
    row = await repository.get_invoice(ctx, invoice_id)
    if row is None:
        raise NotFound("This invoice doesn't exist.", "Reload the page.")
    return row
