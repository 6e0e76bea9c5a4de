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

from shared.billing.provider_values import CanceledAddon, Subscription, SubscriptionItem
from shared.billing.sync import access_schedule
from shared.billing.sync.access_schedule import CatalogPrice
from tests.support.billing.access_reference import BASIC, DAY, EPOCH, EXTRA, PLUS, SEATED

PLAN_PRICES: Mapping[str, CatalogPrice] = {
    BASIC: CatalogPrice("ver_basic", is_addon=False, is_per_seat=False, position=1),
    PLUS: CatalogPrice("ver_plus", is_addon=False, is_per_seat=False, position=2),
    SEATED: CatalogPrice("ver_seated", is_addon=False, is_per_seat=True, position=3),
    EXTRA: CatalogPrice("ver_extra", is_addon=True, is_per_seat=False, position=9),
}
SECOND = timedelta(seconds=1)
CHANGES_PER_SECOND = 3
NOW = EPOCH + 60 * DAY  # when what follows is worked out: the clock is not what is drawn here
SubscriptionsById = dict[str, Subscription]


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    number: int
    customer: str
    subscription: Subscription  # as the payload has it
    created: datetime  # in whole seconds


@dataclass(eq=False, slots=True)
class Worker:
    customer: str
    claimed: list[HistoryEvent]
    ticket: int = 0
    fetched: SubscriptionsById | None = None


@dataclass
class TenantModel:
    """Ours. `given`: what follows from all of it."""

    pending: dict[int, HistoryEvent] = field(default_factory=dict)
    stored_numbers: set[int] = field(default_factory=set)  # ids of events that were stored: twice is once
    records: dict[str, SubscriptionsById] = field(default_factory=dict)
    guard: dict[str, int] = field(default_factory=dict)
    tickets: int = 0
    outcome: Any = None

    # ── the strategy ─────────────────────────────────────────────────────────────────────────────────────────────

    def store_event(self, event: HistoryEvent, *, dies: bool = False) -> bool:
        """Whether it was acknowledged. `dies`: the process does, right after its answer."""
        if event.number not in self.stored_numbers:
            self.stored_numbers.add(event.number)
            self.pending[event.number] = event
        return True

    def claim_events(self, customer: str) -> list[HistoryEvent]:
        events = [event for event in self.pending.values() if event.customer == customer]
        for event in events:
            del self.pending[event.number]
        return events

    def run_step(self, worker: Worker, provider: "RandomProvider") -> bool:
        """Whether that was its last one."""
        if not worker.ticket:
            worker.ticket = self.take_ticket()
        elif worker.fetched is None:
            worker.fetched = provider.list_all(worker.customer)
        else:
            self.write_records(worker.customer, worker.fetched, worker.ticket)
            return True
        return False

    def return_events(self, worker: Worker) -> None:
        """Its lease ran out."""
        self.pending |= {event.number: event for event in worker.claimed}

    def passes_guard(self, customer: str, ticket: int) -> bool:
        return self.guard.get(customer, 0) < ticket

    # ── the same for all ─────────────────────────────────────────────────────────────────────────────────────────

    def take_ticket(self) -> int:
        self.tickets += 1
        return self.tickets

    def write_records(self, customer: str, seen: SubscriptionsById, ticket: int) -> None:
        if self.passes_guard(customer, ticket):
            self.guard[customer] = max(ticket, self.guard.get(customer, 0))
            canceled = {
                k: replace(subscription, status="canceled")
                for k, subscription in self.records.get(customer, {}).items()
            }
            self.records[customer] = canceled | seen
            self.compute_outcome()

    def compute_outcome(self) -> None:
        self.outcome = compute_outcome(self.records)


def compute_outcome(
    mirror: Mapping[str, SubscriptionsById],
    at: datetime = NOW,
    priced: Mapping[str, CatalogPrice] = PLAN_PRICES,
) -> Any:
    schedule = access_schedule.schedule_for(
        [
            subscription
            for subscriptions_by_id in mirror.values()
            for subscription in subscriptions_by_id.values()
        ],
        priced,
        at,
    )
    return schedule and schedule.as_json()


class RandomProvider:
    """The provider. `at`: now, or what is to count as now."""

    def __init__(self, rng: random.Random, at: datetime = NOW) -> None:
        self.rng, self.at, self.state, self.change_count = rng, at, dict[str, SubscriptionsById](), 0

    def list_all(self, customer: str) -> SubscriptionsById:
        return dict(self.state.get(customer, {}))

    def change_any(self) -> HistoryEvent:
        """Something that changes something."""
        return self.change_customer("cus_1" if self.rng.random() < 0.85 else "cus_2")

    def change_customer(self, customer: str) -> HistoryEvent:
        rng, self.change_count = self.rng, self.change_count + 1
        subscriptions = self.state.setdefault(customer, {})
        live = [subscription for subscription in subscriptions.values() if subscription.status != "canceled"]
        if not live or (len(subscriptions) < 3 and rng.random() < 0.2):
            subscription = self._subscribe()
        else:
            subscription = self._change_subscription(rng.choice(live))
        subscriptions[subscription.id] = subscription
        return HistoryEvent(
            self.change_count,
            customer,
            subscription,
            EPOCH + (self.change_count // CHANGES_PER_SECOND) * SECOND,
        )

    def _subscribe(self) -> Subscription:
        status = self.rng.choice(("active", "active", "trialing", "incomplete"))
        line = self._build_line(self.rng.choice((BASIC, PLUS, SEATED)))
        subscription = Subscription(
            f"sub_{self.change_count}", status, EPOCH + self.change_count * SECOND, lines=(line,), pays=True
        )
        return (
            replace(subscription, trial_ends_at=self.at + 7 * DAY, pays=False)
            if status == "trialing"
            else subscription
        )

    def _change_subscription(self, subscription: Subscription) -> Subscription:
        kinds = ("canceled", "canceled", "past_due", "recovered", "unpaid", "seats", "plan", "ends", "extra")
        kind = self.rng.choice(kinds)
        if kind == "canceled" or (kind == "unpaid" and subscription.status == "unpaid"):
            return replace(subscription, status="canceled", ended_at=EPOCH + self.change_count * SECOND)
        if kind == "past_due" and subscription.status != "past_due":
            return replace(
                subscription, status="past_due", failed_since=self.at - self.rng.choice((3, 9)) * DAY
            )
        if kind == "unpaid":
            return replace(subscription, status="unpaid")
        if kind == "recovered" and subscription.status != "active":
            return replace(subscription, status="active", failed_since=None, pays=True)
        if kind == "plan":
            other = [price for price in (BASIC, PLUS, SEATED) if price != subscription.lines[0].price_id]
            return replace(
                subscription, lines=(self._build_line(self.rng.choice(other)), *subscription.lines[1:])
            )
        if kind == "ends":
            return replace(
                subscription,
                cancel_at=None if subscription.cancel_at else self.at + DAY * self.rng.choice((-1, 5)),
            )
        if kind == "extra" and len(subscription.lines) > 1:
            return replace(
                subscription,
                lines=subscription.lines[:1],
                kept=(CanceledAddon(EXTRA, subscription.lines[1].quantity, self.at + 9 * DAY),),
            )
        if kind == "extra":
            return replace(subscription, lines=(*subscription.lines, self._build_line(EXTRA)), kept=())
        first = replace(subscription.lines[0], quantity=subscription.lines[0].quantity + 1)
        return replace(subscription, lines=(first, *subscription.lines[1:]))

    def _build_line(self, price: str) -> SubscriptionItem:
        return SubscriptionItem(
            f"si_{price}", price, f"price_{price}", self.rng.randint(1, 4), EPOCH, EPOCH + 30 * DAY
        )


def ends_wrong(
    seed: int, kind: type[TenantModel] = TenantModel, *, loses: bool = False, reconciles: bool = True
) -> bool:
    """Whether the history of this seed ends in another state than the provider's. `loses`: some webhooks never come."""
    rng = random.Random(seed)
    provider, tenant = RandomProvider(rng), kind()
    remaining_changes, crashes = rng.randint(3, 7), rng.randint(0, 3)
    undelivered = list[HistoryEvent]()
    workers = list[Worker]()
    while remaining_changes or undelivered or tenant.pending or workers:
        actions = ["change"] * (2 if remaining_changes else 0) + ["deliver"] * (2 if undelivered else 0)
        actions += ["begin"] * (3 if tenant.pending else 0) + ["step"] * (4 if workers else 0)
        actions += ["crash"] * (2 if workers and crashes else 0)
        action = rng.choice(actions)
        if action == "change":
            remaining_changes -= 1
            event = provider.change_any()
            if not loses or rng.random() < 0.5:
                undelivered.append(event)
        elif action == "deliver":
            event = undelivered[0] if rng.random() < 0.3 else rng.choice(undelivered)
            dies = crashes > 0 and rng.random() < 0.1
            crashes -= dies
            if tenant.store_event(event, dies=dies) and rng.random() < (0.5 if event.number <= 2 else 0.75):
                undelivered.remove(event)  # or it comes once more
        elif action == "begin":
            customer = rng.choice([event.customer for event in tenant.pending.values()])
            workers.append(Worker(customer, tenant.claim_events(customer)))
        elif action == "step":
            worker = rng.choice(workers)
            if tenant.run_step(worker, provider):
                workers.remove(worker)
        else:
            crashes -= 1
            worker = rng.choice(workers)
            workers.remove(worker)
            tenant.return_events(worker)
    if loses and reconciles:
        for customer in provider.state:
            ticket = tenant.take_ticket()
            tenant.write_records(customer, provider.list_all(customer), ticket)
    return tenant.outcome != compute_outcome(provider.state)


# ── what others do ───────────────────────────────────────────────────────────────────────────────────────────────


class ApplyPayload(TenantModel):
    """Writes what the webhook says, as it comes."""

    def should_apply(self, event: HistoryEvent) -> bool:
        return True

    def run_step(self, worker: Worker, provider: RandomProvider) -> bool:
        for event in worker.claimed:
            if self.should_apply(event):
                self.records.setdefault(event.customer, {})[event.subscription.id] = event.subscription
        self.compute_outcome()
        return True

    def claim_events(self, customer: str) -> list[HistoryEvent]:
        first = next(event for event in self.pending.values() if event.customer == customer)
        del self.pending[first.number]
        return [first]


class ApplyPayloadUnlessOlder(ApplyPayload):
    newest: datetime = EPOCH

    def should_apply(self, event: HistoryEvent) -> bool:
        if event.created < self.newest:
            return False
        self.newest = event.created
        return True


class ApplyPayloadIfNewer(ApplyPayload):
    newest: datetime = EPOCH - SECOND

    def should_apply(self, event: HistoryEvent) -> bool:
        if event.created <= self.newest:
            return False
        self.newest = event.created
        return True


class MarkBeforeWork(TenantModel):
    def return_events(self, worker: Worker) -> None: ...


class AcknowledgeBeforeStore(TenantModel):
    def store_event(self, event: HistoryEvent, *, dies: bool = False) -> bool:
        return True if dies else super().store_event(event)


class NoGuard(TenantModel):
    def passes_guard(self, customer: str, ticket: int) -> bool:
        return True


class TicketAfterFetch(TenantModel):
    def run_step(self, worker: Worker, provider: RandomProvider) -> bool:
        if worker.fetched is None:
            worker.fetched = provider.list_all(worker.customer)
        elif not worker.ticket:
            worker.ticket = self.take_ticket()
        else:
            return super().run_step(worker, provider)
        return False


class FetchOnlyNewest(TenantModel):
    """`list(limit=1)`."""

    def run_step(self, worker: Worker, provider: RandomProvider) -> bool:
        last = super().run_step(worker, provider)
        if worker.fetched and not last:
            newest = max(worker.fetched.values(), key=lambda subscription: subscription.created_at)
            worker.fetched = {newest.id: newest}
        return last


class MarkAllPending(TenantModel):
    """One look for many, and whatever waits by then is marked with it."""

    def run_step(self, worker: Worker, provider: RandomProvider) -> bool:
        last = super().run_step(worker, provider)
        if last:
            self.claim_events(worker.customer)
        return last


WRONG_STRATEGIES: tuple[type[TenantModel], ...] = (
    *(ApplyPayload, ApplyPayloadUnlessOlder, ApplyPayloadIfNewer, MarkBeforeWork, AcknowledgeBeforeStore),
    *(NoGuard, TicketAfterFetch, FetchOnlyNewest, MarkAllPending),
)
