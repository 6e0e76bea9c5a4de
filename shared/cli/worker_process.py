"""The worker process: runs the tasks of every module and what runs beside the queue."""

import asyncio

from shared import modules
from shared.access import decision_counts, decision_records
from shared.api_keys import answer_retention
from shared.audit import bug_reports, sealing
from shared.billing import provider_registry
from shared.billing.inbound_webhooks import processing
from shared.billing.pricing import price_sync
from shared.billing.sync import reconcile
from shared.cli import login_checks, parent_watch
from shared.core import db, log, tracing
from shared.core.config import settings
from shared.evidence import chain_checks, stream_sender
from shared.fairness import load_recorder, throttle_watch
from shared.files import retention, storage_registry
from shared.jobs import worker
from shared.metering import rollups
from shared.monitoring import traffic_writer
from shared.offboarding import rounds as offboarding_rounds
from shared.outbound_webhooks import dispatcher
from shared.tenancy import entry
from shared.web import metrics_server


def run() -> None:
    log.configure()
    parent_watch.end_with_supervisor()
    modules.load()
    tracing.configure("worker")
    db.log_in_as_worker()
    if settings().is_production:
        login_checks.require_member("app", "worker")
    login_checks.require_direct_connection("app")
    try:
        asyncio.run(_run_tasks())
    finally:
        tracing.shutdown()


async def _run_tasks() -> None:
    """The queue and what runs beside it. If one of them ends, all do: the supervisor starts them again."""
    queue_run = worker.run(worker.list_tenant_tasks(), worker.list_platform_tasks(), entry.enter_job)
    background_runs = (
        decision_counts.run_writer(),
        decision_records.run_purge(),
        bug_reports.run_writer("worker"),
        processing.run(),
        reconcile.run_hourly(),
        price_sync.run(),
        sealing.run(),
        dispatcher.run(),
        answer_retention.run(),
        retention.run(),
        rollups.run(),
        offboarding_rounds.run_deletions(),
        load_recorder.run_writer(),
        throttle_watch.run(),
        chain_checks.run(),
        stream_sender.run(),
        traffic_writer.run(),
        metrics_server.run("worker"),
    )
    running_tasks = [asyncio.create_task(coroutine) for coroutine in (queue_run, *background_runs)]
    try:
        finished_tasks, _ = await asyncio.wait(running_tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in finished_tasks:
            task.result()
    finally:
        for task in running_tasks:
            task.cancel()  # the counts of decisions write what is left
        await asyncio.gather(*running_tasks, return_exceptions=True)
        await provider_registry.close()
        await storage_registry.close()
