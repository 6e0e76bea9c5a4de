"""A tenant's invoices, as of the last sync."""

from datetime import datetime

from shared.access import actions, policy
from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.core.context import Ctx
from shared.core.errors import Invalid, NotFound
from shared.core.paging import Page, build_page, clamp_limit


async def list_invoices(ctx: Ctx, *, after: str = "", limit: int = 10) -> Page[BillingInvoice]:
    """Newest first, without drafts. `after` is `Page.next_cursor`."""
    policy.require(ctx, actions.BILLING_READ)
    limit = clamp_limit(limit)
    rows = await repository.list_invoice_page(
        ctx, beyond=_parse_cursor(after) if after else None, limit=limit + 1
    )
    return build_page(rows, limit=limit, cursor_of=_to_cursor)


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice:
    """Raises NotFound, including for another tenant's invoice."""
    policy.require(ctx, actions.BILLING_READ)
    row = await repository.get_invoice(ctx, invoice_id)
    if row is None:
        raise NotFound("This invoice doesn't exist.", "Reload the page.")
    return row


def _to_cursor(row: BillingInvoice) -> str:
    return f"{row.created_at.isoformat()} {row.id}"


def _parse_cursor(cursor: str) -> tuple[datetime, str]:
    at, _, row_id = cursor.partition(" ")
    try:
        created_at = datetime.fromisoformat(at)
    except ValueError:
        created_at = None
    if created_at is None or created_at.tzinfo is None:
        raise Invalid("This page doesn't exist.", "Reload the page.")
    return created_at, row_id
