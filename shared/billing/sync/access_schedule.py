"""From what the provider says to what a tenant may use, now and as far ahead as it is known: the published table.

Pure functions of the provider's truth and a time. Nothing here reads a clock or a database, so that every look at the
same truth comes to the same course.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from shared.billing.provider import Subscription

AccessStatus = Literal["active", "grace", "read_only", "none"]
GRACE_PERIOD = timedelta(days=7)
STATUSES_BEST_FIRST: tuple[AccessStatus, ...] = ("active", "grace", "read_only", "none")


class StatusMeaning(NamedTuple):
    description: str
    access: str
    status: AccessStatus  # at once
    affects_newcomers: bool = True  # whether it says anything about who never had more


# Published in docs/billing.md; a test compares the two.
ACCESS_TABLE = {
    "trialing": StatusMeaning(
        "A trial", "Full until it ends; then as the table says for what follows", "active"
    ),
    "active": StatusMeaning("Paid, or the first charge is being made", "Full", "active"),
    "past_due": StatusMeaning(
        "A renewal failed and is tried again",
        "Full for 7 days from the first unpaid invoice, with a banner; then read-only",
        "grace",
    ),
    "unpaid": StatusMeaning("All tries are used up", "Read-only", "read_only"),
    "paused": StatusMeaning("The trial ended without a way to pay", "Read-only; resumable", "read_only"),
    "incomplete": StatusMeaning(
        "The first payment is open", "None: finish the payment", "none", affects_newcomers=False
    ),
    "incomplete_expired": StatusMeaning(
        "The first payment never came", "None", "none", affects_newcomers=False
    ),
    "canceled": StatusMeaning("Ended", "None: what Free gives; data is kept", "none"),
}


class CatalogPrice(NamedTuple):
    """What a price of ours stands for."""

    version_id: str
    is_addon: bool
    is_per_seat: bool  # its quantity is the number of seats
    position: int  # of the plan, from the least to the most


@dataclass(frozen=True, slots=True)
class Phase:
    since: datetime
    status: AccessStatus
    why: str
    is_trial_end: bool = False  # nothing is left when the trial has ended


@dataclass(frozen=True, slots=True)
class ActiveAddon:
    version_id: str
    quantity: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessSchedule:
    """`stages`: what holds from when on; the first one from the time of the look on."""

    subscription_id: str  # the one that counts; "" where none does any more
    provider_status: str  # its status, as the provider says it
    phases: tuple[Phase, ...]
    version_id: str = ""  # of the plan; "" leaves the plan as it is
    seats: int | None = None
    addons: tuple[ActiveAddon, ...] = ()
    trial_ends_at: datetime | None = None  # when it ends by the clock alone, and nothing else is left
    ended_at: datetime | None = None  # when the last one did, where none is left
    alerts: tuple[str, ...] = ()

    def status_at(self, at: datetime) -> AccessStatus:
        """Access at a time, by what was known at the look."""
        if self.trial_ends_at is not None and self.trial_ends_at <= at:
            return "none"
        past_phases = [phase for phase in self.phases if phase.since <= at]
        return (past_phases[-1] if past_phases else self.phases[0]).status

    def as_json(self) -> dict[str, Any]:
        """Without the time of the look, so that two looks at the same truth are equal."""
        first, *later = self.phases
        return {
            "subscription": self.subscription_id,
            "word": self.provider_status,
            "status": first.status,
            "why": first.why,
            "later": [
                {"since": phase.since.isoformat(), "status": phase.status, "why": phase.why}
                for phase in later
            ],
            "version": self.version_id,
            "seats": self.seats,
            "addons": [
                [addon.version_id, addon.quantity, addon.until and addon.until.isoformat()]
                for addon in self.addons
            ],
            "trial_ends_at": self.trial_ends_at and self.trial_ends_at.isoformat(),
            "alerts": list(self.alerts),
        }


def schedule_for(
    subscriptions: Iterable[Subscription],
    catalog_prices: Mapping[str, CatalogPrice],
    at: datetime,
    *,
    previous_status: AccessStatus | None = None,
) -> AccessSchedule | None:
    """Of all subscriptions of all customers of one tenant. None: they say nothing about it.

    `priced`: by our price id. `last`: access by subscription before this look, which a status that nobody knows does
    not change; None where there was none.
    """
    ordered_subscriptions = sorted(
        subscriptions, key=lambda subscription: (subscription.created_at, subscription.id)
    )
    if not any(
        ACCESS_TABLE[subscription.status].affects_newcomers
        if subscription.status in ACCESS_TABLE
        else previous_status is not None
        for subscription in ordered_subscriptions
    ):
        return None
    # What else is sold through the same account neither gives nor keeps. But a price that nobody here knows, in the
    # only subscription there is, is a special price of somebody who pays.
    our_subscriptions = [
        subscription for subscription in ordered_subscriptions if _plan_prices(subscription, catalog_prices)
    ] or ordered_subscriptions
    phases_by_id = {
        subscription.id: phases_of(subscription, at, previous_status) for subscription in our_subscriptions
    }
    change_times = sorted({phase.since for phases in phases_by_id.values() for phase in phases})
    merged_phases: list[Phase] = []
    for change_time in change_times:
        best_phase = min(
            (_phase_at(phases, change_time) for phases in phases_by_id.values()),
            key=lambda phase: STATUSES_BEST_FIRST.index(phase.status),
        )
        if not merged_phases or merged_phases[-1].status != best_phase.status:
            merged_phases.append(
                Phase(change_time, best_phase.status, best_phase.why, best_phase.is_trial_end)
            )
    current_status = merged_phases[0].status
    candidates = [
        subscription
        for subscription in our_subscriptions
        if _phase_at(phases_by_id[subscription.id], at).status == current_status
    ]
    plan_subscription = max(
        candidates,
        key=lambda subscription: (
            _plan_position(subscription, catalog_prices),
            subscription.created_at,
            subscription.id,
        ),
    )
    last_ended_at = max(
        (subscription.ended_at for subscription in our_subscriptions if subscription.ended_at), default=None
    )
    if current_status == "none":
        return AccessSchedule(
            plan_subscription.id,
            plan_subscription.status,
            tuple(merged_phases),
            ended_at=last_ended_at,
            alerts=_find_alerts(ordered_subscriptions, catalog_prices),
        )
    trial_ends_at = None
    if merged_phases[-1].is_trial_end:  # said by the plan's own end, which people are told in other words
        trial_ends_at = merged_phases.pop().since
    giving_statuses = ("active", "grace") if current_status in ("active", "grace") else (current_status,)
    plan = _best_plan_price(plan_subscription, catalog_prices)
    return AccessSchedule(
        plan_subscription.id,
        plan_subscription.status,
        tuple(merged_phases),
        plan.version_id if plan else "",
        _count_seats(plan_subscription, catalog_prices),
        _active_addons(
            [
                subscription
                for subscription in our_subscriptions
                if _phase_at(phases_by_id[subscription.id], at).status in giving_statuses
            ],
            catalog_prices,
            at,
        ),
        trial_ends_at,
        alerts=_find_alerts(ordered_subscriptions, catalog_prices),
    )


def phases_of(
    subscription: Subscription, at: datetime, previous_status: AccessStatus | None = None
) -> list[Phase]:
    """What one subscription gives from `at` on, as far as it is known. Never empty; the first begins at `at`."""
    meaning = ACCESS_TABLE.get(subscription.status)
    if meaning is None:
        phases = [
            Phase(
                at,
                previous_status or "none",
                f"The provider says {subscription.status}, which nobody here knows yet",
            )
        ]
    elif subscription.status == "past_due":
        since = subscription.failed_since or min(
            (line.starts_at for line in subscription.lines if line.starts_at), default=subscription.created_at
        )
        ends = since + GRACE_PERIOD
        phases = [Phase(at, "grace", "A payment is overdue")] if at < ends else []
        phases.append(Phase(max(at, ends), "read_only", f"{GRACE_PERIOD.days} days without a payment"))
    elif (
        subscription.status == "trialing" and subscription.trial_ends_at is not None and not subscription.pays
    ):
        phases = [Phase(at, "active", meaning.description)] if at < subscription.trial_ends_at else []
        ends = max(at, subscription.trial_ends_at)
        if subscription.after_trial == "pause":
            phases.append(Phase(ends, "read_only", ACCESS_TABLE["paused"].description))
        else:
            phases.append(Phase(ends, "none", "The trial ended without a way to pay", is_trial_end=True))
    else:
        phases = [Phase(at, meaning.status, meaning.description)]
    if subscription.cancel_at is not None and phases[0].status != "none":
        phases = [phase for phase in phases if phase.since < subscription.cancel_at]
        phases.append(
            Phase(max(at, subscription.cancel_at), "none", "The subscription ended with its period")
        )
    return phases


def _phase_at(phases: Sequence[Phase], at: datetime) -> Phase:
    return next(phase for phase in reversed(phases) if phase.since <= at)


def _plan_prices(
    subscription: Subscription, catalog_prices: Mapping[str, CatalogPrice]
) -> list[CatalogPrice]:
    line_prices = (catalog_prices.get(line.price_id) for line in subscription.lines)
    return [price for price in line_prices if price is not None and not price.is_addon]


def _best_plan_price(
    subscription: Subscription, catalog_prices: Mapping[str, CatalogPrice]
) -> CatalogPrice | None:
    return max(
        _plan_prices(subscription, catalog_prices),
        key=lambda price: (price.position, price.version_id),
        default=None,
    )


def _plan_position(subscription: Subscription, catalog_prices: Mapping[str, CatalogPrice]) -> int:
    plan = _best_plan_price(subscription, catalog_prices)
    return plan.position if plan else -1


def _count_seats(subscription: Subscription, catalog_prices: Mapping[str, CatalogPrice]) -> int | None:
    seat_quantities = [
        line.quantity
        for line in subscription.lines
        if (price := catalog_prices.get(line.price_id)) and price.is_per_seat
    ]
    return sum(seat_quantities) if seat_quantities else None


def _active_addons(
    live_subscriptions: Sequence[Subscription], catalog_prices: Mapping[str, CatalogPrice], at: datetime
) -> tuple[ActiveAddon, ...]:
    """What is bought on, and what was given up and is paid for still: of each subscription the larger of the two."""
    quantities = Counter[tuple[str, datetime | None]]()
    for subscription in live_subscriptions:
        current_quantities = Counter[str]()
        for line in subscription.lines:
            price = catalog_prices.get(line.price_id)
            if price is not None and price.is_addon:
                current_quantities[price.version_id] += max(line.quantity, 1)
        quantities.update({(version, None): number for version, number in current_quantities.items()})
        for canceled_addon in sorted(subscription.kept, key=lambda addon: addon.until, reverse=True):
            price = catalog_prices.get(canceled_addon.price_id)
            if price is None or not price.is_addon or canceled_addon.until <= at:
                continue
            if (extra := canceled_addon.quantity - current_quantities[price.version_id]) > 0:
                quantities[price.version_id, canceled_addon.until] += extra
                current_quantities[price.version_id] = canceled_addon.quantity
    addons = [ActiveAddon(version, number, until) for (version, until), number in quantities.items()]
    return tuple(
        sorted(addons, key=lambda addon: (addon.version_id, addon.until is not None, addon.until or at))
    )


def _find_alerts(
    subscriptions: Sequence[Subscription], catalog_prices: Mapping[str, CatalogPrice]
) -> tuple[str, ...]:
    """What an operator should look at."""
    alerts = []
    live_subscriptions = [
        subscription
        for subscription in subscriptions
        if ACCESS_TABLE.get(subscription.status, ACCESS_TABLE["active"]).status != "none"
    ]
    if len(live_subscriptions) > 1:
        alerts.append(
            f"{len(live_subscriptions)} live subscriptions: {', '.join(subscription.id for subscription in live_subscriptions)}"
        )
    alerts += [
        f"{subscription.id} has the unknown status {subscription.status}"
        for subscription in subscriptions
        if subscription.status not in ACCESS_TABLE
    ]
    alerts += [
        f"{subscription.id} has a price that is none of ours: {line.external_price_id}"
        for subscription in live_subscriptions
        for line in subscription.lines
        if line.price_id not in catalog_prices
    ]
    return tuple(alerts)
