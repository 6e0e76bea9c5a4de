"""Random histories of one tenant: changes at the provider, webhooks twice, late, in any order or never, dead workers.

Steps and decisions are ours: tickets, guard, mirror and `course.course`; tables are dictionaries, and a transaction is
one step. Biased on purpose, because an even generator lets wrong ones pass for thousands of schedules: mostly one
customer, every operation changes something, the first webhooks come often, a crash for every two steps of a worker,
a second subscription. Each wrong strategy is this harness with one method changed.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shared.billing import course as courses
from shared.billing.course import Priced
from shared.billing.provider import Kept, Line, Subscription
from tests.billing.truth import BASIC, DAY, EPOCH, EXTRA, PLUS, SEATED

PRICED: Mapping[str, Priced] = {
    BASIC: Priced("ver_basic", addon=False, seats=False, position=1),
    PLUS: Priced("ver_plus", addon=False, seats=False, position=2),
    SEATED: Priced("ver_seated", addon=False, seats=True, position=3),
    EXTRA: Priced("ver_extra", addon=True, seats=False, position=9),
}
SECOND = timedelta(seconds=1)
CHANGES_IN_A_SECOND = 3
AT = EPOCH + 60 * DAY  # when what follows is worked out: the clock is not what is drawn here
Known = dict[str, Subscription]


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    customer: str
    subscription: Subscription  # as the payload has it
    created: datetime  # in whole seconds


@dataclass(eq=False, slots=True)
class Worker:
    customer: str
    claimed: list[Event]
    ticket: int = 0
    seen: Known | None = None


@dataclass
class Tenant:
    """Ours. `given`: what follows from all of it."""

    pending: dict[int, Event] = field(default_factory=dict)
    known: set[int] = field(default_factory=set)  # ids of events that were stored: twice is once
    mirror: dict[str, Known] = field(default_factory=dict)
    guard: dict[str, int] = field(default_factory=dict)
    tickets: int = 0
    given: Any = None

    # ── the strategy ─────────────────────────────────────────────────────────────────────────────────────────────

    def store(self, event: Event, *, dies: bool = False) -> bool:
        """Whether it was acknowledged. `dies`: the process does, right after its answer."""
        if event.number not in self.known:
            self.known.add(event.number)
            self.pending[event.number] = event
        return True

    def claim(self, customer: str) -> list[Event]:
        taken = [one for one in self.pending.values() if one.customer == customer]
        for one in taken:
            del self.pending[one.number]
        return taken

    def step(self, worker: Worker, provider: "Seller") -> bool:
        """Whether that was its last one."""
        if not worker.ticket:
            worker.ticket = self.take_ticket()
        elif worker.seen is None:
            worker.seen = provider.list_all(worker.customer)
        else:
            self.write(worker.customer, worker.seen, worker.ticket)
            return True
        return False

    def give_back(self, worker: Worker) -> None:
        """Its lease ran out."""
        self.pending |= {one.number: one for one in worker.claimed}

    def passes(self, customer: str, ticket: int) -> bool:
        return self.guard.get(customer, 0) < ticket

    # ── the same for all ─────────────────────────────────────────────────────────────────────────────────────────

    def take_ticket(self) -> int:
        self.tickets += 1
        return self.tickets

    def write(self, customer: str, seen: Known, ticket: int) -> None:
        if self.passes(customer, ticket):
            self.guard[customer] = max(ticket, self.guard.get(customer, 0))
            gone = {k: replace(one, status="canceled") for k, one in self.mirror.get(customer, {}).items()}
            self.mirror[customer] = gone | seen
            self.follow()

    def follow(self) -> None:
        self.given = worked_out(self.mirror)


def worked_out(mirror: Mapping[str, Known], at: datetime = AT, priced: Mapping[str, Priced] = PRICED) -> Any:
    found = courses.course([one for known in mirror.values() for one in known.values()], priced, at)
    return found and found.as_json()


class Seller:
    """The provider. `at`: now, or what is to count as now."""

    def __init__(self, dice: random.Random, at: datetime = AT) -> None:
        self.dice, self.at, self.state, self.made = dice, at, dict[str, Known](), 0

    def list_all(self, customer: str) -> Known:
        return dict(self.state.get(customer, {}))

    def change(self) -> Event:
        """Something that changes something."""
        return self.change_one("cus_1" if self.dice.random() < 0.85 else "cus_2")

    def change_one(self, customer: str) -> Event:
        dice, self.made = self.dice, self.made + 1
        known = self.state.setdefault(customer, {})
        live = [one for one in known.values() if one.status != "canceled"]
        if not live or (len(known) < 3 and dice.random() < 0.2):
            one = self._subscribe()
        else:
            one = self._turn(dice.choice(live))
        known[one.id] = one
        return Event(self.made, customer, one, EPOCH + (self.made // CHANGES_IN_A_SECOND) * SECOND)

    def _subscribe(self) -> Subscription:
        status = self.dice.choice(("active", "active", "trialing", "incomplete"))
        line = self._line(self.dice.choice((BASIC, PLUS, SEATED)))
        made = Subscription(f"sub_{self.made}", status, EPOCH + self.made * SECOND, lines=(line,), pays=True)
        return replace(made, trial_ends_at=self.at + 7 * DAY, pays=False) if status == "trialing" else made

    def _turn(self, one: Subscription) -> Subscription:
        ways = ("canceled", "canceled", "past_due", "recovered", "unpaid", "seats", "plan", "ends", "extra")
        way = self.dice.choice(ways)
        if way == "canceled" or (way == "unpaid" and one.status == "unpaid"):
            return replace(one, status="canceled", ended_at=EPOCH + self.made * SECOND)
        if way == "past_due" and one.status != "past_due":
            return replace(one, status="past_due", failed_since=self.at - self.dice.choice((3, 9)) * DAY)
        if way == "unpaid":
            return replace(one, status="unpaid")
        if way == "recovered" and one.status != "active":
            return replace(one, status="active", failed_since=None, pays=True)
        if way == "plan":
            other = [price for price in (BASIC, PLUS, SEATED) if price != one.lines[0].price_id]
            return replace(one, lines=(self._line(self.dice.choice(other)), *one.lines[1:]))
        if way == "ends":
            return replace(
                one, cancel_at=None if one.cancel_at else self.at + DAY * self.dice.choice((-1, 5))
            )
        if way == "extra" and len(one.lines) > 1:
            return replace(
                one, lines=one.lines[:1], kept=(Kept(EXTRA, one.lines[1].quantity, self.at + 9 * DAY),)
            )
        if way == "extra":
            return replace(one, lines=(*one.lines, self._line(EXTRA)), kept=())
        first = replace(one.lines[0], quantity=one.lines[0].quantity + 1)
        return replace(one, lines=(first, *one.lines[1:]))

    def _line(self, price: str) -> Line:
        return Line(f"si_{price}", price, f"price_{price}", self.dice.randint(1, 4), EPOCH, EPOCH + 30 * DAY)


def wrong(seed: int, kind: type[Tenant] = Tenant, *, loses: bool = False, reconciles: bool = True) -> bool:
    """Whether the history of this seed ends in another state than the provider's. `loses`: some webhooks never come."""
    dice = random.Random(seed)
    provider, tenant = Seller(dice), kind()
    left, crashes = dice.randint(3, 7), dice.randint(0, 3)
    flying = list[Event]()
    workers = list[Worker]()
    while left or flying or tenant.pending or workers:
        ways = ["change"] * (2 if left else 0) + ["deliver"] * (2 if flying else 0)
        ways += ["begin"] * (3 if tenant.pending else 0) + ["step"] * (4 if workers else 0)
        ways += ["crash"] * (2 if workers and crashes else 0)
        way = dice.choice(ways)
        if way == "change":
            left -= 1
            event = provider.change()
            if not loses or dice.random() < 0.5:
                flying.append(event)
        elif way == "deliver":
            event = flying[0] if dice.random() < 0.3 else dice.choice(flying)
            dies = crashes > 0 and dice.random() < 0.1
            crashes -= dies
            if tenant.store(event, dies=dies) and dice.random() < (0.5 if event.number <= 2 else 0.75):
                flying.remove(event)  # or it comes once more
        elif way == "begin":
            customer = dice.choice([one.customer for one in tenant.pending.values()])
            workers.append(Worker(customer, tenant.claim(customer)))
        elif way == "step":
            worker = dice.choice(workers)
            if tenant.step(worker, provider):
                workers.remove(worker)
        else:
            crashes -= 1
            worker = dice.choice(workers)
            workers.remove(worker)
            tenant.give_back(worker)
    if loses and reconciles:
        for customer in provider.state:
            ticket = tenant.take_ticket()
            tenant.write(customer, provider.list_all(customer), ticket)
    return tenant.given != worked_out(provider.state)


# ── what others do ───────────────────────────────────────────────────────────────────────────────────────────────


class Payload(Tenant):
    """Writes what the webhook says, as it comes."""

    def counts(self, event: Event) -> bool:
        return True

    def step(self, worker: Worker, provider: Seller) -> bool:
        for event in worker.claimed:
            if self.counts(event):
                self.mirror.setdefault(event.customer, {})[event.subscription.id] = event.subscription
        self.follow()
        return True

    def claim(self, customer: str) -> list[Event]:
        first = next(one for one in self.pending.values() if one.customer == customer)
        del self.pending[first.number]
        return [first]


class PayloadUnlessOlder(Payload):
    newest: datetime = EPOCH

    def counts(self, event: Event) -> bool:
        if event.created < self.newest:
            return False
        self.newest = event.created
        return True


class PayloadIfNewer(Payload):
    newest: datetime = EPOCH - SECOND

    def counts(self, event: Event) -> bool:
        if event.created <= self.newest:
            return False
        self.newest = event.created
        return True


class MarkedBefore(Tenant):
    def give_back(self, worker: Worker) -> None: ...


class AcknowledgedBefore(Tenant):
    def store(self, event: Event, *, dies: bool = False) -> bool:
        return True if dies else super().store(event)


class NoGuard(Tenant):
    def passes(self, customer: str, ticket: int) -> bool:
        return True


class TicketAfter(Tenant):
    def step(self, worker: Worker, provider: Seller) -> bool:
        if worker.seen is None:
            worker.seen = provider.list_all(worker.customer)
        elif not worker.ticket:
            worker.ticket = self.take_ticket()
        else:
            return super().step(worker, provider)
        return False


class OnlyTheNewest(Tenant):
    """`list(limit=1)`."""

    def step(self, worker: Worker, provider: Seller) -> bool:
        last = super().step(worker, provider)
        if worker.seen and not last:
            newest = max(worker.seen.values(), key=lambda one: one.created_at)
            worker.seen = {newest.id: newest}
        return last


class MarksAll(Tenant):
    """One look for many, and whatever waits by then is marked with it."""

    def step(self, worker: Worker, provider: Seller) -> bool:
        last = super().step(worker, provider)
        if last:
            self.claim(worker.customer)
        return last


WRONG: tuple[type[Tenant], ...] = (
    *(Payload, PayloadUnlessOlder, PayloadIfNewer, MarkedBefore, AcknowledgedBefore),
    *(NoGuard, TicketAfter, OnlyTheNewest, MarksAll),
)
