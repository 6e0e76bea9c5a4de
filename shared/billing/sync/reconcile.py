"""Reconciliation: sync customers without a webhook, and record and repair the differences.

It is the only remedy for events that never arrived. Every customer is synced once a day with the same steps as for a
webhook; operators can start a run for all of them.
"""

import asyncio
from datetime import UTC, timedelta

from shared.billing import trial_repository
from shared.billing.inbound_webhooks import inbound_webhook_repository
from shared.billing.models import ReconcileRun
from shared.billing.sync import customer_sync
from shared.billing.sync import sync_repository as repository
from shared.billing.sync.apply_state import SyncResult
from shared.core import db, live_events, log
from shared.core.db import now

RECONCILE_ALL_TASK = "platform.reconcile"


MAX_SYNC_AGE = timedelta(days=1)  # of every customer


POLL_INTERVAL_S = 60.0  # seconds between checks


BATCH_SIZE = 100  # customers listed together


MAX_CONCURRENCY = 4  # concurrent syncs; the gateway limits the rate


async def run_hourly() -> None:
    """Until cancelled: every hour one worker syncs the customers that weren't synced for a day."""
    while True:
        try:
            run_id = await _begin_hourly_run()
            if run_id:
                await execute_run(run_id)
        except Exception as problem:
            log.report_bug(problem, task=RECONCILE_ALL_TASK)
        await asyncio.sleep(POLL_INTERVAL_S)


async def execute_run(run_id: str) -> None:
    """Syncs all customers of the run. Idempotent, so another worker can take over after a crash."""
    async with db.transaction() as session:
        run_row = await repository.get_run(session, run_id)
    if run_row is None or run_row.finished_at is not None:
        return
    since = run_row.started_at - (MAX_SYNC_AGE if run_row.cause == "schedule" else timedelta())
    checked, drifted, failed = 0, 0, set[tuple[str, str]]()
    slots = asyncio.Semaphore(MAX_CONCURRENCY)

    async def one_of(account_id: str, customer_id: str, tenant_id: str) -> SyncResult | None:
        async with slots:
            return await _try_customer(account_id, customer_id, tenant_id, run_id)

    while True:
        async with db.transaction() as session:
            stale_customers = await inbound_webhook_repository.list_stale_customers(
                session, since, BATCH_SIZE + len(failed)
            )
        remaining = [customer for customer in stale_customers if customer[:2] not in failed]
        if not remaining:
            break
        for customer, result in zip(
            remaining, await asyncio.gather(*(one_of(*customer) for customer in remaining)), strict=True
        ):
            checked += 1
            if result is None:
                failed.add(customer[:2])
            elif result.differences:
                drifted += 1
        async with db.transaction() as session:
            await repository.save_progress(session, run_id, checked, drifted, len(failed))
    async with db.transaction() as session:
        await repository.save_progress(session, run_id, checked, drifted, len(failed), finished=True)
        await live_events.refresh_pages(session, "*", "billing")
        await inbound_webhook_repository.delete_old_webhooks(session)
        await trial_repository.delete_old_claims(session)


async def reconcile_customer(
    account_id: str, customer_id: str, tenant_id: str, run_id: str = ""
) -> SyncResult:
    """Syncs one customer. Raises the provider's errors."""
    result = await customer_sync.sync_customer(
        account_id, customer_id, tenant_id, cause="reconcile", run_id=run_id
    )
    if result.differences:
        log.get_logger(__name__).error(
            "billing_drift",
            tenant_id=tenant_id,
            customer_id=customer_id,
            what=[d.what for d in result.differences],
        )
    return result


async def _try_customer(account_id: str, customer_id: str, tenant_id: str, run_id: str) -> SyncResult | None:
    try:
        return await reconcile_customer(account_id, customer_id, tenant_id, run_id)
    except Exception as problem:  # the run continues and counts the failure
        log.get_logger(__name__).warning(
            "reconcile_failed", tenant_id=tenant_id, customer_id=customer_id, problem=type(problem).__name__
        )
        return None


async def _begin_hourly_run() -> str:
    """Id of this hour's run for the worker that begins it; "" for the others."""
    hour = now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    row = ReconcileRun(id=f"rcr_{hour:%Y%m%d%H}", cause="schedule", by_name="Bulkhead", started_at=now())
    async with db.transaction() as session:
        return row.id if await repository.begin_run(session, row) else ""
