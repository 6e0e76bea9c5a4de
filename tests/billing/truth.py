"""What a tenant may use at a time, straight from the published table and from nothing of `shared.billing.course`.

Also random worlds at the provider, drawn so that the rare things are not rare: trials that end in every way, a
cancellation foreseen, overdue payments on both sides of the seventh day, a second subscription, add-ons given up.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.billing.provider import AfterTrial, Kept, Line, Subscription

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
DAY, MOMENT = timedelta(days=1), timedelta(microseconds=1)
BASIC, PLUS, SEATED, EXTRA, MORE = "prc_basic", "prc_plus", "prc_seated", "prc_extra", "prc_more"
FOREIGN = ""
PLANS = (BASIC, PLUS, SEATED)
# From the most to the least.
ORDER = ("active", "grace", "read_only", "none")
WORDS = (
    *("trialing", "trialing", "trialing", "active", "active", "past_due", "past_due"),
    *("unpaid", "paused", "incomplete", "incomplete_expired", "canceled"),
)


def access(subscriptions: Sequence[Subscription], at: datetime) -> str | None:
    """By what is known of them, at `at`. None: nothing was ever subscribed, so billing has no word in it."""
    if all(one.status in ("incomplete", "incomplete_expired") for one in subscriptions):
        return None
    ours = [one for one in subscriptions if any(line.price_id in PLANS for line in one.lines)]
    return min((alone(one, at) for one in ours or subscriptions), key=ORDER.index)


def alone(one: Subscription, at: datetime) -> str:
    if one.cancel_at is not None and at >= one.cancel_at:
        return "none"
    if one.status == "trialing":
        if one.trial_ends_at is None or at < one.trial_ends_at or one.pays:
            return "active"
        return "read_only" if one.after_trial == "pause" else "none"
    if one.status == "past_due":
        assert one.failed_since is not None
        return "grace" if at - one.failed_since < 7 * DAY else "read_only"
    return {
        "active": "active",
        "unpaid": "read_only",
        "paused": "read_only",
        "incomplete": "none",
        "incomplete_expired": "none",
        "canceled": "none",
    }[one.status]


def extras(subscriptions: Sequence[Subscription], at: datetime) -> int:
    """How often the add-on EXTRA is had: what is bought, or what was given up and is paid for still."""
    status = access(subscriptions, at)
    if status in (None, "none"):
        return 0
    paying = ("active", "grace") if status in ("active", "grace") else ("read_only",)
    ours = [
        one for one in subscriptions if any(line.price_id in PLANS for line in one.lines)
    ] or subscriptions
    found = 0
    for one in ours:
        if alone(one, at) in paying:
            bought = sum(line.quantity for line in one.lines if line.price_id == EXTRA)
            found += max([bought, *(kept.quantity for kept in one.kept if at < kept.until)])
    return found


def same_words(subscriptions: Sequence[Subscription], one: datetime, other: datetime) -> bool:
    return all(alone(each, one) == alone(each, other) for each in subscriptions)


def turns(subscriptions: Sequence[Subscription], since: datetime) -> list[datetime]:
    """Times at which something may turn, and the moments before: where mistakes are."""
    found = {since}
    for one in subscriptions:
        known = (one.trial_ends_at, one.cancel_at, one.failed_since and one.failed_since + 7 * DAY)
        for turn in (*known, *(kept.until for kept in one.kept)):
            if turn is not None:
                found |= {turn - MOMENT, turn, turn + MOMENT}
    return sorted(at for at in found if at >= since)


def draw(dice: random.Random, at: datetime) -> list[Subscription]:
    """All subscriptions of a customer, as the provider may say them at `at`."""
    count = dice.choice((1, 1, 2, 2, 3))
    return [_one(dice, at, number) for number in range(count)]


def _one(dice: random.Random, at: datetime, number: int) -> Subscription:
    status = dice.choice(WORDS)
    begun = at - dice.choice((1, 5, 40)) * DAY
    around = (-8, -7, -6, -1, 0, 1, 3)  # days; the provider is late at times, so a trial may be over already
    lines = [_line(begun, dice.choice(PLANS))] if dice.random() < 0.9 else [_line(begun, FOREIGN)]
    if dice.random() < 0.4:
        lines.append(_line(begun, EXTRA, dice.choice((1, 2, 5))))
    kept = (
        [Kept(EXTRA, dice.choice((1, 3, 6)), at + dice.choice((-1, 1, 9)) * DAY)]
        if dice.random() < 0.3
        else []
    )
    after: tuple[AfterTrial, ...] = ("cancel", "pause", "invoice")
    made = Subscription(
        f"sub_{number}",
        status,
        begun,
        lines=tuple(lines),
        kept=tuple(kept),
        after_trial=dice.choice(after),
        pays=dice.random() < 0.4,
        currency="xts",
    )
    if status == "trialing":
        made = replace(made, trial_ends_at=at + dice.choice(around) * DAY)
    if status == "past_due":
        made = replace(made, failed_since=at + dice.choice(around[:5]) * DAY)
    if status == "canceled":
        made = replace(made, ended_at=at - DAY)
    if dice.random() < 0.3:
        made = replace(made, cancel_at=at + dice.choice(around) * DAY)
    return made


def _line(begun: datetime, price: str, quantity: int = 1) -> Line:
    return Line(f"si_{price}", price, f"price_{price}", quantity, begun, begun + 30 * DAY)
