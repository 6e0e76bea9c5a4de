"""Usage joins the period in which it is still invoiced."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.billing.provider import Subscription, SubscriptionItem
from shared.billing.usage_periods import DRAFT_TIME, Placement, find_periods, place_usage

JANUARY, FEBRUARY, MARCH = (datetime(2027, month, 1, tzinfo=UTC) for month in (1, 2, 3))
LATE_JANUARY = FEBRUARY - timedelta(minutes=10)
PRICE, METER = "prc_calls", "api_calls"
SECOND = timedelta(seconds=1)


def build_subscription(
    starts_at: datetime, ends_at: datetime, *, status: str = "active", ended_at: datetime | None = None
) -> Subscription:
    item = SubscriptionItem("si_1", PRICE, "price_1", 0, starts_at, ends_at)
    return Subscription("sub_1", status, JANUARY, (item,), ended_at=ended_at)


IN_JANUARY, IN_FEBRUARY = build_subscription(JANUARY, FEBRUARY), build_subscription(FEBRUARY, MARCH)
ENDED = build_subscription(JANUARY, FEBRUARY, status="canceled", ended_at=FEBRUARY)
MID_MARCH = MARCH + timedelta(days=14)


@pytest.mark.parametrize(
    ("subscriptions", "used_at", "at", "placement"),
    [
        pytest.param([IN_FEBRUARY], FEBRUARY, MARCH, Placement(), id="of the running period"),
        pytest.param(
            [IN_FEBRUARY], LATE_JANUARY, FEBRUARY + DRAFT_TIME - SECOND, Placement(), id="draft is open"
        ),
        pytest.param(
            [IN_FEBRUARY],
            LATE_JANUARY,
            FEBRUARY + DRAFT_TIME,
            Placement(counted_at=FEBRUARY + DRAFT_TIME),
            id="draft is final",
        ),
        pytest.param(
            [IN_JANUARY],
            LATE_JANUARY,
            FEBRUARY + DRAFT_TIME,
            Placement(counted_at=FEBRUARY + DRAFT_TIME),
            id="renewal has not been heard of",
        ),
        pytest.param([ENDED], LATE_JANUARY, FEBRUARY, Placement(), id="before the last invoice is final"),
        pytest.param([ENDED], LATE_JANUARY, MARCH, Placement(problem="ended"), id="after the last invoice"),
        pytest.param(
            [ENDED, IN_FEBRUARY], LATE_JANUARY, MARCH, Placement(counted_at=MARCH), id="another subscription"
        ),
        pytest.param([], LATE_JANUARY, MARCH, Placement(), id="not sold by use"),
        pytest.param(
            [build_subscription(JANUARY, JANUARY + timedelta(days=365))],
            LATE_JANUARY,
            MID_MARCH,
            Placement(counted_at=MID_MARCH),
            id="too old for the provider, in a yearly period",
        ),
    ],
)
def test_usage_counts_where_it_is_still_invoiced(
    subscriptions: list[Subscription], used_at: datetime, at: datetime, placement: Placement
) -> None:
    periods = find_periods(subscriptions, {PRICE: METER}, at)
    assert place_usage(used_at, periods.get(METER), at) == placement
