"""Run jobs. Each job enters its own tenant and shares no state with the next one.

A job is one transaction, except external jobs and mails. When a worker dies, its job keeps the status `doing` until the sweeper
requeues it after a missing heartbeat. So every task may run twice and must be idempotent.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision, RetryStrategy
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job

from shared.core import (
    db,
    log,
    metric_catalog,
    registry,
    request_ids,
    tenant_load,
    tracing,
    traffic,
    transaction_retries,
)
from shared.core.context import Ctx
from shared.core.errors import NoTenant, Refused
from shared.core.ids import is_id
from shared.jobs import failures, job_repository, lanes, signatures
from shared.jobs.fair_turns import FairJobManager
from shared.jobs.lanes import SLOTS, Lane
from shared.jobs.mail import MailRejected
from shared.jobs.queue import PLATFORM_PREFIX
from shared.jobs.signatures import ForgedJob

Handler = Callable[..., Awaitable[None]]
EnterJob = Callable[[str, str, str], AbstractAsyncContextManager[Ctx]]
INACTIVE_TENANT_REASONS = ("tenant_suspended", "tenant_deleted")  # refusals for which a job is not started
MAX_CONNECTIONS = 10  # one of each lane listens
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
HEARTBEAT_SECONDS, STALLED_AFTER_SECONDS = 2.0, 10.0
SUSPENDED_RETRY_MINUTES = 60  # fallback for jobs that `queue.wake_jobs` did not wake


@dataclass(frozen=True, slots=True)
class ExternalJob:
    """Argument of a job that calls an external service, instead of an entered context.

    The job opens its own transactions before and after the call, so that none waits for the response.
    """

    tenant_id: str  # "" for a platform job
    request_id: str


_external_handlers = set[Handler]()


def external_job(handler: Handler) -> Handler:
    """Mark a handler that calls the payment provider. Its first argument is an `ExternalJob`."""
    lanes.assign_lane(handler, Lane.PROVIDER)
    _external_handlers.add(handler)
    return handler


def mail_job(handler: Handler) -> Handler:
    """Mark a handler that sends one mail. Its first argument is an `ExternalJob`.

    It reads in one transaction, sends outside of any, and records in another. It is retried for three days, and not at
    all after MailRejected.
    """
    lanes.assign_lane(handler, Lane.MAIL)
    _external_handlers.add(handler)
    return handler


def file_job(handler: Handler) -> Handler:
    """Mark a handler that writes or deletes files. Its first argument is an `ExternalJob`.

    It opens short transactions, so that none waits for the storage.
    """
    lanes.assign_lane(handler, Lane.FILES)
    _external_handlers.add(handler)
    return handler


def bulk_job(handler: Handler) -> Handler:
    """Mark a handler that reads or writes many rows while no one waits. It runs as an ordinary job otherwise."""
    lanes.assign_lane(handler, Lane.BULK)
    return handler


class TenantSuspended(Exception):
    """The tenant is suspended. Its jobs are retried without a limit of attempts."""

    def __init__(self) -> None:
        super().__init__("The organisation is suspended. The job runs when it is restored.")


class JobSkipped(Exception):
    """A decision refused what the job does. It is not tried again; operators see why, and the id of the decision."""

    def __init__(self, refusal: Refused) -> None:
        decision = f"decision {refusal.decision_id}, " if refusal.decision_id else ""
        super().__init__(f"{decision}{refusal.action} {refusal.reason}: {refusal.detail}")


class JobRetryPolicy(RetryStrategy):
    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, TenantSuspended):
            return RetryDecision(retry_in={"minutes": SUSPENDED_RETRY_MINUTES})
        if isinstance(exception, ForgedJob | JobSkipped):
            return None
        return super().get_retry_decision(exception=exception, job=job)


class MailRetryPolicy(BaseRetryStrategy):
    """Waits 10 s, 30 s, 90 s …, at most an hour, until three days have passed. A refused mail is not sent again."""

    first_wait, factor, max_wait = 10, 3, 3600  # seconds
    total_seconds = 3 * 24 * 3600

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, TenantSuspended):
            return RetryDecision(retry_in={"minutes": SUSPENDED_RETRY_MINUTES})
        waited = sum(self.wait_after(attempt) for attempt in range(job.attempts))
        if isinstance(exception, MailRejected | ForgedJob | JobSkipped) or waited >= self.total_seconds:
            return None
        return RetryDecision(retry_in={"seconds": self.wait_after(job.attempts)})

    def wait_after(self, attempts: int) -> int:
        """Seconds until the next attempt; `attempts` counts those before this one."""
        return min(self.max_wait, self.first_wait * int(self.factor ** min(attempts, 10)))


RETRY = JobRetryPolicy(max_attempts=6, exponential_wait=3)
MAIL_RETRY = MailRetryPolicy()


def list_tenant_tasks() -> dict[str, Handler]:
    """The handlers of all manifests that run in a tenant, by the stored name of their task."""
    tasks = registry.list_tasks().items()
    return {name: handler for name, handler in tasks if not name.startswith(PLATFORM_PREFIX)}


def list_platform_tasks() -> dict[str, Handler]:
    """The handlers of all manifests that run in no tenant, by the stored name of their task."""
    tasks = registry.list_tasks().items()
    return {name: handler for name, handler in tasks if name.startswith(PLATFORM_PREFIX)}


def build_app(
    tasks: Mapping[str, Handler],
    platform_tasks: Mapping[str, Handler],
    enter_job: EnterJob,
    *,
    is_draining: bool = False,
) -> App:
    """A queue with these tasks. The names of `platform_tasks` must begin with "platform.". Raises NoTenant.

    `is_draining`: its workers end when nothing is left to run.
    """
    connector = PsycopgConnector(
        conninfo=db.login_url("app", direct=True), min_size=1, max_size=MAX_CONNECTIONS
    )
    app = App(connector=connector)
    app.job_manager = FairJobManager(connector, is_draining=is_draining)
    for name, handler in tasks.items():
        _add_task(app, name, handler, _wrap_tenant_handler(name, handler, enter_job))
    for name, handler in platform_tasks.items():
        if not name.startswith(PLATFORM_PREFIX):
            raise NoTenant(f"the task {name} has no tenant")
        _add_task(app, name, handler, _wrap_platform_handler(name, handler))
    return app


def _add_task(app: App, name: str, handler: Handler, work: Handler) -> None:
    lane = lanes.lane_of_handler(handler)
    retry = MAIL_RETRY if lane is Lane.MAIL else RETRY
    app.task(name=name, queue=lane, retry=retry, pass_context=True)(_guard(name, work))


async def run(
    tasks: Mapping[str, Handler],
    platform_tasks: Mapping[str, Handler],
    enter_job: EnterJob,
    *,
    wait: bool = True,
) -> None:
    """Run jobs until cancelled; with `wait=False` until the queue is empty."""
    app = build_app(tasks, platform_tasks, enter_job, is_draining=not wait)
    async with app.open_async():
        await _move_to_lanes({**tasks, **platform_tasks})
        sweeper = asyncio.create_task(_retry_stalled_jobs(app))
        lane_runs = [asyncio.create_task(_run_lane(app, lane, wait=wait)) for lane in Lane]
        try:
            with _stop_on_signals(lane_runs) if wait else nullcontext():
                await _wait_for_lanes(lane_runs)
        finally:
            sweeper.cancel()


async def _run_lane(app: App, lane: Lane, *, wait: bool) -> None:
    await app.run_worker_async(
        queues=[lane],
        name=lane,
        wait=wait,
        concurrency=SLOTS[lane],
        install_signal_handlers=False,
        listen_notify=wait,
        fetch_job_polling_interval=1.0,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=STALLED_AFTER_SECONDS,
        delete_jobs="successful",
    )


async def _wait_for_lanes(lane_runs: Sequence[asyncio.Task[None]]) -> None:
    """Until all have ended. If one fails or this is cancelled, each finishes the jobs that it is running."""
    try:
        await asyncio.wait(lane_runs, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for lane_run in lane_runs:
            lane_run.cancel()
        await asyncio.gather(*lane_runs, return_exceptions=True)
    for lane_run in lane_runs:
        if not lane_run.cancelled():
            lane_run.result()


@contextmanager
def _stop_on_signals(lane_runs: Sequence[asyncio.Task[None]]) -> Iterator[None]:
    def stop() -> None:
        for lane_run in lane_runs:
            lane_run.cancel()

    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _move_to_lanes(tasks: Mapping[str, Handler]) -> None:
    """Move waiting jobs that an older version put into the first lane, out of the sequence of their tenant."""
    async with db.transaction() as session:
        for lane in Lane:
            names = [name for name, handler in tasks.items() if lanes.lane_of_handler(handler) is lane]
            await job_repository.move_to_lane(session, lane, names)


async def _retry_stalled_jobs(app: App) -> None:
    while True:
        try:
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER_SECONDS):
                log.get_logger(__name__).warning(
                    "job_stalled", task=job.task_name, tenant_id=job.task_kwargs.get("tenant_id", "-")
                )
                await app.job_manager.retry_job(job)
        except Exception as problem:
            log.get_logger(__name__).error("sweep_failed", problem=type(problem).__name__)
        await asyncio.sleep(HEARTBEAT_SECONDS)


def _wrap_tenant_handler(name: str, handler: Handler, enter_job: EnterJob) -> Handler:
    async def work(*, tenant_id: str = "", request_id: str = "", **ids: Any) -> None:
        if not is_id("ten", tenant_id):
            raise NoTenant(f"the job {name} has no tenant")
        logger = log.get_logger(__name__).bind(task=name, tenant_id=tenant_id, request_id=request_id)
        entered = False

        async def attempt() -> None:
            nonlocal entered
            async with enter_job(tenant_id, name, request_id) as ctx:
                entered = True
                await handler(ctx, **ids)

        try:
            if handler in _external_handlers:
                await handler(ExternalJob(tenant_id, request_id), **ids)
            else:
                await transaction_retries.repeat_on_conflict(attempt)
        except Refused as refusal:
            if refusal.action:
                logger.warning("job_skipped", reason=refusal.reason, decision_id=refusal.decision_id)
                raise JobSkipped(refusal) from None
            if entered or refusal.reason not in INACTIVE_TENANT_REASONS:
                raise
            logger.warning("job_not_begun", reason=refusal.reason)
            if refusal.reason == "tenant_suspended":
                raise TenantSuspended from None
            return  # the tenant was deleted
        logger.info("job_done")

    return work


def _wrap_platform_handler(name: str, handler: Handler) -> Handler:
    async def work(*, request_id: str = "", **ids: Any) -> None:
        async def attempt() -> None:
            async with db.transaction() as session:
                await handler(session, **ids)

        if handler in _external_handlers:
            await handler(ExternalJob("", request_id), **ids)
        else:
            await transaction_retries.repeat_on_conflict(attempt)
        log.get_logger(__name__).info("job_done", task=name, tenant_id="-", request_id=request_id)

    return work


def _name_end(problem: Exception) -> str:
    if isinstance(problem, TenantSuspended):
        return "suspended"
    return "skipped" if isinstance(problem, JobSkipped) else "failed"


def _guard(name: str, work: Handler) -> Handler:
    """The handler as the queue calls it: runs jobs that we signed, and records why an attempt failed or was skipped."""

    async def run_attempt(context: JobContext, **arguments: Any) -> None:
        request_ids.begin(str(arguments.get("request_id", "")), attempt=context.job.attempts + 1)
        tenant_load.count_job(str(arguments.get("tenant_id", "")))
        request_ids.note_job(str(arguments.get("tenant_id", "")), name)
        began, status = time.perf_counter(), "ok"
        lane = lanes.lane_of_task(name)
        with tracing.span("job", "consumer", starts_request=True) as span:
            span.set_attributes({"job.task": name, "job.lane": lane, "job.attempt": context.job.attempts + 1})
            try:
                await work(**await signatures.check(context.job.id, name, arguments))
            except Exception as problem:
                status = _name_end(problem)
                if context.job.id is not None:
                    await failures.record_failure(context.job.id, problem)
                raise
            finally:
                seconds = time.perf_counter() - began
                traffic.count(traffic.Kind.JOB, seconds, failed=status == "failed")
                metric_catalog.job_runs.add(lane, status)
                metric_catalog.job_seconds.observe(lane, seconds=seconds)

    return run_attempt
