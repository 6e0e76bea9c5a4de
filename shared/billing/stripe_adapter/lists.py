"""Lists of Stripe: how long a page is, and what a nested list leaves out."""

from typing import Any

import stripe

from shared.billing.stripe_adapter.metadata_keys import ADJUSTMENT_KEY

PAGE_SIZE = 100  # Stripe's maximum; also the number of invoices that we keep


async def find_by_key(key: str, page: stripe.ListObject[Any]) -> str | None:
    """Id of the object with this key; None without one."""
    async for record in page.auto_paging_iter():
        if (record.to_dict().get("metadata") or {}).get(ADJUSTMENT_KEY) == key:
            return str(record.id)
    return None


def is_truncated(inner: Any) -> bool:
    """Whether a nested list has more items: Stripe returns only the first ten."""
    return bool((inner or {}).get("has_more"))
