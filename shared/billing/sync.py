"""One look at the provider: ticket, fetch, and everything that follows from it in one transaction.

The ticket is taken before the fetch. The last change at the provider is followed by some look that began after it;
of all looks that were written, the one that began last is the one that stays (`repository.pass_guard`). So whatever
comes twice, late, in another order or not at all but for reconciliation, ends in the same state.
"""

from shared.billing import apply, providers
from shared.billing import inbox_repository as inbox
from shared.billing.apply import Cause, Effect
from shared.billing.inbox_repository import Claimed
from shared.core import db, notices
from shared.tenancy import entry

TASK = "billing.sync"


async def look(
    account_id: str,
    customer_id: str,
    tenant_id: str,
    *,
    cause: Cause,
    work: Claimed | None = None,
    run_id: str = "",
    request_id: str = "",
) -> Effect:
    """`work`: the webhooks that asked for it, done with it. Raises as the provider does; then nothing has changed."""
    async with db.transaction() as session:
        ticket = await inbox.ticket(session)
    state = await (await providers.get(account_id)).fetch(customer_id)
    async with entry.enter_books(tenant_id, TASK, request_id) as ctx:
        # Done also when a later look was first: it has seen all of this. What is no longer ours is told by who has it.
        event_ids = await inbox.done(ctx.session, work) if work is not None else ()
        effect = await apply.write(
            ctx, account_id, customer_id, state, ticket, cause=cause, event_ids=event_ids, run_id=run_id
        )
        if work is not None:
            await notices.page(ctx.session, "*", "webhooks")
        return effect
