"""Reserve a part of a counter before something is counted: never more than its limit, over all processes.

Where a process often asks for a counter, it leases a block and hands it out from memory. All processes share
one block: at most 5 % of what is left, so it shrinks as the limit comes near. Within the last 5 % of the limit, or the
last 100, there is no lease, and each call is one conditional update. A lease is used for 20 seconds and lapses after 30:
what a killed process has left of it is free again then.
"""

import asyncio
import math
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal

from shared.core.ids import new_id
from shared.metering import counter_repository
from shared.metering.allowances import Allowance
from shared.metering.counter_repository import CounterConnection, CounterState

LEASE_USE_SECONDS = 20.0  # less than `RESERVATION_SECONDS`, which leaves time for a slow transaction
NO_LEASE_SECONDS = 0.02  # before the next try, where there was none
HOT_CALLS = 8  # in a second, of one process
MAX_BLOCK = Decimal(100_000)
LEASED_SHARE = Decimal("0.05")  # of what is left; and the part at the end of a limit without leases
LAST_UNITS = Decimal(100)
MAX_COUNTERS = 10_000  # in the memory of one process
MAX_TRIES = 4
KNOWN_SECONDS = 1.0  # in which what is full isn't asked for again; a correction makes room


class Exceeded(Exception):
    """A counter has no room for this. `room`: how much it has, as far as known; `allowed`: its limit."""

    def __init__(self, allowance: Allowance, *, used: Decimal, allowed: Decimal, room: Decimal) -> None:
        self.allowance, self.used, self.allowed, self.room = allowance, used, allowed, room
        super().__init__(allowance.key.id)


@dataclass(slots=True)
class Lease:
    id: str
    left: Decimal
    usable_until: float  # of the monotonic clock
    open_holds: int = 0  # handed out and not yet drawn


@dataclass(slots=True)
class Hold:
    """A part of a counter that the caller may draw once. It lapses if it isn't drawn."""

    counter_id: str
    reservation_id: str
    lease: Lease | None = None

    def close(self) -> None:
        """After the draw, or when there will be none."""
        if self.lease is not None:
            self.lease.open_holds -= 1
            self.lease = None


@dataclass(slots=True)
class _Counter:
    """What this process knows of one counter."""

    lease: Lease | None = None
    spent: list[Lease] = field(default_factory=list)  # empty or too old, to be ended
    second: int = 0
    calls: int = 0
    used: Decimal = Decimal(0)  # when it was asked last
    asked_at: float = -math.inf  # of the monotonic clock
    fetch: "asyncio.Task[None] | None" = None
    next_fetch: float = 0.0  # of the monotonic clock

    def note_call(self, clock: float) -> bool:
        """Whether this process often asks for it."""
        second = int(clock)
        if second != self.second:
            was_hot = second == self.second + 1 and self.calls >= HOT_CALLS
            self.second, self.calls = second, HOT_CALLS if was_hot else 0
        self.calls += 1
        return self.calls > HOT_CALLS

    def take(self, quantity: Decimal, clock: float) -> Lease | None:
        lease = self.lease
        if lease is None:
            return None
        is_old = clock >= lease.usable_until
        if is_old or lease.left < quantity:
            if is_old or lease.left <= 0:
                self.spent.append(lease)
                self.lease = None
            return None
        lease.left -= quantity
        lease.open_holds += 1
        return lease

    def pop_spent(self) -> list[str]:
        """Ids of leases from which nothing is drawn any more."""
        ended = [lease for lease in self.spent if not lease.open_holds]
        self.spent = [lease for lease in self.spent if lease.open_holds]
        return [lease.id for lease in ended]


_counters: OrderedDict[tuple[str, str], _Counter] = OrderedDict()


def forget_all() -> None:
    """As a new process."""
    _counters.clear()


async def reserve_leased(tenant_id: str, allowance: Allowance, quantity: Decimal) -> Hold | None:
    """From a lease of this process; None where it has none and gets none."""
    counter, clock = _get_counter(tenant_id, allowance.key.id), time.monotonic()
    is_hot = counter.note_call(clock)
    lease = counter.take(quantity, clock)
    if lease is None and is_hot and clock >= counter.next_fetch:
        await _share_fetch(tenant_id, allowance, counter)
        lease = counter.take(quantity, time.monotonic())
    return Hold(allowance.key.id, lease.id, lease) if lease is not None else None


async def reserve(tenant_id: str, allowance: Allowance, quantity: Decimal, *, is_used: bool = False) -> Hold:
    """Exactly this much, by one conditional update. Raises Exceeded.

    `is_used`: it counts as used at once, and there is nothing to draw.
    """
    counter, key = _get_counter(tenant_id, allowance.key.id), allowance.key
    _require_known_room(counter, allowance, quantity)
    reservation_id = "" if is_used else new_id("urs")
    for attempt in range(1, MAX_TRIES + 1):
        async with counter_repository.open_transaction(tenant_id) as transaction:
            allowed = await find_allowed(transaction, allowance)
            if is_used:
                is_reserved = await transaction.take(key.id, quantity=quantity, most=allowed)
            else:
                is_reserved = await transaction.reserve(
                    key.id, reservation_id, quantity=quantity, most=allowed
                )
            if is_reserved:
                return Hold(key.id, reservation_id)
            state = (await transaction.read([key.id])).get(key.id)
            if state is None:
                await transaction.create(key)
                continue
            if attempt < MAX_TRIES and await transaction.end_reservations(key.id, counter.pop_spent()):
                continue
            counter.used, counter.asked_at = state.used, time.monotonic()
            await transaction.note_refusal(key.id, new_id("umk"), allowed=allowed)
            room = max(Decimal(0), allowed - state.claimed)
            break
    else:
        room = Decimal(0)
    raise Exceeded(allowance, used=counter.used, allowed=allowed, room=room)


async def release(tenant_id: str, hold: Hold) -> None:
    """Give back what isn't drawn. A hold that was counted as used when it was taken stays used."""
    if hold.lease is not None:
        hold.close()  # the rest of its lease is given back when that ends
    elif hold.reservation_id:
        async with counter_repository.open_transaction(tenant_id) as transaction:
            await transaction.end_reservations(hold.counter_id, [hold.reservation_id])


def _get_counter(tenant_id: str, counter_id: str) -> _Counter:
    counter_key = tenant_id, counter_id
    counter = _counters.get(counter_key)
    if counter is None:
        counter = _counters[counter_key] = _Counter()
        if len(_counters) > MAX_COUNTERS:
            _counters.popitem(last=False)
    else:
        _counters.move_to_end(counter_key)
    return counter


def _require_known_room(counter: _Counter, allowance: Allowance, quantity: Decimal) -> None:
    """Refuses without the database what can't fit any more. Raises Exceeded."""
    allowed = allowance.amount
    is_known = time.monotonic() < counter.asked_at + KNOWN_SECONDS
    if is_known and allowed is not None and counter.used + quantity > allowed:
        raise Exceeded(
            allowance, used=counter.used, allowed=allowed, room=max(Decimal(0), allowed - counter.used)
        )


async def _share_fetch(tenant_id: str, allowance: Allowance, counter: _Counter) -> None:
    """One fetch at a time; whoever comes meanwhile waits for it."""
    if counter.fetch is None or counter.fetch.done():
        counter.fetch = asyncio.ensure_future(_fetch_lease(tenant_id, allowance, counter))
    await asyncio.shield(counter.fetch)
    if counter.lease is None:
        counter.next_fetch = time.monotonic() + NO_LEASE_SECONDS


async def _fetch_lease(tenant_id: str, allowance: Allowance, counter: _Counter) -> None:
    key = allowance.key
    if counter.lease is not None:
        counter.spent.append(counter.lease)
        counter.lease = None
    async with counter_repository.open_transaction(tenant_id) as transaction:
        await transaction.end_reservations(key.id, counter.pop_spent())
    began = time.monotonic()
    async with counter_repository.open_transaction(tenant_id) as transaction:
        allowed = await find_allowed(transaction, allowance)
        state = (await transaction.read([key.id])).get(key.id)
        if state is None:
            return
        block = compute_block(state, allowed)
        if not block.size:
            return
        lease = Lease(new_id("urs"), block.size, began + LEASE_USE_SECONDS)
        if await transaction.reserve(
            key.id, lease.id, quantity=block.size, most=block.end, most_reserved=block.most_reserved
        ):
            counter.lease = lease


@dataclass(frozen=True, slots=True)
class Block:
    """`size` 0: too little is left. `end`: no lease goes beyond it. `most_reserved`: by all processes."""

    size: Decimal
    end: Decimal
    most_reserved: Decimal


def compute_block(state: CounterState, allowed: Decimal) -> Block:
    """Half of what is left of the block that all processes share."""
    end = allowed - max(allowed * LEASED_SHARE, LAST_UNITS)
    left = allowed - state.claimed
    most_reserved = min(MAX_BLOCK, left * LEASED_SHARE) // 1
    size = min((most_reserved - state.reserved) / 2, end - state.claimed) // 1
    return Block(max(Decimal(0), size), end, most_reserved)


async def find_allowed(transaction: CounterConnection, allowance: Allowance) -> Decimal:
    """What the counter may have. For a budget, its counters stay locked until the transaction ends."""
    budget = allowance.budget
    if budget is None:
        assert allowance.amount is not None  # nothing is reserved where nothing is refused
        return allowance.amount
    keys = {key.id: key for key in budget.list_keys()}
    await transaction.lock(keys)
    states = await transaction.read(keys)
    if len(states) < len(keys):
        for counter_id in sorted(keys.keys() - states.keys()):
            await transaction.create(keys[counter_id])
        await transaction.lock(keys)  # another one may have made them meanwhile
        states = await transaction.read(keys)
    used = {state.meter: state.claimed for state in states.values()}
    return budget.get_room(allowance.key.meter, used)
