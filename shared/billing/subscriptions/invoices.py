"""A tenant's invoices, as of the last sync."""

from shared.access import actions, policy
from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit, encode_cursor


async def list_invoices(ctx: Ctx, *, after: str = "", limit: int = 10) -> Page[BillingInvoice]:
    """Newest first, without drafts. `after` is `Page.next_cursor`. Raises Invalid for a page that doesn't exist."""
    policy.require(ctx, actions.BILLING_READ)
    limit = clamp_limit(limit)
    rows = await repository.list_invoice_page(ctx, after=after, limit=limit + 1)
    return build_page(rows, limit=limit, cursor_of=lambda row: encode_cursor(row.created_at, row.id))


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice:
    """Raises NotFound, including for another tenant's invoice."""
    policy.require(ctx, actions.BILLING_READ)
    row = await repository.get_invoice(ctx, invoice_id)
    if row is None:
        raise NotFound("This invoice doesn’t exist.", "Reload the page.")
    return row
