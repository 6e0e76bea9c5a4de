"""Record what became of attempts, a tenant's results together, and pause endpoints that take nothing."""

import asyncio
from collections.abc import Sequence

from shared.core import live_events, log, request_ids
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Refused
from shared.outbound_webhooks import dispatch_repository, endpoint_repository, endpoints, pause_notices
from shared.outbound_webhooks.dispatch_repository import AttemptResult
from shared.outbound_webhooks.models import EndpointState, PauseReason
from shared.outbound_webhooks.retries import RetryPolicy
from shared.tenancy import entry

BAD_STATUS = "bad_status"  # an answer whose status isn't 2xx
GONE = 410
GATHER_S = 0.02  # results of a tenant that come within this time are written together


class ResultRecorder:
    """Collects results by tenant. While one transaction of a tenant is under way, its further results wait for the next one."""

    def __init__(self, transactions: asyncio.Semaphore, retries: RetryPolicy, task: str) -> None:
        self._transactions, self._retries, self._task = transactions, retries, task
        self._waiting: dict[str, list[tuple[AttemptResult, asyncio.Future[None]]]] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._writers

    async def record(self, tenant_id: str, result: AttemptResult) -> None:
        """Returns when it is written, or can't be: then its claim lapses and it is sent again."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant_id, []).append((result, written))
        if tenant_id not in self._writers:
            self._writers[tenant_id] = asyncio.create_task(self._write(tenant_id))
        await written

    async def flush(self) -> None:
        await asyncio.gather(*self._writers.values(), return_exceptions=True)

    async def _write(self, tenant_id: str) -> None:
        request_ids.begin()
        try:
            while tenant_id in self._waiting:
                await asyncio.sleep(GATHER_S)
                waiting = self._waiting.pop(tenant_id)
                try:
                    async with self._transactions:
                        waiting += self._waiting.pop(tenant_id, [])
                        await self._write_results(tenant_id, [result for result, _ in waiting])
                except Refused as refusal:  # suspended or deleted meanwhile
                    log.get_logger(__name__).info(
                        "webhook_results_dropped", tenant_id=tenant_id, reason=refusal.reason
                    )
                except Exception as problem:
                    log.report_bug(problem, tenant_id=tenant_id)
                finally:
                    for _, written in waiting:
                        if not written.done():
                            written.set_result(None)
        finally:
            del self._writers[tenant_id]

    async def _write_results(self, tenant_id: str, results: Sequence[AttemptResult]) -> None:
        async with entry.enter_job(tenant_id, self._task, request_ids.current()) as ctx:
            await dispatch_repository.record_results(ctx, results)
            if any(not result.is_delivered for result in results):
                await _pause_failing(ctx, results, self._retries)
            await live_events.refresh_pages(ctx.session, ctx.tenant_id, endpoints.TOPIC)


async def _pause_failing(ctx: Ctx, results: Sequence[AttemptResult], retries: RetryPolicy) -> None:
    """Pause endpoints that have taken nothing for long, or that say they are gone, and tell those who manage them."""
    gone_ids = {result.endpoint_id for result in results if result.response_status == GONE}
    for endpoint_id in sorted({result.endpoint_id for result in results if not result.is_delivered}):
        endpoint = await endpoint_repository.lock_endpoint(ctx, endpoint_id)
        if endpoint is None or endpoint.state is EndpointState.PAUSED or endpoint.failing_since is None:
            continue
        if endpoint_id in gone_ids:
            reason = PauseReason.GONE
        elif retries.should_pause(now() - endpoint.failing_since, endpoint.failure_count):
            reason = PauseReason.FAILURES
        else:
            continue
        await endpoints.mark_paused(ctx, endpoint, reason)
        await ctx.session.flush()
        await pause_notices.notify_managers(ctx, endpoint)
