"""Which period usage is billed in. The provider leaves usage of a period out once its invoice is final."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.billing.provider import Subscription, SubscriptionItem

# Stripe finalises an invoice an hour after it was drafted, and takes usage that is at most 35 days old. Both leave time for
# a slow report. https://docs.stripe.com/billing/subscriptions/usage-based/configure-grace-period
# https://docs.stripe.com/api/billing/meter-event/create
DRAFT_TIME = timedelta(minutes=45)
OLDEST_USAGE = timedelta(days=34)
ENDED = "ended"  # problem of usage that came after the last invoice
ENDED_STATUSES = ("canceled", "incomplete_expired")


@dataclass(frozen=True, slots=True)
class MeterPeriod:
    """What is invoiced of one meter of a customer. `closed_until`: usage before it can't join its own period any more."""

    closed_until: datetime | None
    is_live: bool  # later usage is still invoiced


@dataclass(frozen=True, slots=True)
class Placement:
    """When usage counts. `counted_at`: None for its own time. `problem`: "" where it is billed."""

    counted_at: datetime | None = None
    problem: str = ""


def find_periods(
    subscriptions: Iterable[Subscription], meters_by_price_id: Mapping[str, str], at: datetime
) -> dict[str, MeterPeriod]:
    """By meter. A meter without a price in a subscription is missing: its usage is counted, and never billed."""
    periods = dict[str, MeterPeriod]()
    for subscription in subscriptions:
        for item in subscription.lines:
            if meter := meters_by_price_id.get(item.price_id):
                period = _find_period(subscription, item, at)
                periods[meter] = _join([periods[meter], period]) if meter in periods else period
    return periods


def place_usage(used_at: datetime, period: MeterPeriod | None, at: datetime) -> Placement:
    is_late = period is not None and period.closed_until is not None and used_at < period.closed_until
    if is_late and period is not None and not period.is_live:
        return Placement(problem=ENDED)
    return Placement(counted_at=at if is_late or used_at < at - OLDEST_USAGE else None)


def _find_period(subscription: Subscription, item: SubscriptionItem, at: datetime) -> MeterPeriod:
    if subscription.ended_at is not None or subscription.status in ENDED_STATUSES:
        ended_at = subscription.ended_at or item.ends_at
        return MeterPeriod(ended_at if ended_at and ended_at + DRAFT_TIME <= at else None, is_live=False)
    # The record is of the last sync: its period can be over.
    starts = [start for start in (item.starts_at, item.ends_at) if start and start + DRAFT_TIME <= at]
    return MeterPeriod(max(starts, default=None), is_live=True)


def _join(periods: Sequence[MeterPeriod]) -> MeterPeriod:
    """Of several subscriptions, a live one takes the usage."""
    live_periods = [period for period in periods if period.is_live] or list(periods)
    ends = [period.closed_until for period in live_periods]
    return MeterPeriod(
        None if None in ends else min(end for end in ends if end is not None),
        is_live=live_periods[0].is_live,
    )
