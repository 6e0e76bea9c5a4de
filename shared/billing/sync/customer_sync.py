"""One look at the provider: ticket, fetch, and everything that follows from it in one transaction.

The ticket is taken before the fetch. The last change at the provider is followed by some look that began after it;
of all looks that were written, the one that began last is the one that stays (`repository.pass_guard`). So whatever
comes twice, late, in another order or not at all but for reconciliation, ends in the same state.
"""

from shared.billing import provider_registry
from shared.billing.inbound_webhooks import inbound_webhook_repository
from shared.billing.inbound_webhooks.inbound_webhook_repository import WebhookClaim
from shared.billing.sync import apply_state
from shared.billing.sync.apply_state import SyncCause, SyncResult
from shared.core import db, live_events
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
    """`work`: the webhooks that asked for it, done with it. Raises as the provider does; then nothing has changed."""
    async with db.transaction() as session:
        ticket = await inbound_webhook_repository.take_ticket(session)
    state = await (await provider_registry.get(account_id)).fetch_customer(customer_id)
    async with entry.enter_billing_sync(tenant_id, TASK, request_id) as ctx:
        # Done also when a later look was first: it has seen all of this. What is no longer ours is told by who has it.
        event_ids = (
            await inbound_webhook_repository.mark_processed(ctx.session, claim) if claim is not None else ()
        )
        result = await apply_state.apply_customer_state(
            ctx, account_id, customer_id, state, ticket, cause=cause, event_ids=event_ids, run_id=run_id
        )
        if claim is not None:
            await live_events.refresh_pages(ctx.session, "*", "webhooks")
        return result
