"""Every interleaving of a small world, breadth first: changes at the provider, deliveries, workers, crashes.

Events arrive in any order, each is worked on by a worker of its own, and a worker may die between any two of its
steps; then its event waits for another one. What a transaction does is one step, what leaves it is not. A strategy is
right when every world in which nothing is left to do has, here, what the provider has.

`python -m tests.support.billing.model_checker` prints the table.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

CHANGES, CRASHES = 4, 2
CHANGES_PER_SECOND = 2  # changes that happen within one second, in which `created` counts

State = TypeVar("State", bound=Hashable)
NONE, SENT, STORED, TICKETED, FETCHED, DONE, ACKED = range(7)


@dataclass(frozen=True, slots=True)
class CheckResult:
    is_right: bool
    states: int  # looked at until it was clear
    seconds: float


class Event(NamedTuple):
    phase: int = NONE
    ticket: int = 0
    seen: int = 0  # version that was fetched


class World(NamedTuple):
    remote_version: int = 0  # version at the provider; an event's payload is the version that caused it
    local_version: int = 0
    guard: int = 0  # ticket, or `created`, of what was written last
    tickets: int = 0
    lock: int = -1  # event whose worker holds the customer
    crashes: int = 0
    events: tuple[Event, ...] = (Event(),) * CHANGES

    def with_event(self, event_index: int, event: Event) -> "World":
        return self._replace(events=(*self.events[:event_index], event, *self.events[event_index + 1 :]))


Strategy = Callable[[World, int], Iterator[World]]


def explore_states(
    start: State, steps: Callable[[State], Iterable[State]], is_right: Callable[[State], bool]
) -> CheckResult:
    """Stops at the first world in which nothing is left to do and something is wrong."""
    started_at, known_states, level = time.monotonic(), {start}, [start]
    while level:
        next_level = list[State]()
        for state in level:
            is_final = True
            for follower in steps(state):
                is_final = False
                if follower not in known_states:
                    known_states.add(follower)
                    next_level.append(follower)
            if is_final and not is_right(state):
                return CheckResult(False, len(known_states), time.monotonic() - started_at)
        level = next_level
    return CheckResult(True, len(known_states), time.monotonic() - started_at)


def check_strategy(strategy: Strategy, *, changes: int = CHANGES, crashes: int = CRASHES) -> CheckResult:
    loses = LOSING_PHASES.get(strategy, ())

    def steps(world: World) -> Iterator[World]:
        if world.remote_version < changes:
            yield world.with_event(world.remote_version, Event(SENT))._replace(
                remote_version=world.remote_version + 1
            )
        for event_index, event in enumerate(world.events):
            yield from strategy(world, event_index)
            if event.phase in (TICKETED, FETCHED, ACKED) and world.crashes < crashes:
                yield crash_worker(world, event_index, lost=event.phase in loses)

    start = World(events=(Event(),) * changes)
    return explore_states(start, steps, lambda world: world.local_version == changes)


def crash_worker(world: World, event_index: int, *, lost: bool) -> World:
    """Its worker dies, and the event is gone with it or waits for another one."""
    lock = -1 if world.lock == event_index else world.lock
    phase = DONE if lost else STORED
    return world.with_event(event_index, Event(phase))._replace(crashes=world.crashes + 1, lock=lock)


# ── the payload's word ───────────────────────────────────────────────────────────────────────────────────────────


def payload_as_it_comes(world: World, event_index: int) -> Iterator[World]:
    yield from _apply_payload(world, event_index, lambda created, last: True)


def payload_unless_created_earlier(world: World, event_index: int) -> Iterator[World]:
    yield from _apply_payload(world, event_index, lambda created, last: created >= last)


def payload_if_created_later(world: World, event_index: int) -> Iterator[World]:
    yield from _apply_payload(world, event_index, lambda created, last: created > last)


def _apply_payload(world: World, event_index: int, counts: Callable[[int, int], bool]) -> Iterator[World]:
    event, created = world.events[event_index], 1 + event_index // CHANGES_PER_SECOND
    if event.phase == SENT:
        yield world.with_event(event_index, Event(STORED))
    elif event.phase == STORED:
        finished = world.with_event(event_index, Event(DONE))
        yield (
            finished._replace(local_version=event_index + 1, guard=created)
            if counts(created, world.guard)
            else finished
        )


# ── a look, asked for by the event ───────────────────────────────────────────────────────────────────────────────


def ticket_before_the_fetch(world: World, event_index: int) -> Iterator[World]:
    """Ours."""
    event = world.events[event_index]
    if event.phase == SENT:
        yield world.with_event(event_index, Event(STORED))
    elif event.phase == STORED:
        yield _take_ticket(world, event_index, event)
    elif event.phase == TICKETED:
        yield _fetch_version(world, event_index, event)
    elif event.phase == FETCHED:
        yield _write_version(world, event_index, event)


def ticket_after_the_fetch(world: World, event_index: int) -> Iterator[World]:
    event = world.events[event_index]
    if event.phase == SENT:
        yield world.with_event(event_index, Event(STORED))
    elif event.phase == STORED:
        yield _fetch_version(world, event_index, event)
    elif event.phase == FETCHED and not event.ticket:
        tickets = world.tickets + 1
        yield world.with_event(event_index, event._replace(ticket=tickets))._replace(tickets=tickets)
    elif event.phase == FETCHED:
        yield _write_version(world, event_index, event)


def no_guard(world: World, event_index: int) -> Iterator[World]:
    event = world.events[event_index]
    if event.phase == SENT:
        yield world.with_event(event_index, Event(STORED))
    elif event.phase == STORED:
        yield _fetch_version(world, event_index, event)
    elif event.phase == FETCHED:
        yield world.with_event(event_index, Event(DONE))._replace(local_version=event.seen)


def lock_before_the_fetch(world: World, event_index: int) -> Iterator[World]:
    """Right too, but a connection is held while the provider takes its time."""
    event = world.events[event_index]
    if event.phase == SENT:
        yield world.with_event(event_index, Event(STORED))
    elif event.phase == STORED and world.lock < 0:
        yield world.with_event(event_index, Event(TICKETED))._replace(lock=event_index)
    elif event.phase == TICKETED:
        yield _fetch_version(world, event_index, event)
    elif event.phase == FETCHED:
        yield world.with_event(event_index, Event(DONE))._replace(local_version=event.seen, lock=-1)


def mark_before_the_work(world: World, event_index: int) -> Iterator[World]:
    """As ours, but marked when it is taken: nobody takes it up where its worker left it."""
    return ticket_before_the_fetch(world, event_index)


def ack_before_the_store(world: World, event_index: int) -> Iterator[World]:
    event = world.events[event_index]
    if event.phase == SENT:
        yield world.with_event(event_index, Event(ACKED))
    elif event.phase == ACKED:
        yield world.with_event(event_index, Event(STORED))
    else:
        yield from ticket_before_the_fetch(world, event_index)


def _take_ticket(world: World, event_index: int, event: Event) -> World:
    tickets = world.tickets + 1
    return world.with_event(event_index, Event(TICKETED, tickets))._replace(tickets=tickets)


def _fetch_version(world: World, event_index: int, event: Event) -> World:
    return world.with_event(event_index, Event(FETCHED, event.ticket, world.remote_version))


def _write_version(world: World, event_index: int, event: Event) -> World:
    """Won or lost, it is done."""
    finished = world.with_event(event_index, Event(DONE))
    return (
        finished._replace(local_version=event.seen, guard=event.ticket)
        if world.guard < event.ticket
        else finished
    )


LOSING_PHASES: dict[Strategy, tuple[int, ...]] = {
    mark_before_the_work: (TICKETED, FETCHED),
    ack_before_the_store: (ACKED,),
}
WRONG_STRATEGIES: dict[str, Strategy] = {
    "payload, in the order of arrival": payload_as_it_comes,
    "payload, unless created before the last": payload_unless_created_earlier,
    "payload, if created after the last": payload_if_created_later,
    "marked before the work": mark_before_the_work,
    "acknowledged before it is stored": ack_before_the_store,
    "a look without a guard": no_guard,
    "the ticket after the fetch": ticket_after_the_fetch,
}
RIGHT_STRATEGIES: dict[str, Strategy] = {
    "the customer locked before the fetch": lock_before_the_fetch,
    "the ticket before the fetch": ticket_before_the_fetch,
}


# ── one look for all that came ───────────────────────────────────────────────────────────────────────────────────


class SharedFetch(NamedTuple):
    claimed: frozenset[int]
    ticket: int = 0
    seen: int = -1


class SharedWorld(NamedTuple):
    remote_version: int = 0
    local_version: int = 0
    guard: int = 0
    tickets: int = 0
    crashes: int = 0
    sent: frozenset[int] = frozenset()
    pending: frozenset[int] = frozenset()
    looks: frozenset[SharedFetch] = frozenset()


def check_coalesced(*, marks_all: bool, changes: int = CHANGES, crashes: int = 1) -> CheckResult:
    """A worker takes whatever waits. `marks_all`: and marks what waits when it is done, not what it took."""

    def steps(world: SharedWorld) -> Iterator[SharedWorld]:
        if world.remote_version < changes:
            yield world._replace(
                remote_version=world.remote_version + 1, sent=world.sent | {world.remote_version}
            )
        for event_number in world.sent:
            yield world._replace(sent=world.sent - {event_number}, pending=world.pending | {event_number})
        if world.pending:
            look = SharedFetch(world.pending)
            yield world._replace(pending=frozenset(), looks=world.looks | {look})
        for look in world.looks:
            other_looks = world.looks - {look}
            if world.crashes < crashes:
                pending = world.pending | look.claimed
                yield world._replace(looks=other_looks, pending=pending, crashes=world.crashes + 1)
            if not look.ticket:
                tickets = world.tickets + 1
                yield world._replace(looks=other_looks | {look._replace(ticket=tickets)}, tickets=tickets)
            elif look.seen < 0:
                yield world._replace(looks=other_looks | {look._replace(seen=world.remote_version)})
            else:
                after = world._replace(looks=other_looks, pending=frozenset() if marks_all else world.pending)
                is_newer = world.guard < look.ticket
                yield after._replace(local_version=look.seen, guard=look.ticket) if is_newer else after

    return explore_states(SharedWorld(), steps, lambda world: world.local_version == changes)


# ── two customers of one tenant ──────────────────────────────────────────────────────────────────────────────────


class CustomerEvent(NamedTuple):
    """One event's worker. `other`: the version of the other customer that its transaction has read."""

    phase: int = NONE
    ticket: int = 0
    seen: int = 0
    other: int = -1


class TwoCustomerWorld(NamedTuple):
    remote_versions: tuple[int, int] = (0, 0)
    mirror: tuple[int, int] = (0, 0)
    applied_versions: tuple[int, int] = (
        0,
        0,
    )  # what follows for the tenant was worked out from these versions
    guard: tuple[int, int] = (0, 0)
    tickets: int = 0
    crashes: int = 0
    visits: tuple[tuple[CustomerEvent, ...], tuple[CustomerEvent, ...]] = ((), ())


def check_two_customers(*, tenant_locked: bool, changes: int = 2, crashes: int = 1) -> CheckResult:
    """The transaction is two steps here: what it has read of the other customer may be old when it commits."""

    def steps(world: TwoCustomerWorld) -> Iterator[TwoCustomerWorld]:
        for customer_index in (0, 1):
            if world.remote_versions[customer_index] < changes:
                provider_versions = _with_value(
                    world.remote_versions, customer_index, world.remote_versions[customer_index] + 1
                )
                yield _with_visit(
                    world._replace(remote_versions=provider_versions),
                    customer_index,
                    world.remote_versions[customer_index],
                    CustomerEvent(SENT),
                )
            for event_index, visit in enumerate(world.visits[customer_index]):
                yield from visited(world, customer_index, event_index, visit)
                if visit.phase in (TICKETED, FETCHED) and world.crashes < crashes:
                    yield _with_visit(world, customer_index, event_index, CustomerEvent(SENT))._replace(
                        crashes=world.crashes + 1
                    )

    def visited(
        world: TwoCustomerWorld, customer_index: int, event_index: int, visit: CustomerEvent
    ) -> Iterator[TwoCustomerWorld]:
        other = 1 - customer_index
        open_transactions = [
            visit_inside for side in world.visits for visit_inside in side if visit_inside.other >= 0
        ]
        if visit.phase == SENT:
            tickets = world.tickets + 1
            yield _with_visit(world, customer_index, event_index, CustomerEvent(TICKETED, tickets))._replace(
                tickets=tickets
            )
        elif visit.phase == TICKETED:
            yield _with_visit(
                world,
                customer_index,
                event_index,
                CustomerEvent(FETCHED, visit.ticket, world.remote_versions[customer_index]),
            )
        elif visit.phase == FETCHED and visit.other < 0:
            if any(own_visit.other >= 0 for own_visit in world.visits[customer_index]) or (
                tenant_locked and open_transactions
            ):
                return  # the guard's row, or the tenant, is somebody's until commit
            if world.guard[customer_index] < visit.ticket:
                yield _with_visit(
                    world, customer_index, event_index, visit._replace(other=world.mirror[other])
                )
            else:
                yield _with_visit(world, customer_index, event_index, CustomerEvent(DONE))
        elif visit.phase == FETCHED:
            applied_versions = (visit.seen, visit.other) if customer_index == 0 else (visit.other, visit.seen)
            yield _with_visit(world, customer_index, event_index, CustomerEvent(DONE))._replace(
                mirror=_with_value(world.mirror, customer_index, visit.seen),
                guard=_with_value(world.guard, customer_index, visit.ticket),
                applied_versions=applied_versions,
            )

    start = TwoCustomerWorld(visits=((CustomerEvent(),) * changes, (CustomerEvent(),) * changes))
    return explore_states(start, steps, lambda world: world.applied_versions == (changes, changes))


def _with_value(pair: tuple[int, int], index: int, value: int) -> tuple[int, int]:
    return (value, pair[1]) if index == 0 else (pair[0], value)


def _with_visit(
    world: TwoCustomerWorld, customer_index: int, event_index: int, visit: CustomerEvent
) -> TwoCustomerWorld:
    # In order, because nothing depends on which event it was: those that are alike are one world.
    side = (
        *world.visits[customer_index][:event_index],
        visit,
        *world.visits[customer_index][event_index + 1 :],
    )
    side = tuple(sorted(side, key=lambda candidate: (candidate.phase == NONE, candidate)))
    return world._replace(visits=(side, world.visits[1]) if customer_index == 0 else (world.visits[0], side))


def list_results() -> Iterator[tuple[str, CheckResult]]:
    for name, strategy in (WRONG_STRATEGIES | RIGHT_STRATEGIES).items():
        yield name, check_strategy(strategy)
    yield "one look for many, marking what waits by then", check_coalesced(marks_all=True)
    yield "one look for many, marking what it took", check_coalesced(marks_all=False)
    yield "two customers, the tenant not locked", check_two_customers(tenant_locked=False)
    yield "two customers, the tenant locked", check_two_customers(tenant_locked=True)


if __name__ == "__main__":
    for name, verdict in list_results():
        print(
            f"{'right' if verdict.is_right else 'WRONG'} {verdict.states:>9,} {verdict.seconds:5.1f} s  {name}"
        )
