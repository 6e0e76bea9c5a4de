"""Process stored webhooks: one sync per customer, whatever the events and their order.

The inbox is authoritative and a notification only a hint: polling finds what was missed. A worker that dies leaves rows
whose lease expires. Failures are retried with growing delays, and become dead letters for operators in the end.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import accounts, provider_registry
from shared.billing.inbound_webhooks import inbound_webhook_repository as repository
from shared.billing.inbound_webhooks.inbound_webhook_repository import ClaimKey, WebhookClaim
from shared.billing.pricing import comparison
from shared.billing.provider import MAX_CALL_S, KeyRefused, ProviderBusy, ProviderDown, ProviderRefused
from shared.billing.sync import customer_sync
from shared.core import db, live_events, log, request_ids
from shared.core.ids import new_id

CHANNEL = "bulkhead_inbox"
MAX_CONCURRENCY = 8  # concurrent customers of one worker
POLL_INTERVAL_S = 1.0  # without a notification
LEASE = timedelta(seconds=3 * MAX_CALL_S)  # outlives the longest fetch; one that runs out wastes a fetch
MAX_ATTEMPTS = 8  # for internal errors
MAX_WORKER_DEATHS = 2 * MAX_ATTEMPTS  # before the webhooks become dead letters
MAX_PARKED_ATTEMPTS = 14  # for unknown customers: two days
MAX_RETRY_DELAY, MAX_PARKED_DELAY = timedelta(minutes=10), timedelta(hours=6)
MAX_OUTAGE_DELAY = timedelta(seconds=30)  # between attempts while the provider is down
FOREIGN_MAX_AGE = timedelta(days=1)  # how long a customer of another product is known as such
KEY_REFUSED_ERROR = "The provider no longer takes our key"
PROVIDER_DOWN_ERROR = "The provider does not answer"


async def run(max_concurrency: int = MAX_CONCURRENCY) -> None:
    """Until cancelled."""
    tasks: dict[asyncio.Task[None], ClaimKey] = {}
    try:
        async with _listen_for_webhooks() as wake_event:
            while True:
                wake_event.clear()  # before polling, so that later webhooks are noticed
                claims = []
                if len(tasks) < max_concurrency:
                    claims = await _claim_webhooks(max_concurrency - len(tasks), tasks.values())
                tasks |= {asyncio.create_task(process(claim)): claim.key for claim in claims}
                if not claims:
                    pending_tasks = [asyncio.create_task(wake_event.wait()), *tasks]
                    await asyncio.wait(
                        pending_tasks, timeout=POLL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
                    )
                    pending_tasks[0].cancel()
                tasks = {task: claim_key for task, claim_key in tasks.items() if not task.done()}
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drain() -> int:
    """Processes everything that is due now, then returns the number of synced customers."""
    count = 0
    while claims := await _claim_webhooks(MAX_CONCURRENCY):
        await asyncio.gather(*(process(claim) for claim in claims))
        count += len(claims)
    return count


async def _claim_webhooks(limit: int, busy: Collection[ClaimKey] = ()) -> list[WebhookClaim]:
    try:
        async with db.transaction() as session:
            return await repository.claim_webhooks(session, new_id("clm"), limit, LEASE, busy)
    except Exception as problem:  # the loop has to survive until the database is back
        log.get_logger(__name__).error("inbox_unreachable", problem=type(problem).__name__)
        await asyncio.sleep(POLL_INTERVAL_S)
        return []


async def process(claim: WebhookClaim) -> None:
    """Syncs the claim's customer, or schedules a retry. Raises nothing but CancelledError.

    The customer of thin events is found out first. Other webhooks without a customer are about prices: they start a
    comparison of all prices.
    """
    request_ids.begin()
    logger = log.get_logger(__name__).bind(
        account_id=claim.account_id, customer_id=claim.customer_id, events=len(claim.event_ids)
    )
    if claim.attempts > MAX_WORKER_DEATHS:  # other failures reach their own limit earlier
        await _release_claim(
            claim, MAX_RETRY_DELAY, f"{MAX_WORKER_DEATHS} workers died of it", max_attempts=MAX_WORKER_DEATHS
        )
        return
    try:
        if not claim.customer_id and not claim.object_id:
            await _compare_prices(claim)
            return
        if not (customer_id := claim.customer_id or await _find_customer_id(claim)):
            await _ignore_claim(claim)
            return
        async with db.transaction() as session:
            tenant_id = await repository.get_customer_tenant_id(session, claim.account_id, customer_id)
        if tenant_id:
            await customer_sync.sync_customer(
                claim.account_id, customer_id, tenant_id, cause="webhook", claim=claim
            )
        elif await _is_foreign_customer(claim.account_id, customer_id):
            await _ignore_claim(claim)
        else:
            await _park_claim(claim)
    except KeyRefused:
        async with db.transaction() as session:
            await accounts.pause(session, claim.account_id, KEY_REFUSED_ERROR)
        await _release_claim(claim, timedelta(seconds=30), KEY_REFUSED_ERROR, counts_as_attempt=False)
        logger.error("account_paused")
    except ProviderBusy as busy:
        await _release_claim(
            claim,
            timedelta(seconds=busy.retry_after_s),
            "The provider asked us to wait",
            counts_as_attempt=False,
        )
    except ProviderDown as problem:
        # Doubles the wait so far, because attempts aren't counted.
        delay = min(MAX_OUTAGE_DELAY, timedelta(seconds=max(1.0, claim.waited_s)))
        await _release_claim(claim, delay, f"{PROVIDER_DOWN_ERROR}: {problem}", counts_as_attempt=False)
    except Exception as problem:
        request_id = log.report_bug(problem, account_id=claim.account_id, customer_id=claim.customer_id)
        error, counts_as_attempt = (
            f"{type(problem).__name__}, see {request_id}",
            not db.is_connection_error(problem),
        )
        await _release_claim(
            claim, _retry_delay(claim, MAX_RETRY_DELAY), error, counts_as_attempt=counts_as_attempt
        )


async def _find_customer_id(claim: WebhookClaim) -> str:
    """The customer of the claim's object; "" without one. Raises the provider's errors."""
    return await (await provider_registry.get(claim.account_id)).find_customer_id(claim.object_id)


async def _is_foreign_customer(account_id: str, customer_id: str) -> bool:
    """Whether it is a customer of another product in the same account: it has no tenant in its metadata.

    The provider is asked once a day for each such customer. False for a customer of ours, whose tenant commits soon, and
    for one that the provider doesn't know. Raises the provider's other errors.
    """
    async with db.transaction() as session:
        if await repository.is_known_as_foreign(session, account_id, customer_id, FOREIGN_MAX_AGE):
            return True
    try:
        tenant_id = await (await provider_registry.get(account_id)).get_tenant_id(customer_id)
    except ProviderRefused:
        return False
    if not tenant_id:
        async with db.transaction() as session:
            await repository.record_foreign_customer(session, account_id, customer_id)
    return not tenant_id


async def _ignore_claim(claim: WebhookClaim) -> None:
    async with db.transaction() as session:
        await repository.ignore_webhooks(session, claim)
        await live_events.refresh_pages(session, "*", "webhooks")


async def _park_claim(claim: WebhookClaim) -> None:
    await _release_claim(
        claim,
        _retry_delay(claim, MAX_PARKED_DELAY),
        "No organisation has this customer",
        max_attempts=MAX_PARKED_ATTEMPTS,
        is_parked=True,
    )


async def _compare_prices(claim: WebhookClaim) -> None:
    async with db.transaction() as session:
        if await repository.mark_processed(session, claim):
            await comparison.request_comparison(session)
            await live_events.refresh_pages(session, "*", "webhooks")


async def replay(session: AsyncSession, account_id: str, event_id: str) -> bool:
    """Put a stored webhook back into the queue; False when it waits there already."""
    return await repository.replay_webhook(session, account_id, event_id)


def _retry_delay(claim: WebhookClaim, max_delay: timedelta) -> timedelta:
    return min(max_delay, timedelta(seconds=2.0 ** min(claim.attempts, 20)))


async def _release_claim(
    claim: WebhookClaim,
    delay: timedelta,
    error: str,
    *,
    max_attempts: int = MAX_ATTEMPTS,
    counts_as_attempt: bool = True,
    is_parked: bool = False,
) -> None:
    """Releases the claim. If this fails, the lease expires."""
    try:
        async with db.transaction() as session:
            await repository.release_webhooks(
                session,
                claim,
                delay,
                error,
                max_attempts=max_attempts,
                counts_as_attempt=counts_as_attempt,
                is_parked=is_parked,
            )
            await live_events.refresh_pages(session, "*", "webhooks")
    except Exception as problem:
        log.report_bug(problem, account_id=claim.account_id, customer_id=claim.customer_id)


@asynccontextmanager
async def _listen_for_webhooks() -> AsyncIterator[asyncio.Event]:
    """Sets the wake event whenever webhooks were stored. Without the database only polling is left."""
    wake_event = asyncio.Event()
    listening = asyncio.create_task(repository.listen_for_webhooks(CHANNEL, wake_event, POLL_INTERVAL_S))
    try:
        yield wake_event
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
