"""What a tenant may use at a time, straight from the published table and from nothing of `shared.billing.sync.access_schedule`.

Also random worlds at the provider, drawn so that the rare things are not rare: trials that end in every way, a
cancellation foreseen, overdue payments on both sides of the seventh day, a second subscription, add-ons given up.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.billing.provider_values import AfterTrial, CanceledAddon, Subscription, SubscriptionItem

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
BASIC, PLUS, SEATED, EXTRA, MORE = "prc_basic", "prc_plus", "prc_seated", "prc_extra", "prc_more"
FOREIGN = ""
PLANS = (BASIC, PLUS, SEATED)
# From the most to the least.
ACCESS_ORDER = ("active", "grace", "read_only", "none")
STATUSES = (
    *("trialing", "trialing", "trialing", "active", "active", "past_due", "past_due"),
    *("unpaid", "paused", "incomplete", "incomplete_expired", "canceled"),
)


def expected_access(subscriptions: Sequence[Subscription], at: datetime) -> str | None:
    """By what is known of them, at `at`. None: nothing was ever subscribed, so billing has no word in it."""
    if all(subscription.status in ("incomplete", "incomplete_expired") for subscription in subscriptions):
        return None
    plan_subscriptions = [
        subscription
        for subscription in subscriptions
        if any(line.price_id in PLANS for line in subscription.lines)
    ]
    return min(
        (expected_access_of_one(subscription, at) for subscription in plan_subscriptions or subscriptions),
        key=ACCESS_ORDER.index,
    )


def expected_access_of_one(subscription: Subscription, at: datetime) -> str:
    if subscription.cancel_at is not None and at >= subscription.cancel_at:
        return "none"
    if subscription.status == "trialing":
        if subscription.trial_ends_at is None or at < subscription.trial_ends_at or subscription.pays:
            return "active"
        return "read_only" if subscription.after_trial == "pause" else "none"
    if subscription.status == "past_due":
        assert subscription.failed_since is not None
        return "grace" if at - subscription.failed_since < 7 * DAY else "read_only"
    return {
        "active": "active",
        "unpaid": "read_only",
        "paused": "read_only",
        "incomplete": "none",
        "incomplete_expired": "none",
        "canceled": "none",
    }[subscription.status]


def count_extras(subscriptions: Sequence[Subscription], at: datetime) -> int:
    """How often the add-on EXTRA is had: what is bought, or what was given up and is paid for still."""
    status = expected_access(subscriptions, at)
    if status in (None, "none"):
        return 0
    paying = ("active", "grace") if status in ("active", "grace") else ("read_only",)
    plan_subscriptions = [
        subscription
        for subscription in subscriptions
        if any(line.price_id in PLANS for line in subscription.lines)
    ] or subscriptions
    count = 0
    for subscription in plan_subscriptions:
        if expected_access_of_one(subscription, at) in paying:
            bought = sum(line.quantity for line in subscription.lines if line.price_id == EXTRA)
            count += max([bought, *(kept.quantity for kept in subscription.kept if at < kept.until)])
    return count


def is_access_equal(subscriptions: Sequence[Subscription], first: datetime, second: datetime) -> bool:
    return all(
        expected_access_of_one(subscription, first) == expected_access_of_one(subscription, second)
        for subscription in subscriptions
    )


def list_change_times(subscriptions: Sequence[Subscription], since: datetime) -> list[datetime]:
    """Times at which something may turn, and the moments before: where mistakes are."""
    times = {since}
    for subscription in subscriptions:
        change_times = (
            subscription.trial_ends_at,
            subscription.cancel_at,
            subscription.failed_since and subscription.failed_since + 7 * DAY,
        )
        for change_time in (*change_times, *(kept.until for kept in subscription.kept)):
            if change_time is not None:
                times |= {change_time - TICK, change_time, change_time + TICK}
    return sorted(at for at in times if at >= since)


def draw_subscriptions(rng: random.Random, at: datetime) -> list[Subscription]:
    """All subscriptions of a customer, as the provider may say them at `at`."""
    count = rng.choice((1, 1, 2, 2, 3))
    return [_draw_subscription(rng, at, number) for number in range(count)]


def _draw_subscription(rng: random.Random, at: datetime, number: int) -> Subscription:
    status = rng.choice(STATUSES)
    started_at = at - rng.choice((1, 5, 40)) * DAY
    day_offsets = (
        -8,
        -7,
        -6,
        -1,
        0,
        1,
        3,
    )  # days; the provider is late at times, so a trial may be over already
    lines = (
        [_build_line(started_at, rng.choice(PLANS))]
        if rng.random() < 0.9
        else [_build_line(started_at, FOREIGN)]
    )
    if rng.random() < 0.4:
        lines.append(_build_line(started_at, EXTRA, rng.choice((0, 1, 2, 5))))
    kept = (
        [CanceledAddon(EXTRA, rng.choice((1, 3, 6)), at + rng.choice((-1, 1, 9)) * DAY)]
        if rng.random() < 0.3
        else []
    )
    trial_endings: tuple[AfterTrial, ...] = ("cancel", "pause", "invoice")
    subscription = Subscription(
        f"sub_{number}",
        status,
        started_at,
        lines=tuple(lines),
        kept=tuple(kept),
        after_trial=rng.choice(trial_endings),
        pays=rng.random() < 0.4,
        currency="xts",
    )
    if status == "trialing":
        subscription = replace(subscription, trial_ends_at=at + rng.choice(day_offsets) * DAY)
    if status == "past_due":
        subscription = replace(subscription, failed_since=at + rng.choice(day_offsets[:5]) * DAY)
    if status == "canceled":
        subscription = replace(subscription, ended_at=at - DAY)
    if rng.random() < 0.3:
        subscription = replace(subscription, cancel_at=at + rng.choice(day_offsets) * DAY)
    return subscription


def _build_line(started_at: datetime, price: str, quantity: int = 1) -> SubscriptionItem:
    return SubscriptionItem(
        f"si_{price}", price, f"price_{price}", quantity, started_at, started_at + 30 * DAY
    )
