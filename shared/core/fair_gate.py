"""Who begins a transaction next, where more want to than the pool of connections and the processor can serve.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each tenant's next request gets a tag, and the smallest tag goes
first. A tenant that was quiet gets the present time as its tag, so it overtakes all that wait behind their own requests.
A tenant with many requests in flight is heavy: others go before it. While quiet ones are about, all heavy ones together
have one place.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from shared.core import tenant_load
from shared.core.errors import Refused, Unavailable
from shared.core.tenant_limits import Throttle, find_throttle
from shared.core.tenant_weights import get_weight

SLOTS = 16  # of the 20 connections of `db.engine`; the others are for what surrounds a transaction
HEAVY_ABOVE, FEWEST_HEAVY = (
    8,
    2,
)  # requests in flight of a tenant of weight 1, among few tenants and among many
HEAVY_SLOTS = 1  # of all heavy tenants, while others are about
QUIET_SECONDS = 2.0  # after its last request a quiet tenant is no longer about
MAX_WAITING = 32  # requests of a tenant of weight 1
MAX_WAITING_OF_ALL = 400
RETRY_AFTER_S = 2


class Busy(Unavailable):
    """The process has as many transactions as it may have, for too long."""

    default_reason = "busy"


class TenantBusy(Refused):
    """The tenant has as many requests in flight as it may have."""

    def __init__(self, throttle: Throttle | None = None) -> None:
        detail = "Too many requests of your organisation are in progress."
        if throttle is not None:
            detail = f"{throttle.describe().rstrip('.')}."
        super().__init__(
            detail,
            f"Wait for their answers, then try again in {RETRY_AFTER_S} seconds.",
            reason="tenant_busy" if throttle is None else "tenant_throttled",
            retry_after=RETRY_AFTER_S,
        )


@dataclass(slots=True, eq=False)
class _Turn:
    tag: float
    future: asyncio.Future[None]
    has_begun: bool = False


@dataclass(slots=True)
class _Queue:
    """Of one tenant."""

    weight: int
    running: int = 0
    next_tag: float = 0.0
    waiting: deque[_Turn] = field(default_factory=deque)


class FairGate:
    """One event loop uses it."""

    def __init__(
        self, *, tenant_slots: int, slots: int = SLOTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenant_slots, self._slots, self._clock = tenant_slots, slots, clock
        self._queues: dict[str, _Queue] = {}  # of tenants with requests in flight
        self._running = self._waiting = 0
        self._now_tag = 0.0  # of the request that began last
        self._quiet: OrderedDict[str, float] = OrderedDict()  # when quiet tenants began their last request

    def is_idle(self) -> bool:
        return not self._queues

    def check(self, tenant_id: str) -> None:
        """Raises TenantBusy where the next request of the tenant would."""
        queue = self._queues.get(tenant_id)
        if queue is not None and self._is_full(queue):
            raise self._refuse(tenant_id)

    async def enter(self, tenant_id: str, wait_seconds: float) -> None:
        """Wait for the tenant's turn; pair with `leave`. Raises TenantBusy, and Busy after `wait_seconds`."""
        queue = self._queues.get(tenant_id)
        if queue is None:
            queue = self._queues[tenant_id] = _Queue(get_weight(tenant_id))
        is_free = not queue.waiting and self._running < self._slots
        if is_free and self._may_begin(tenant_id, queue, are_heavy_held=self._are_heavy_held()):
            self._begin(tenant_id, queue, self._take_tag(queue))
            return
        if self._is_full(queue):
            raise self._refuse(tenant_id)
        place = _Turn(self._take_tag(queue), asyncio.get_running_loop().create_future())
        queue.waiting.append(place)
        self._waiting += 1
        try:
            async with asyncio.timeout(wait_seconds):
                await place.future
        except BaseException as problem:
            if place.has_begun:
                self.leave(tenant_id)
            else:
                if place in queue.waiting:
                    queue.waiting.remove(place)
                    self._waiting -= 1
                self._forget(tenant_id, queue)
            if not isinstance(problem, TimeoutError):
                raise
            if self._is_heavy(queue) or queue.running >= self._tenant_slots or find_throttle(tenant_id):
                raise self._refuse(tenant_id) from problem
            raise Busy(
                "Too many requests are in progress.", "Try again in a moment.", retry_after=RETRY_AFTER_S
            ) from problem

    def leave(self, tenant_id: str) -> None:
        queue = self._queues[tenant_id]
        queue.running -= 1
        self._running -= 1
        self._begin_next()
        self._forget(tenant_id, queue)

    def _refuse(self, tenant_id: str) -> TenantBusy:
        tenant_load.count_refused(tenant_id)
        return TenantBusy(find_throttle(tenant_id))

    def _is_full(self, queue: _Queue) -> bool:
        """Of all places to wait, each tenant has a part. Below the whole number, one may have more than its part."""
        own_count = len(queue.waiting)
        if own_count >= MAX_WAITING * queue.weight:
            return True
        if self._waiting < MAX_WAITING_OF_ALL:
            return False
        weights = sum(other.weight for other in self._queues.values() if other.waiting) or 1
        return own_count >= max(1, MAX_WAITING_OF_ALL * queue.weight // weights)

    def _take_tag(self, queue: _Queue) -> float:
        tag = max(self._now_tag, queue.next_tag)
        queue.next_tag = tag + 1 / queue.weight
        return tag

    def _begin(self, tenant_id: str, queue: _Queue, tag: float) -> None:
        self._now_tag = max(self._now_tag, tag)
        queue.running += 1
        self._running += 1
        if not self._is_heavy(queue):
            self._quiet[tenant_id] = self._clock()
            self._quiet.move_to_end(tenant_id)
            self._forget_quiet()

    def _begin_next(self) -> None:
        while self._waiting and self._running < self._slots:
            are_heavy_held = self._are_heavy_held()
            ready = [
                (self._is_heavy(queue), queue.waiting[0].tag, queue.running, len(queue.waiting), tenant_id)
                for tenant_id, queue in self._queues.items()
                if queue.waiting and self._may_begin(tenant_id, queue, are_heavy_held=are_heavy_held)
            ]
            if not ready:
                return
            _, tag, *_, tenant_id = min(ready)
            queue = self._queues[tenant_id]
            place = queue.waiting.popleft()
            self._waiting -= 1
            if not place.future.done():
                place.has_begun = True
                self._begin(tenant_id, queue, tag)
                place.future.set_result(None)

    def _may_begin(self, tenant_id: str, queue: _Queue, *, are_heavy_held: bool) -> bool:
        if queue.running >= (1 if find_throttle(tenant_id) else self._tenant_slots):
            return False
        return not (are_heavy_held and self._is_heavy(queue))

    def _is_heavy(self, queue: _Queue) -> bool:
        """By its requests in flight: the more tenants have some, the fewer make it heavy."""
        most = max(FEWEST_HEAVY, min(HEAVY_ABOVE, 2 * self._slots // max(1, len(self._queues))))
        return queue.running + len(queue.waiting) > most * queue.weight

    def _are_heavy_held(self) -> bool:
        """Whether heavy tenants have as many places as they may have."""
        heavy_running = sum(queue.running for queue in self._queues.values() if self._is_heavy(queue))
        return heavy_running >= HEAVY_SLOTS and self._has_quiet_tenant()

    def _has_quiet_tenant(self) -> bool:
        """Whether a tenant that isn't heavy has begun a request lately."""
        self._forget_quiet()
        return any(
            tenant_id not in self._queues or not self._is_heavy(self._queues[tenant_id])
            for tenant_id in reversed(self._quiet)
        )

    def _forget_quiet(self) -> None:
        oldest = self._clock() - QUIET_SECONDS
        while self._quiet and next(iter(self._quiet.values())) < oldest:
            self._quiet.popitem(last=False)

    def _forget(self, tenant_id: str, queue: _Queue) -> None:
        if not queue.running and not queue.waiting:
            self._queues.pop(tenant_id, None)
