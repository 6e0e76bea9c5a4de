"""Which period usage is billed in. The provider leaves usage of a period out once its invoice is final."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.billing.provider_values import Subscription, SubscriptionItem

# Stripe finalises an invoice an hour after it was drafted, and takes usage that is at most 35 days old. Both leave time for
# a slow report. https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
# https://docs.stripe.com/api/billing/meter-event/create
DRAFT_TIME = timedelta(minutes=45)
OLDEST_USAGE = timedelta(days=34)
ENDED_STATUSES = ("canceled", "incomplete_expired")
# Problems of usage, as in `BillingUsage.problem`
DOUBTFUL = "doubtful"  # sent without an answer; it may have been billed
ENDED = "ended"  # came after the last invoice
REFUSED = "refused"  # declined by the provider; tried again for as long as its identifier lives
IDLE_STATUSES = ("incomplete", "paused")  # nothing is invoiced until they go on


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterTerm:
    """One subscription that charges for a meter."""

    sold_from: datetime  # after its trial
    ended_at: datetime | None
    closed_until: datetime | None  # earlier usage can't join its own period any more
    is_current: bool  # of the customer that usage is reported for
    is_idle: bool
    price_id: str = ""
    starts_at: datetime | None = None  # of the running period, as of the last sync
    ends_at: datetime | None = None

    def get_period(self, counted_at: datetime) -> tuple[datetime, datetime] | None:
        """The period that usage of this time is invoiced with; None where the provider names none.

        The one before the running one is taken to be as long, which matters in the hour of its draft only.
        """
        if self.starts_at is None or self.ends_at is None:
            return None
        length = self.ends_at - self.starts_at
        if counted_at < self.starts_at:
            return self.starts_at - length, self.starts_at
        if counted_at >= self.ends_at:
            return self.ends_at, self.ends_at + length
        return self.starts_at, self.ends_at

    @property
    def is_live(self) -> bool:
        """Later usage is still invoiced."""
        return self.is_current and self.ended_at is None and not self.is_idle

    def has_sold(self, used_at: datetime) -> bool:
        return self.sold_from <= used_at and (self.ended_at is None or used_at < self.ended_at)

    def accepts(self, counted_at: datetime) -> bool:
        """Whether usage of this time is still invoiced with its own period."""
        is_open = self.is_current and not self.is_idle
        return is_open and (self.closed_until is None or counted_at >= self.closed_until)


@dataclass(frozen=True, slots=True)
class Placement:
    """What happens to recorded usage.

    "send": it counts at `counted_at`. "free": it was used when nothing was charged for it, and is too old to be sent.
    "wait": until its subscription goes on. "ended": its last invoice is final, and no other subscription bills it.
    `term`: what charges for it, None where nothing does.
    """

    outcome: Literal["send", "free", "wait", "ended"]
    counted_at: datetime
    term: MeterTerm | None = field(default=None, compare=False)


def find_terms(
    subscriptions: Iterable[tuple[str, Subscription]],
    meters_by_price_id: Mapping[str, str],
    customer_id: str,
    at: datetime,
) -> dict[str, list[MeterTerm]]:
    """By meter. `subscriptions`: of the tenant, each with the id of its customer. `customer_id`: of the current one."""
    terms = dict[str, list[MeterTerm]]()
    for owner_id, subscription in subscriptions:
        for item in subscription.lines:
            if meter := meters_by_price_id.get(item.price_id):
                term = _build_term(subscription, item, at, is_current=owner_id == customer_id)
                terms.setdefault(meter, []).append(term)
    return terms


def is_sold(used_at: datetime, terms: Sequence[MeterTerm]) -> bool:
    return any(term.has_sold(used_at) for term in terms)


def build_former_term(sold_from: datetime, ended_at: datetime) -> MeterTerm:
    """Of an item that was removed from a subscription. Stripe invoices its usage at the removal, and none after it."""
    return MeterTerm(
        sold_from=sold_from, ended_at=ended_at, closed_until=ended_at, is_current=True, is_idle=False
    )


def place_usage(
    used_at: datetime, terms: Sequence[MeterTerm], at: datetime, counted_at: datetime | None = None
) -> Placement:
    """`counted_at`: of an earlier try, None before the first."""
    own_time = counted_at or used_at
    is_young = own_time >= at - OLDEST_USAGE
    selling_terms = [term for term in terms if term.has_sold(used_at)]
    if not selling_terms:
        return Placement("send" if is_young else "free", own_time)
    possible_terms = selling_terms if counted_at is None else terms
    if is_young and (term := next((term for term in possible_terms if term.accepts(own_time)), None)):
        return Placement("send", own_time, term)
    if term := next((term for term in terms if term.is_live), None):
        return Placement("send", at, term)
    return Placement("wait" if any(term.is_idle and term.is_current for term in terms) else "ended", own_time)


def _build_term(
    subscription: Subscription, item: SubscriptionItem, at: datetime, *, is_current: bool
) -> MeterTerm:
    ended_at = subscription.ended_at
    if ended_at is None and subscription.cancel_at is not None and subscription.cancel_at <= at:
        ended_at = subscription.cancel_at  # the record is of the last sync
    if ended_at is None and subscription.status in ENDED_STATUSES:
        ended_at = item.ends_at or at
    # The record is of the last sync: its period can be over.
    boundaries = (ended_at,) if ended_at is not None else (item.starts_at, item.ends_at)
    passed = [boundary for boundary in boundaries if boundary is not None and boundary + DRAFT_TIME <= at]
    return MeterTerm(
        sold_from=max(subscription.created_at, subscription.trial_ends_at or subscription.created_at),
        ended_at=ended_at,
        closed_until=max(passed, default=None),
        is_current=is_current,
        is_idle=subscription.status in IDLE_STATUSES,
        price_id=item.price_id,
        starts_at=item.starts_at,
        ends_at=item.ends_at,
    )
