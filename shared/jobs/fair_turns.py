"""Which job runs next: tenants take turns in each lane, whatever number of jobs each has waiting.

A worker process goes round the tenants that have waiting jobs. Each has as many turns in a row as its weight. Jobs of no
tenant come between two tenants. One tenant never has the last slot of a lane. Turns and running jobs are counted in each
process, so workers share no row; which jobs wait is read from the queue.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from procrastinate import exceptions
from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job, Notification, Status
from procrastinate.manager import JobManager, NotificationCallback

from shared.core import tenant_limits, tenant_weights
from shared.jobs import job_repository
from shared.jobs.lanes import SLOTS, Lane

PLATFORM = ""  # the tenant of jobs that have none
POLL_SECONDS = 1.0


@dataclass(slots=True)
class LaneTurns:
    """Whose turn it is in one lane of this process."""

    slots: int
    tenant_id: str = PLATFORM  # that had the last turn
    turns_left: int = 0  # of this tenant, before the next one
    is_platform_next: bool = False
    running: Counter[str] = field(default_factory=Counter)  # jobs by tenant
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # a job has ended or was added

    def find_first(self) -> str | None:
        """Who is asked before all others; None where the round goes on."""
        if self.turns_left > 0:
            return self.tenant_id
        return PLATFORM if self.is_platform_next else None

    def list_skipped(self) -> list[str]:
        """Tenants that have all the slots that they may have. A throttled tenant has one."""
        return [tenant_id for tenant_id, count in self.running.items() if count >= self._max_slots(tenant_id)]

    def _max_slots(self, tenant_id: str) -> int:
        return 1 if tenant_limits.find_throttle(tenant_id) else max(1, self.slots - 1)

    def begin(self, tenant_id: str) -> None:
        self.running[tenant_id] += 1
        if tenant_id == PLATFORM:
            self.is_platform_next = False
            return
        self.is_platform_next = True
        if tenant_id == self.tenant_id and self.turns_left > 0:
            self.turns_left -= 1
        else:
            self.tenant_id, self.turns_left = tenant_id, tenant_weights.get_weight(tenant_id) - 1

    def end(self, tenant_id: str) -> None:
        self.running[tenant_id] -= 1
        if self.running[tenant_id] <= 0:
            del self.running[tenant_id]
        self.changed.set()


class FairJobManager(JobManager):
    """Fetches jobs in turns of tenants, for workers that each serve one lane.

    `is_draining`: the workers end when nothing is left to run, so a lane waits for what its own jobs hold up.
    """

    def __init__(self, connector: BaseConnector, *, is_draining: bool) -> None:
        super().__init__(connector)
        self._is_draining = is_draining
        self._turns = {lane.value: LaneTurns(SLOTS[lane]) for lane in Lane}
        self._running: dict[int, tuple[str, str]] = {}  # lane and tenant by the id of the job

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """The next job of this lane. Without one it waits while others run, as they may hold up what comes next."""
        (lane,) = queues or ()
        lane_turns = self._turns[lane]
        while True:
            lane_turns.changed.clear()
            job = await self._fetch(lane, lane_turns, worker_id)
            if job is not None:
                return job
            if not lane_turns.running and not lane_turns.changed.is_set():
                return None
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await lane_turns.changed.wait()
                continue
            if not self._is_draining:
                return None

    async def _fetch(self, lane: str, lane_turns: LaneTurns, worker_id: int) -> Job | None:
        try:
            row = await self.connector.execute_query_one_async(
                job_repository.FETCH_JOB,
                lane=lane,
                worker_id=worker_id,
                first=lane_turns.find_first(),
                after=lane_turns.tenant_id,
                skipped=lane_turns.list_skipped(),
            )
        except exceptions.UniqueViolation:  # another worker has just begun a job of the same sequence
            return None
        if row["id"] is None:
            lane_turns.turns_left = 0
            return None
        job = Job.from_row(row)
        tenant_id = str(job.task_kwargs.get("tenant_id") or PLATFORM)
        lane_turns.begin(tenant_id)
        self._running[row["id"]] = (lane, tenant_id)
        return job

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        (lane,) = queues or ()

        async def note_job(*, channel: str, notification: Notification) -> None:
            self._turns[lane].changed.set()
            await on_notification(channel=channel, notification=notification)

        await super().listen_for_jobs(on_notification=note_job, queues=queues)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        try:
            await super().finish_job(job, status, delete_job)
        finally:
            self._end_turn(job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        try:
            await super().retry_job(job, retry_at, priority, queue, lock)
        finally:
            self._end_turn(job)

    def _end_turn(self, job: Job) -> None:
        """Nothing for a job of another process."""
        if (running := self._running.pop(job.id or 0, None)) is not None:
            lane, tenant_id = running
            self._turns[lane].end(tenant_id)
