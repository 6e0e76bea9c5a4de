"""A tenant's invoices, as last seen."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.billing import repository
from shared.billing.models import BillingInvoice
from shared.core.context import Ctx
from shared.core.errors import Invalid, NotFound

MAX_PAGE_SIZE = 100  # rows of one page


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """Newest first. `older` is the cursor of the next page, "" on the last one."""

    rows: Sequence[BillingInvoice]
    older: str = ""


async def list_invoices(ctx: Ctx, *, after: str = "", limit: int = 10) -> InvoicePage:
    """`after` is `Page.older`. Drafts are not shown."""
    policy.require(ctx, actions.BILLING_READ)
    limit = min(max(limit, 1), MAX_PAGE_SIZE)
    rows = await repository.list_invoice_page(
        ctx, beyond=_parse_cursor(after) if after else None, limit=limit + 1
    )
    page_rows = rows[:limit]
    return InvoicePage(page_rows, _to_cursor(page_rows[-1]) if len(rows) > limit else "")


async def get_invoice(ctx: Ctx, invoice_id: str) -> BillingInvoice:
    """Raises NotFound, for another tenant's too."""
    policy.require(ctx, actions.BILLING_READ)
    row = await repository.get_invoice(ctx, invoice_id)
    if row is None:
        raise NotFound("There is no such invoice.", "Reload the page.")
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
        raise Invalid("This page of the list does not exist.", "Reload the page.")
    return created_at, row_id
