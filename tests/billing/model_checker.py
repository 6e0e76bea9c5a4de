"""Every interleaving of a small world, breadth first: changes at the provider, deliveries, workers, crashes.

Events arrive in any order, each is worked on by a worker of its own, and a worker may die between any two of its
steps; then its event waits for another one. What a transaction does is one step, what leaves it is not. A strategy is
right when every world in which nothing is left to do has, here, what the provider has.

`python -m tests.billing.model_checker` prints the table.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

CHANGES, CRASHES = 4, 2
A_SECOND = 2  # changes that happen within one second, in which `created` counts

State = TypeVar("State", bound=Hashable)
NONE, SENT, STORED, TICKETED, FETCHED, DONE, ACKED = range(7)


@dataclass(frozen=True, slots=True)
class Verdict:
    right: bool
    states: int  # looked at until it was clear
    seconds: float


class Event(NamedTuple):
    phase: int = NONE
    ticket: int = 0
    seen: int = 0  # version that was fetched


class World(NamedTuple):
    there: int = 0  # version at the provider; an event's payload is the version that caused it
    here: int = 0
    guard: int = 0  # ticket, or `created`, of what was written last
    tickets: int = 0
    lock: int = -1  # event whose worker holds the customer
    crashes: int = 0
    events: tuple[Event, ...] = (Event(),) * CHANGES

    def with_event(self, which: int, event: Event) -> "World":
        return self._replace(events=(*self.events[:which], event, *self.events[which + 1 :]))


Steps = Callable[[World, int], Iterator[World]]


def explore(
    start: State, steps: Callable[[State], Iterable[State]], is_right: Callable[[State], bool]
) -> Verdict:
    """Stops at the first world in which nothing is left to do and something is wrong."""
    begun, known, level = time.monotonic(), {start}, [start]
    while level:
        ahead = list[State]()
        for state in level:
            last = True
            for follower in steps(state):
                last = False
                if follower not in known:
                    known.add(follower)
                    ahead.append(follower)
            if last and not is_right(state):
                return Verdict(False, len(known), time.monotonic() - begun)
        level = ahead
    return Verdict(True, len(known), time.monotonic() - begun)


def check(strategy: Steps, *, changes: int = CHANGES, crashes: int = CRASHES) -> Verdict:
    loses = LOSES.get(strategy, ())

    def steps(world: World) -> Iterator[World]:
        if world.there < changes:
            yield world.with_event(world.there, Event(SENT))._replace(there=world.there + 1)
        for which, event in enumerate(world.events):
            yield from strategy(world, which)
            if event.phase in (TICKETED, FETCHED, ACKED) and world.crashes < crashes:
                yield crash(world, which, lost=event.phase in loses)

    start = World(events=(Event(),) * changes)
    return explore(start, steps, lambda world: world.here == changes)


def crash(world: World, which: int, *, lost: bool) -> World:
    """Its worker dies, and the event is gone with it or waits for another one."""
    lock = -1 if world.lock == which else world.lock
    phase = DONE if lost else STORED
    return world.with_event(which, Event(phase))._replace(crashes=world.crashes + 1, lock=lock)


# ── the payload's word ───────────────────────────────────────────────────────────────────────────────────────────


def payload_as_it_comes(world: World, which: int) -> Iterator[World]:
    yield from _payload(world, which, lambda created, last: True)


def payload_unless_created_earlier(world: World, which: int) -> Iterator[World]:
    yield from _payload(world, which, lambda created, last: created >= last)


def payload_if_created_later(world: World, which: int) -> Iterator[World]:
    yield from _payload(world, which, lambda created, last: created > last)


def _payload(world: World, which: int, counts: Callable[[int, int], bool]) -> Iterator[World]:
    event, created = world.events[which], 1 + which // A_SECOND
    if event.phase == SENT:
        yield world.with_event(which, Event(STORED))
    elif event.phase == STORED:
        done = world.with_event(which, Event(DONE))
        yield done._replace(here=which + 1, guard=created) if counts(created, world.guard) else done


# ── a look, asked for by the event ───────────────────────────────────────────────────────────────────────────────


def ticket_before_the_fetch(world: World, which: int) -> Iterator[World]:
    """Ours."""
    event = world.events[which]
    if event.phase == SENT:
        yield world.with_event(which, Event(STORED))
    elif event.phase == STORED:
        yield _ticketed(world, which, event)
    elif event.phase == TICKETED:
        yield _fetched(world, which, event)
    elif event.phase == FETCHED:
        yield _written(world, which, event)


def ticket_after_the_fetch(world: World, which: int) -> Iterator[World]:
    event = world.events[which]
    if event.phase == SENT:
        yield world.with_event(which, Event(STORED))
    elif event.phase == STORED:
        yield _fetched(world, which, event)
    elif event.phase == FETCHED and not event.ticket:
        tickets = world.tickets + 1
        yield world.with_event(which, event._replace(ticket=tickets))._replace(tickets=tickets)
    elif event.phase == FETCHED:
        yield _written(world, which, event)


def no_guard(world: World, which: int) -> Iterator[World]:
    event = world.events[which]
    if event.phase == SENT:
        yield world.with_event(which, Event(STORED))
    elif event.phase == STORED:
        yield _fetched(world, which, event)
    elif event.phase == FETCHED:
        yield world.with_event(which, Event(DONE))._replace(here=event.seen)


def lock_before_the_fetch(world: World, which: int) -> Iterator[World]:
    """Right too, but a connection is held while the provider takes its time."""
    event = world.events[which]
    if event.phase == SENT:
        yield world.with_event(which, Event(STORED))
    elif event.phase == STORED and world.lock < 0:
        yield world.with_event(which, Event(TICKETED))._replace(lock=which)
    elif event.phase == TICKETED:
        yield _fetched(world, which, event)
    elif event.phase == FETCHED:
        yield world.with_event(which, Event(DONE))._replace(here=event.seen, lock=-1)


def mark_before_the_work(world: World, which: int) -> Iterator[World]:
    """As ours, but marked when it is taken: nobody takes it up where its worker left it."""
    return ticket_before_the_fetch(world, which)


def ack_before_the_store(world: World, which: int) -> Iterator[World]:
    event = world.events[which]
    if event.phase == SENT:
        yield world.with_event(which, Event(ACKED))
    elif event.phase == ACKED:
        yield world.with_event(which, Event(STORED))
    else:
        yield from ticket_before_the_fetch(world, which)


def _ticketed(world: World, which: int, event: Event) -> World:
    tickets = world.tickets + 1
    return world.with_event(which, Event(TICKETED, tickets))._replace(tickets=tickets)


def _fetched(world: World, which: int, event: Event) -> World:
    return world.with_event(which, Event(FETCHED, event.ticket, world.there))


def _written(world: World, which: int, event: Event) -> World:
    """Won or lost, it is done."""
    done = world.with_event(which, Event(DONE))
    return done._replace(here=event.seen, guard=event.ticket) if world.guard < event.ticket else done


LOSES: dict[Steps, tuple[int, ...]] = {
    mark_before_the_work: (TICKETED, FETCHED),
    ack_before_the_store: (ACKED,),
}
WRONG: dict[str, Steps] = {
    "payload, in the order of arrival": payload_as_it_comes,
    "payload, unless created before the last": payload_unless_created_earlier,
    "payload, if created after the last": payload_if_created_later,
    "marked before the work": mark_before_the_work,
    "acknowledged before it is stored": ack_before_the_store,
    "a look without a guard": no_guard,
    "the ticket after the fetch": ticket_after_the_fetch,
}
RIGHT: dict[str, Steps] = {
    "the customer locked before the fetch": lock_before_the_fetch,
    "the ticket before the fetch": ticket_before_the_fetch,
}


# ── one look for all that came ───────────────────────────────────────────────────────────────────────────────────


class Look(NamedTuple):
    claimed: frozenset[int]
    ticket: int = 0
    seen: int = -1


class Crowd(NamedTuple):
    there: int = 0
    here: int = 0
    guard: int = 0
    tickets: int = 0
    crashes: int = 0
    sent: frozenset[int] = frozenset()
    pending: frozenset[int] = frozenset()
    looks: frozenset[Look] = frozenset()


def check_coalesced(*, marks_all: bool, changes: int = CHANGES, crashes: int = 1) -> Verdict:
    """A worker takes whatever waits. `marks_all`: and marks what waits when it is done, not what it took."""

    def steps(world: Crowd) -> Iterator[Crowd]:
        if world.there < changes:
            yield world._replace(there=world.there + 1, sent=world.sent | {world.there})
        for one in world.sent:
            yield world._replace(sent=world.sent - {one}, pending=world.pending | {one})
        if world.pending:
            look = Look(world.pending)
            yield world._replace(pending=frozenset(), looks=world.looks | {look})
        for look in world.looks:
            others = world.looks - {look}
            if world.crashes < crashes:
                pending = world.pending | look.claimed
                yield world._replace(looks=others, pending=pending, crashes=world.crashes + 1)
            if not look.ticket:
                tickets = world.tickets + 1
                yield world._replace(looks=others | {look._replace(ticket=tickets)}, tickets=tickets)
            elif look.seen < 0:
                yield world._replace(looks=others | {look._replace(seen=world.there)})
            else:
                after = world._replace(looks=others, pending=frozenset() if marks_all else world.pending)
                won = world.guard < look.ticket
                yield after._replace(here=look.seen, guard=look.ticket) if won else after

    return explore(Crowd(), steps, lambda world: world.here == changes)


# ── two customers of one tenant ──────────────────────────────────────────────────────────────────────────────────


class Visit(NamedTuple):
    """One event's worker. `other`: the version of the other customer that its transaction has read."""

    phase: int = NONE
    ticket: int = 0
    seen: int = 0
    other: int = -1


class Pair(NamedTuple):
    there: tuple[int, int] = (0, 0)
    mirror: tuple[int, int] = (0, 0)
    given: tuple[int, int] = (0, 0)  # what follows for the tenant was worked out from these versions
    guard: tuple[int, int] = (0, 0)
    tickets: int = 0
    crashes: int = 0
    visits: tuple[tuple[Visit, ...], tuple[Visit, ...]] = ((), ())


def check_two_customers(*, tenant_locked: bool, changes: int = 2, crashes: int = 1) -> Verdict:
    """The transaction is two steps here: what it has read of the other customer may be old when it commits."""

    def steps(world: Pair) -> Iterator[Pair]:
        for mine in (0, 1):
            if world.there[mine] < changes:
                there = _at(world.there, mine, world.there[mine] + 1)
                yield _visit(world._replace(there=there), mine, world.there[mine], Visit(SENT))
            for which, visit in enumerate(world.visits[mine]):
                yield from visited(world, mine, which, visit)
                if visit.phase in (TICKETED, FETCHED) and world.crashes < crashes:
                    yield _visit(world, mine, which, Visit(SENT))._replace(crashes=world.crashes + 1)

    def visited(world: Pair, mine: int, which: int, visit: Visit) -> Iterator[Pair]:
        other = 1 - mine
        inside = [one for side in world.visits for one in side if one.other >= 0]
        if visit.phase == SENT:
            tickets = world.tickets + 1
            yield _visit(world, mine, which, Visit(TICKETED, tickets))._replace(tickets=tickets)
        elif visit.phase == TICKETED:
            yield _visit(world, mine, which, Visit(FETCHED, visit.ticket, world.there[mine]))
        elif visit.phase == FETCHED and visit.other < 0:
            if any(one.other >= 0 for one in world.visits[mine]) or (tenant_locked and inside):
                return  # the guard's row, or the tenant, is somebody's until commit
            if world.guard[mine] < visit.ticket:
                yield _visit(world, mine, which, visit._replace(other=world.mirror[other]))
            else:
                yield _visit(world, mine, which, Visit(DONE))
        elif visit.phase == FETCHED:
            given = (visit.seen, visit.other) if mine == 0 else (visit.other, visit.seen)
            yield _visit(world, mine, which, Visit(DONE))._replace(
                mirror=_at(world.mirror, mine, visit.seen),
                guard=_at(world.guard, mine, visit.ticket),
                given=given,
            )

    start = Pair(visits=((Visit(),) * changes, (Visit(),) * changes))
    return explore(start, steps, lambda world: world.given == (changes, changes))


def _at(pair: tuple[int, int], which: int, value: int) -> tuple[int, int]:
    return (value, pair[1]) if which == 0 else (pair[0], value)


def _visit(world: Pair, mine: int, which: int, visit: Visit) -> Pair:
    # In order, because nothing depends on which event it was: those that are alike are one world.
    side = (*world.visits[mine][:which], visit, *world.visits[mine][which + 1 :])
    side = tuple(sorted(side, key=lambda one: (one.phase == NONE, one)))
    return world._replace(visits=(side, world.visits[1]) if mine == 0 else (world.visits[0], side))


def table() -> Iterator[tuple[str, Verdict]]:
    for name, strategy in (WRONG | RIGHT).items():
        yield name, check(strategy)
    yield "one look for many, marking what waits by then", check_coalesced(marks_all=True)
    yield "one look for many, marking what it took", check_coalesced(marks_all=False)
    yield "two customers, the tenant not locked", check_two_customers(tenant_locked=False)
    yield "two customers, the tenant locked", check_two_customers(tenant_locked=True)


if __name__ == "__main__":
    for name, verdict in table():
        print(
            f"{'right' if verdict.right else 'WRONG'} {verdict.states:>9,} {verdict.seconds:5.1f} s  {name}"
        )
