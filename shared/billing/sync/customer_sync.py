"""One sync of a customer: take a ticket, fetch the state, then store all results in one transaction.

The ticket is taken before the fetch. After the last change at the provider some sync starts, and of all written syncs
the one that started last wins (`lock_customer_if_newest`). So webhooks that arrive twice, late or out of order, or are
replaced by reconciliation, end in the same state.
"""

from shared.billing import provider_registry
from shared.billing.inbound_webhooks import inbound_webhook_repository
from shared.billing.inbound_webhooks.inbound_webhook_repository import WebhookClaim
from shared.billing.sync import apply_state
from shared.billing.sync.apply_state import SyncCause, SyncResult
from shared.core import db, live_events, transaction_retries
from shared.tenancy import entry

TASK = "billing.sync"


async def sync_customer(
    account_id: str,
    customer_id: str,
    tenant_id: str,
    *,
    cause: SyncCause,
    claim: WebhookClaim | None = None,
    run_id: str = "",
    request_id: str = "",
) -> SyncResult:
    """Fetches the customer and applies its state, marking the webhooks of `claim` done in the same transaction.

    Nothing is written when another worker has taken over all of `claim`'s webhooks: that worker applies and records them.
    Raises the provider's errors; nothing has been written then."""
    async with db.transaction() as session:
        ticket = await inbound_webhook_repository.take_ticket(session)
    state = await (await provider_registry.get(account_id)).fetch_customer(customer_id)

    async def apply() -> SyncResult:
        async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
            event_ids: tuple[str, ...] = ()
            if claim is not None:
                # Also when a later sync was first, which includes these webhooks.
                event_ids = await inbound_webhook_repository.mark_processed(ctx.session, claim)
                if not event_ids:
                    return SyncResult(written=False)
            result = await apply_state.apply_customer_state(
                ctx, account_id, customer_id, state, ticket, cause=cause, event_ids=event_ids, run_id=run_id
            )
            if claim is not None:
                await live_events.refresh_pages(ctx.session, "*", "webhooks")
            return result

    return await transaction_retries.repeat_on_conflict(apply)
