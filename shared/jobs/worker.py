"""Run jobs. Each job enters its own tenant and shares no state with the next one.

A job is one transaction, except external jobs. When a worker dies, its job keeps the status `doing` until the sweeper
requeues it after a missing heartbeat. So every task may run twice and must be idempotent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from procrastinate import App, PsycopgConnector, RetryDecision, RetryStrategy
from procrastinate.job_context import JobContext
from procrastinate.jobs import Job

from shared.core import db, log, registry
from shared.core.context import Ctx
from shared.core.errors import NoTenant, Refused
from shared.core.ids import is_id
from shared.jobs.queue import PLATFORM_PREFIX, QUEUE

Handler = Callable[..., Awaitable[None]]
EnterJob = Callable[[str, str, str], AbstractAsyncContextManager[Ctx]]
INACTIVE_TENANT_REASONS = ("tenant_suspended", "tenant_deleted")  # refusals for which a job is not started
HEARTBEAT_SECONDS, STALLED_AFTER_SECONDS = 2.0, 10.0
SUSPENDED_RETRY_MINUTES = 60  # fallback for jobs that `queue.wake_jobs` did not wake


@dataclass(frozen=True, slots=True)
class ExternalJob:
    """Argument of a job that calls an external service, instead of an entered context.

    The job opens its own transactions before and after the call, so that none waits for the response.
    """

    tenant_id: str
    request_id: str


_external_handlers = set[Handler]()


def external_job(handler: Handler) -> Handler:
    """Mark a handler whose first argument is an `ExternalJob`."""
    _external_handlers.add(handler)
    return handler


class TenantSuspended(Exception):
    """The tenant is suspended. Its jobs are retried without a limit of attempts."""


class JobRetryPolicy(RetryStrategy):
    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, TenantSuspended):
            return RetryDecision(retry_in={"minutes": SUSPENDED_RETRY_MINUTES})
        return super().get_retry_decision(exception=exception, job=job)


RETRY = JobRetryPolicy(max_attempts=6, exponential_wait=3)


def list_tenant_tasks() -> dict[str, Handler]:
    """Of all manifests, by stored name: handlers that run in a tenant."""
    tasks = registry.list_tasks().items()
    return {name: handler for name, handler in tasks if not name.startswith(PLATFORM_PREFIX)}


def list_platform_tasks() -> dict[str, Handler]:
    """Of all manifests, by stored name: handlers that run in no tenant."""
    tasks = registry.list_tasks().items()
    return {name: handler for name, handler in tasks if name.startswith(PLATFORM_PREFIX)}


def build_app(
    tasks: Mapping[str, Handler], platform_tasks: Mapping[str, Handler], enter_job: EnterJob
) -> App:
    """A queue with these tasks. The names of `platform_tasks` must begin with "platform.". Raises NoTenant."""
    app = App(connector=PsycopgConnector(conninfo=db.login_url("app", direct=True), min_size=1, max_size=4))
    for name, handler in tasks.items():
        app.task(name=name, queue=QUEUE, retry=RETRY, pass_context=True)(
            _wrap_tenant_handler(name, handler, enter_job)
        )
    for name, handler in platform_tasks.items():
        if not name.startswith(PLATFORM_PREFIX):
            raise NoTenant(f"the task {name} has no tenant")
        app.task(name=name, queue=QUEUE, retry=RETRY, pass_context=True)(
            _wrap_platform_handler(name, handler)
        )
    return app


async def run(
    tasks: Mapping[str, Handler],
    platform_tasks: Mapping[str, Handler],
    enter_job: EnterJob,
    *,
    wait: bool = True,
) -> None:
    """Run jobs until cancelled; with `wait=False` until the queue is empty."""
    app = build_app(tasks, platform_tasks, enter_job)
    async with app.open_async():
        sweeper = asyncio.create_task(_retry_stalled_jobs(app))
        try:
            await app.run_worker_async(
                queues=[QUEUE],
                wait=wait,
                concurrency=4,
                install_signal_handlers=wait,
                listen_notify=wait,
                fetch_job_polling_interval=1.0,
                update_heartbeat_interval=HEARTBEAT_SECONDS,
                stalled_worker_timeout=STALLED_AFTER_SECONDS,
                delete_jobs="successful",
            )
        finally:
            sweeper.cancel()


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
    async def work(_: JobContext, *, tenant_id: str = "", request_id: str = "", **ids: Any) -> None:
        if not is_id("ten", tenant_id):
            raise NoTenant(f"the job {name} has no tenant")
        logger = log.get_logger(__name__).bind(task=name, tenant_id=tenant_id, request_id=request_id)
        entered = False
        try:
            if handler in _external_handlers:
                await handler(ExternalJob(tenant_id, request_id), **ids)
            else:
                async with enter_job(tenant_id, name, request_id) as ctx:
                    entered = True
                    await handler(ctx, **ids)
        except Refused as refusal:
            if entered or refusal.reason not in INACTIVE_TENANT_REASONS:
                raise
            logger.warning("job_not_begun", reason=refusal.reason)
            if refusal.reason == "tenant_suspended":
                raise TenantSuspended from None
            return  # the tenant was deleted
        logger.info("job_done")

    return work


def _wrap_platform_handler(name: str, handler: Handler) -> Handler:
    async def work(_: JobContext, *, request_id: str = "", **ids: Any) -> None:
        async with db.transaction() as session:
            await handler(session, **ids)
        log.get_logger(__name__).info("job_done", task=name, tenant_id="-", request_id=request_id)

    return work
