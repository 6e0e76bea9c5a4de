"""Taxes that were turned on for a change which was never paid are turned off again.

The provider can't turn them on together with a change that waits for its payment, so it happens before. The sync that sees the
change gone has a job turn them off, an hour after they were turned on: until then the change may still be on its way.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.billing import provider_registry
from shared.billing.provider import ProviderRefused
from shared.billing.provider_values import Subscription
from shared.core import log
from shared.core.context import Ctx
from shared.jobs import queue

TASK = "billing.undo_unpaid_tax"
CHANGE_TIME = timedelta(hours=1)


async def request_undo(ctx: Ctx, account_id: str, subscriptions: Iterable[Subscription]) -> None:
    """For the sync."""
    for subscription in subscriptions:
        if (turned_on_at := subscription.unpaid_tax_at) is not None:
            await queue.put(
                ctx,
                TASK,
                at=turned_on_at + CHANGE_TIME,  # also in the past: jobs with one time are one job
                account_id=account_id,
                subscription_id=subscription.id,
                turned_on_at=turned_on_at.isoformat(),
            )


async def execute_undo(account_id: str, subscription_id: str, turned_on_at: str) -> None:
    """Turns the taxes off where they still aren't paid for. Raises ProviderDown. A refusal is logged."""
    provider = await provider_registry.get(account_id)
    try:
        await provider.undo_unpaid_tax(
            subscription_id, datetime.fromisoformat(turned_on_at), f"untax-{subscription_id}-{turned_on_at}"
        )
    except ProviderRefused as refusal:
        log.get_tenant_logger(__name__).error(
            "tax_not_undone", subscription_id=subscription_id, kind=refusal.kind
        )
