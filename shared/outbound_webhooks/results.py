"""Record what became of attempts, a tenant's results together, and pause endpoints that take nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

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
MAX_WAIT_S = 45.0  # for the lock of an endpoint, which no transaction holds for so long; less than the lease of a claim


@dataclass(frozen=True, slots=True, eq=False)
class WaitingResult:
    """`since`: in seconds of the event loop's clock. `written`: done when it is written, or can't be."""

    result: AttemptResult
    since: float
    written: asyncio.Future[None]


class ResultRecorder:
    """Collects results by tenant. While one transaction of a tenant is under way, its further results wait for the next one."""

    def __init__(self, transactions: asyncio.Semaphore, retries: RetryPolicy, task: str) -> None:
        self._transactions, self._retries, self._task = transactions, retries, task
        self._waiting: dict[str, list[WaitingResult]] = {}
        self._writers: dict[str, asyncio.Task[None]] = {}

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._writers

    async def record(self, tenant_id: str, result: AttemptResult) -> None:
        """Returns when it is written, or can't be: then its claim lapses and it is sent again."""
        loop = asyncio.get_running_loop()
        waiting = WaitingResult(result, loop.time(), loop.create_future())
        self._waiting.setdefault(tenant_id, []).append(waiting)
        if tenant_id not in self._writers:
            self._writers[tenant_id] = asyncio.create_task(self._write(tenant_id))
        await waiting.written

    async def flush(self) -> None:
        await asyncio.gather(*self._writers.values(), return_exceptions=True)

    async def _write(self, tenant_id: str) -> None:
        request_ids.begin()
        try:
            while tenant_id in self._waiting:
                await asyncio.sleep(GATHER_S)
                waiting = self._waiting.pop(tenant_id)
                locked: list[WaitingResult] = []
                try:
                    async with self._transactions:
                        waiting += self._waiting.pop(tenant_id, [])
                        locked = await self._write_results(tenant_id, waiting)
                except Refused as refusal:  # suspended or deleted meanwhile
                    log.get_logger(__name__).info(
                        "webhook_results_dropped", tenant_id=tenant_id, reason=refusal.reason
                    )
                except Exception as problem:
                    log.report_bug(problem, tenant_id=tenant_id)
                finally:
                    for result in waiting:
                        if result not in locked and not result.written.done():
                            result.written.set_result(None)
                if locked:
                    self._waiting.setdefault(tenant_id, []).extend(locked)
        finally:
            del self._writers[tenant_id]

    async def _write_results(self, tenant_id: str, waiting: Sequence[WaitingResult]) -> list[WaitingResult]:
        """Returns those whose endpoint is locked, and that can wait for it still."""
        async with entry.enter_job(tenant_id, self._task, request_ids.current()) as ctx:
            own_ids = await dispatch_repository.lock_endpoints(
                ctx, {each.result.endpoint_id for each in waiting}
            )
            results = [each.result for each in waiting if each.result.endpoint_id in own_ids]
            if postponed := [result for result in results if result.is_postponed]:
                await dispatch_repository.postpone(ctx, postponed)
            if attempts := [result for result in results if not result.is_postponed]:
                await dispatch_repository.record_results(ctx, attempts)
                await _pause_failing(ctx, attempts, self._retries)
            if results:
                await live_events.refresh_pages(ctx.session, ctx.tenant_id, endpoints.TOPIC)
        deadline = asyncio.get_running_loop().time() - MAX_WAIT_S
        return [each for each in waiting if each.result.endpoint_id not in own_ids and each.since > deadline]


async def _pause_failing(ctx: Ctx, results: Sequence[AttemptResult], retries: RetryPolicy) -> None:
    """Pause endpoints that have taken nothing for long, or that say they are gone, and tell those who manage them."""
    gone_ids = {result.endpoint_id for result in results if result.response_status == GONE}
    failed = [result for result in results if not result.is_delivered]
    for endpoint_id in sorted({result.endpoint_id for result in failed}):
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
