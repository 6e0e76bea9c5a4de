"""Maps the provider's subscriptions to a tenant's access, now and for all known future changes.

Pure functions of the provider's state and a time. They read no clock and no database, so that the same state always
gives the same schedule.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from shared.billing.provider_values import OrderLine, PauseCause, Subscription, SubscriptionItem

AccessStatus = Literal["active", "grace", "read_only", "none"]
GRACE_PERIOD = timedelta(days=7)
ENDED_STATUSES = ("canceled", "incomplete_expired")  # nothing is charged any more
STATUSES_BEST_FIRST: tuple[AccessStatus, ...] = ("active", "grace", "read_only", "none")


class StatusMeaning(NamedTuple):
    description: str
    access: str
    status: AccessStatus  # from now on
    affects_newcomers: bool = True  # whether it affects tenants that never had access by it


# Published in docs/billing.md; a test compares the two.
ACCESS_TABLE = {
    "trialing": StatusMeaning("A trial", "Full until it ends; then by the status that follows", "active"),
    "active": StatusMeaning("Paid, or the first charge is being made", "Full", "active"),
    "past_due": StatusMeaning(
        "A renewal failed and is tried again",
        "Full for 7 days from the first unpaid invoice, with a banner; then read-only",
        "grace",
    ),
    "unpaid": StatusMeaning("All tries are used up", "Read-only", "read_only"),
    "paused": StatusMeaning(
        "A trial ended without a way to pay, a payment failed, or it was paused on request",
        "Read-only; resumable",
        "read_only",
    ),
    "incomplete": StatusMeaning(
        "The first payment is open", "None: finish the payment", "none", affects_newcomers=False
    ),
    "incomplete_expired": StatusMeaning(
        "The first payment never came", "None", "none", affects_newcomers=False
    ),
    "canceled": StatusMeaning("Ended", "Free plan only; data is kept", "none"),
}


TRIAL_END_EXPLANATION = "The trial ended without a way to pay"
PAUSE_EXPLANATIONS: dict[PauseCause, str] = {
    "trial": TRIAL_END_EXPLANATION,
    "payment": "Paused after a failed payment",
    "request": "Paused on request",
    "": "The subscription is paused",
}


class CatalogPrice(NamedTuple):
    """The catalog item that one of our prices belongs to."""

    version_id: str
    is_addon: bool
    is_per_seat: bool  # its quantity is the number of seats
    position: int  # of the plan, from the smallest to the largest
    is_metered: bool = False  # has no quantity


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
    """`phases`: access statuses in order of time; the first starts at the time of the sync."""

    subscription_id: str  # the one that gives access; "" where none does
    provider_status: str  # the provider's status
    phases: tuple[Phase, ...]
    version_id: str = ""  # of the plan; "" leaves the plan as it is
    seats: int | None = None
    addons: tuple[ActiveAddon, ...] = ()
    trial_ends_at: datetime | None = None  # when it ends without a further change
    ended_at: datetime | None = None  # of the last subscription, where none is left
    alerts: tuple[str, ...] = ()

    def status_at(self, at: datetime) -> AccessStatus:
        """Access at a time, by what was known at the sync."""
        if self.trial_ends_at is not None and self.trial_ends_at <= at:
            return "none"
        past_phases = [phase for phase in self.phases if phase.since <= at]
        return (past_phases[-1] if past_phases else self.phases[0]).status

    def as_json(self) -> dict[str, Any]:
        """Without the time of the sync, so that two syncs of the same state are equal."""
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
    """The access that all subscriptions of a tenant's customers give. None: they don't affect it.

    `catalog_prices`: by our price id. `previous_status`: access before this sync, which an unknown status keeps; None
    where there was none.
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
    # Other products of the same account give no access. But an unknown price in the only subscription is a custom price of a
    # paying customer.
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
    if merged_phases[-1].is_trial_end:  # the trial end of the plan covers it, with its own text
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


def list_live_subscriptions(
    subscriptions: Iterable[Subscription], catalog_prices: Mapping[str, CatalogPrice]
) -> list[Subscription]:
    """Those that are charged for a plan or will be, the oldest first. Callers act on all of them, not on one.

    Subscriptions to other products of the account don't count beside one to a plan.
    """
    live_subscriptions = [
        subscription
        for subscription in sorted(subscriptions, key=lambda each: (each.created_at, each.id))
        if subscription.status not in ENDED_STATUSES
    ]
    return [
        subscription for subscription in live_subscriptions if _plan_prices(subscription, catalog_prices)
    ] or live_subscriptions


def list_charged_plans(
    subscriptions: Iterable[Subscription], catalog_prices: Mapping[str, CatalogPrice]
) -> list[Subscription]:
    """Subscriptions that are charged for a plan or will be, the oldest first; not those whose first payment is open.

    Subscriptions to other products of the account never count.
    """
    return [
        subscription
        for subscription in list_live_subscriptions(subscriptions, catalog_prices)
        if subscription.status != "incomplete" and _plan_prices(subscription, catalog_prices)
    ]


def count_extra_subscriptions(
    subscriptions: Iterable[Subscription], catalog_prices: Mapping[str, CatalogPrice]
) -> int:
    """Subscriptions to a plan that will be charged beside a first one; 0 is right."""
    renewing_plans = [
        subscription
        for subscription in list_charged_plans(subscriptions, catalog_prices)
        if subscription.cancel_at is None
    ]
    return max(0, len(renewing_plans) - 1)


def phases_of(
    subscription: Subscription, at: datetime, previous_status: AccessStatus | None = None
) -> list[Phase]:
    """The access of one subscription from `at` on. Never empty; the first phase starts at `at`."""
    meaning = ACCESS_TABLE.get(subscription.status)
    if meaning is None:
        phases = [
            Phase(
                at,
                previous_status or "none",
                f"The provider reports the unknown status {subscription.status}",
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
            phases.append(Phase(ends, "read_only", TRIAL_END_EXPLANATION))
        else:
            phases.append(Phase(ends, "none", TRIAL_END_EXPLANATION, is_trial_end=True))
    elif subscription.status == "paused":
        phases = [Phase(at, meaning.status, PAUSE_EXPLANATIONS[subscription.pause_cause])]
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


def count_addons(
    lines: Sequence[SubscriptionItem | OrderLine], catalog_prices: Mapping[str, CatalogPrice]
) -> dict[str, int]:
    """Quantities of add-ons by version: what is billed, so a quantity of 0 is none.

    An add-on that has metered prices only has no quantity and counts once.
    """
    quantities, metered_versions = dict[str, int](), list[str]()
    for line in lines:
        price = catalog_prices.get(line.price_id)
        if price is None or not price.is_addon:
            continue
        if price.is_metered:
            metered_versions.append(price.version_id)
        else:
            quantities[price.version_id] = quantities.get(price.version_id, 0) + (line.quantity or 0)
    return {version: 1 for version in metered_versions if version not in quantities} | {
        version: number for version, number in quantities.items() if number
    }


def _active_addons(
    live_subscriptions: Sequence[Subscription], catalog_prices: Mapping[str, CatalogPrice], at: datetime
) -> tuple[ActiveAddon, ...]:
    """Active add-ons, and cancelled ones that are still paid for: the larger quantity of the two for each
    subscription.
    """
    quantities = Counter[tuple[str, datetime | None]]()
    for subscription in live_subscriptions:
        current_quantities = Counter(count_addons(subscription.lines, catalog_prices))
        quantities.update({(version, None): number for version, number in current_quantities.items()})
        for canceled_addon in sorted(subscription.kept, key=lambda addon: addon.until, reverse=True):
            price = catalog_prices.get(canceled_addon.price_id)
            if price is None or not price.is_addon or canceled_addon.until <= at:
                continue
            if (extra := canceled_addon.quantity - current_quantities[price.version_id]) > 0:
                quantities[price.version_id, canceled_addon.until] += extra
                current_quantities[price.version_id] = canceled_addon.quantity
    addons = [
        ActiveAddon(version, number, until) for (version, until), number in quantities.items() if number
    ]
    return tuple(
        sorted(addons, key=lambda addon: (addon.version_id, addon.until is not None, addon.until or at))
    )


def _find_alerts(
    subscriptions: Sequence[Subscription], catalog_prices: Mapping[str, CatalogPrice]
) -> tuple[str, ...]:
    """Problems that operators should review."""
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
    alerts += [
        f"Collection of {subscription.id} is paused while {subscription.dispute_mark} is open"
        if subscription.dispute_mark
        else f"Collection of {subscription.id} is paused in Stripe ({subscription.paused_collection})"
        for subscription in live_subscriptions
        if subscription.paused_collection
    ]
    return tuple(alerts)
