"""From what the provider says to what a tenant may use, now and as far ahead as it is known: the published table.

Pure functions of the provider's truth and a time. Nothing here reads a clock or a database, so that every look at the
same truth comes to the same course.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from shared.billing.provider import Subscription

Status = Literal["active", "grace", "read_only", "none"]
GRACE = timedelta(days=7)
TRIAL_ENDED = "The trial ended without a way to pay"
BEST: tuple[Status, ...] = ("active", "grace", "read_only", "none")


class Meaning(NamedTuple):
    means: str
    access: str
    status: Status  # at once
    ever: bool = True  # whether it says anything about who never had more


# Published in docs/billing.md; a test compares the two.
TABLE = {
    "trialing": Meaning("A trial", "Full until it ends; then as the table says for what follows", "active"),
    "active": Meaning("Paid, or the first charge is being made", "Full", "active"),
    "past_due": Meaning(
        "A renewal failed and is tried again",
        "Full for 7 days from the first unpaid invoice, with a banner; then read-only",
        "grace",
    ),
    "unpaid": Meaning("All tries are used up", "Read-only", "read_only"),
    "paused": Meaning("The trial ended without a way to pay", "Read-only; resumable", "read_only"),
    "incomplete": Meaning("The first payment is open", "None: finish the payment", "none", ever=False),
    "incomplete_expired": Meaning("The first payment never came", "None", "none", ever=False),
    "canceled": Meaning("Ended", "None: what Free gives; data is kept", "none"),
}


class Priced(NamedTuple):
    """What a price of ours stands for."""

    version_id: str
    addon: bool
    seats: bool  # its quantity is the number of seats
    position: int  # of the plan, from the least to the most


@dataclass(frozen=True, slots=True)
class Span:
    since: datetime
    status: Status
    why: str


@dataclass(frozen=True, slots=True)
class Addon:
    version_id: str
    quantity: int
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Course:
    """`stages`: what holds from when on; the first one from the time of the look on."""

    subscription_id: str  # the one that counts; "" where none does any more
    word: str  # its status, as the provider says it
    stages: tuple[Span, ...]
    version_id: str = ""  # of the plan; "" leaves the plan as it is
    seats: int | None = None
    addons: tuple[Addon, ...] = ()
    trial_ends_at: datetime | None = None  # when it ends by the clock alone, and nothing else is left
    ended_at: datetime | None = None  # when the last one did, where none is left
    alerts: tuple[str, ...] = ()

    def status_at(self, at: datetime) -> Status:
        """Access at a time, by what was known at the look."""
        if self.trial_ends_at is not None and self.trial_ends_at <= at:
            return "none"
        held = [one for one in self.stages if one.since <= at]
        return (held[-1] if held else self.stages[0]).status

    def as_json(self) -> dict[str, Any]:
        """Without the time of the look, so that two looks at the same truth are equal."""
        first, *later = self.stages
        return {
            "subscription": self.subscription_id,
            "word": self.word,
            "status": first.status,
            "why": first.why,
            "later": [{**asdict(one), "since": one.since.isoformat()} for one in later],
            "version": self.version_id,
            "seats": self.seats,
            "addons": [
                [one.version_id, one.quantity, one.until and one.until.isoformat()] for one in self.addons
            ],
            "trial_ends_at": self.trial_ends_at and self.trial_ends_at.isoformat(),
            "alerts": list(self.alerts),
        }


def course(
    subscriptions: Iterable[Subscription],
    priced: Mapping[str, Priced],
    at: datetime,
    *,
    last: Status | None = None,
) -> Course | None:
    """Of all subscriptions of all customers of one tenant. None: they say nothing about it.

    `priced`: by our price id. `last`: access by subscription before this look, which a status that nobody knows does
    not change; None where there was none.
    """
    told = sorted(subscriptions, key=lambda one: (one.created_at, one.id))
    if not any(TABLE[one.status].ever if one.status in TABLE else last is not None for one in told):
        return None
    # What else is sold through the same account neither gives nor keeps. But a price that nobody here knows, in the
    # only subscription there is, is a special price of somebody who pays.
    ours = [one for one in told if _plans(one, priced)] or told
    ahead = {one.id: spans(one, at, last) for one in ours}
    turns = sorted({span.since for found in ahead.values() for span in found})
    stages: list[Span] = []
    for turn in turns:
        best = min((_at(found, turn) for found in ahead.values()), key=lambda span: BEST.index(span.status))
        if not stages or stages[-1].status != best.status:
            stages.append(Span(turn, best.status, best.why))
    now = stages[0].status
    counting = [one for one in ours if _at(ahead[one.id], at).status == now]
    counts = max(counting, key=lambda one: (_position(one, priced), one.created_at, one.id))
    ended = max((one.ended_at for one in ours if one.ended_at), default=None)
    if now == "none":
        return Course(counts.id, counts.status, tuple(stages), ended_at=ended, alerts=_alerts(told, priced))
    falls_at = None
    if (stages[-1].status, stages[-1].why) == (
        "none",
        TRIAL_ENDED,
    ):  # said by the plan's own end, which people are told in other words
        falls_at = stages.pop().since
    giving = ("active", "grace") if now in ("active", "grace") else (now,)
    plan = _plan(counts, priced)
    return Course(
        counts.id,
        counts.status,
        tuple(stages),
        plan.version_id if plan else "",
        _seats(counts, priced),
        _addons([one for one in ours if _at(ahead[one.id], at).status in giving], priced, at),
        falls_at,
        alerts=_alerts(told, priced),
    )


def spans(one: Subscription, at: datetime, last: Status | None = None) -> list[Span]:
    """What one subscription gives from `at` on, as far as it is known. Never empty; the first begins at `at`."""
    meaning = TABLE.get(one.status)
    if meaning is None:
        found = [Span(at, last or "none", f"The provider says {one.status}, which nobody here knows yet")]
    elif one.status == "past_due":
        since = one.failed_since or min(
            (line.starts_at for line in one.lines if line.starts_at), default=one.created_at
        )
        ends = since + GRACE
        found = [Span(at, "grace", "A payment is overdue")] if at < ends else []
        found.append(Span(max(at, ends), "read_only", f"{GRACE.days} days without a payment"))
    elif one.status == "trialing" and one.trial_ends_at is not None and not one.pays:
        found = [Span(at, "active", meaning.means)] if at < one.trial_ends_at else []
        ends = max(at, one.trial_ends_at)
        if one.after_trial == "pause":
            found.append(Span(ends, "read_only", TABLE["paused"].means))
        else:
            found.append(Span(ends, "none", TRIAL_ENDED))
    else:
        found = [Span(at, meaning.status, meaning.means)]
    if one.cancel_at is not None and found[0].status != "none":
        found = [span for span in found if span.since < one.cancel_at]
        found.append(Span(max(at, one.cancel_at), "none", "The subscription ended with its period"))
    return found


def _at(found: Sequence[Span], at: datetime) -> Span:
    return next(span for span in reversed(found) if span.since <= at)


def _plans(one: Subscription, priced: Mapping[str, Priced]) -> list[Priced]:
    known = (priced.get(line.price_id) for line in one.lines)
    return [each for each in known if each is not None and not each.addon]


def _plan(one: Subscription, priced: Mapping[str, Priced]) -> Priced | None:
    return max(_plans(one, priced), key=lambda each: (each.position, each.version_id), default=None)


def _position(one: Subscription, priced: Mapping[str, Priced]) -> int:
    plan = _plan(one, priced)
    return plan.position if plan else -1


def _seats(one: Subscription, priced: Mapping[str, Priced]) -> int | None:
    bought = [line.quantity for line in one.lines if (price := priced.get(line.price_id)) and price.seats]
    return sum(bought) if bought else None


def _addons(live: Sequence[Subscription], priced: Mapping[str, Priced], at: datetime) -> tuple[Addon, ...]:
    """What is bought on, and what was given up and is paid for still: of each subscription the larger of the two."""
    found = Counter[tuple[str, datetime | None]]()
    for one in live:
        has = Counter[str]()
        for line in one.lines:
            price = priced.get(line.price_id)
            if price is not None and price.addon:
                has[price.version_id] += max(line.quantity, 1)
        found.update({(version, None): number for version, number in has.items()})
        for rest in sorted(one.kept, key=lambda rest: rest.until, reverse=True):
            price = priced.get(rest.price_id)
            if price is None or not price.addon or rest.until <= at:
                continue
            if (more := rest.quantity - has[price.version_id]) > 0:
                found[price.version_id, rest.until] += more
                has[price.version_id] = rest.quantity
    addons = [Addon(version, number, until) for (version, until), number in found.items()]
    return tuple(sorted(addons, key=lambda one: (one.version_id, one.until is not None, one.until or at)))


def _alerts(told: Sequence[Subscription], priced: Mapping[str, Priced]) -> tuple[str, ...]:
    """What an operator should look at."""
    found = []
    live = [one for one in told if TABLE.get(one.status, TABLE["active"]).status != "none"]
    if len(live) > 1:
        found.append(f"{len(live)} live subscriptions: {', '.join(one.id for one in live)}")
    found += [f"{one.id} has the unknown status {one.status}" for one in told if one.status not in TABLE]
    found += [
        f"{one.id} has a price that is none of ours: {line.external_price_id}"
        for one in live
        for line in one.lines
        if line.price_id not in priced
    ]
    return tuple(found)
