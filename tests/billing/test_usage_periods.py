"""Usage joins the period in which it is still invoiced."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.billing.provider_values import Subscription, SubscriptionItem
from shared.billing.usage_periods import DRAFT_TIME, Placement, find_terms, place_usage

DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
JANUARY, FEBRUARY, MARCH = (datetime(2027, month, 1, tzinfo=UTC) for month in (1, 2, 3))
LATE_JANUARY, MID_MARCH = FEBRUARY - timedelta(minutes=10), MARCH + timedelta(days=14)
DRAFT_IS_FINAL, SECOND = FEBRUARY + DRAFT_TIME, timedelta(seconds=1)
PRICE, METER, CUSTOMER, FORMER_CUSTOMER = "prc_calls", "api_calls", "cus_2", "cus_1"


def build_subscription(starts_at: datetime, ends_at: datetime, **fields: Any) -> Subscription:
    item = SubscriptionItem("si_1", PRICE, "price_1", 0, starts_at, ends_at)
    values = {"status": "active", "created_at": starts_at} | fields
    return Subscription("sub_1", lines=(item,), **values)


IN_JANUARY = build_subscription(JANUARY, FEBRUARY)
IN_FEBRUARY = build_subscription(FEBRUARY, MARCH, created_at=JANUARY)
NEW_IN_FEBRUARY = build_subscription(FEBRUARY, MARCH)
AFTER_A_TRIAL = build_subscription(FEBRUARY, MARCH, created_at=JANUARY, trial_ends_at=FEBRUARY)
YEARLY = build_subscription(JANUARY, JANUARY + timedelta(days=365))
ENDED = build_subscription(JANUARY, FEBRUARY, status="canceled", ended_at=FEBRUARY)
END_NOT_HEARD_OF = build_subscription(JANUARY, FEBRUARY, cancel_at=FEBRUARY)
PAUSED = build_subscription(FEBRUARY, MARCH, created_at=JANUARY, status="paused")
Case = tuple[str, list[Subscription], datetime, datetime, Placement]
CASES: list[Case] = [
    ("of the running period", [IN_FEBRUARY], FEBRUARY, MARCH - SECOND, Placement("send", FEBRUARY)),
    ("draft is open", [IN_FEBRUARY], LATE_JANUARY, DRAFT_IS_FINAL - SECOND, Placement("send", LATE_JANUARY)),
    ("draft is final", [IN_FEBRUARY], LATE_JANUARY, DRAFT_IS_FINAL, Placement("send", DRAFT_IS_FINAL)),
    (
        "renewal has not been heard of",
        [IN_JANUARY],
        LATE_JANUARY,
        DRAFT_IS_FINAL,
        Placement("send", DRAFT_IS_FINAL),
    ),
    (
        "too old for Stripe, in a yearly period",
        [YEARLY],
        LATE_JANUARY,
        MID_MARCH,
        Placement("send", MID_MARCH),
    ),
    ("last invoice is a draft", [ENDED], LATE_JANUARY, FEBRUARY, Placement("send", LATE_JANUARY)),
    ("last invoice is final", [ENDED], LATE_JANUARY, MARCH, Placement("ended", LATE_JANUARY)),
    ("end has not been heard of", [END_NOT_HEARD_OF], LATE_JANUARY, MARCH, Placement("ended", LATE_JANUARY)),
    ("another subscription", [ENDED, NEW_IN_FEBRUARY], LATE_JANUARY, MARCH, Placement("send", MARCH)),
    ("subscription is paused", [PAUSED], LATE_JANUARY, DRAFT_IS_FINAL, Placement("wait", LATE_JANUARY)),
    ("before it was sold", [NEW_IN_FEBRUARY], LATE_JANUARY, DRAFT_IS_FINAL, Placement("send", LATE_JANUARY)),
    ("long before it was sold", [NEW_IN_FEBRUARY], DECEMBER, MARCH, Placement("free", DECEMBER)),
    ("of the trial", [AFTER_A_TRIAL], LATE_JANUARY, DRAFT_IS_FINAL, Placement("send", LATE_JANUARY)),
    ("not sold by use", [], LATE_JANUARY, FEBRUARY, Placement("send", LATE_JANUARY)),
]


def place(
    subscriptions: list[Subscription], used_at: datetime, at: datetime, *, owner: str = CUSTOMER, **more: Any
) -> Placement:
    terms = find_terms([(owner, each) for each in subscriptions], {PRICE: METER}, CUSTOMER, at)
    return place_usage(used_at, terms.get(METER, ()), at, **more)


@pytest.mark.parametrize(
    ("subscriptions", "used_at", "at", "placement"),
    [pytest.param(*values, id=name) for name, *values in CASES],
)
def test_usage_counts_where_it_is_still_invoiced(
    subscriptions: list[Subscription], used_at: datetime, at: datetime, placement: Placement
) -> None:
    assert place(subscriptions, used_at, at) == placement


def test_usage_of_a_deleted_customer_waits_for_a_subscription_of_the_next() -> None:
    assert place([ENDED], LATE_JANUARY, FEBRUARY, owner=FORMER_CUSTOMER).outcome == "ended"
    subscriptions = [(FORMER_CUSTOMER, ENDED), (CUSTOMER, NEW_IN_FEBRUARY)]
    terms = find_terms(subscriptions, {PRICE: METER}, CUSTOMER, FEBRUARY + SECOND)
    assert place_usage(LATE_JANUARY, terms[METER], FEBRUARY + SECOND) == Placement("send", FEBRUARY + SECOND)


def test_late_usage_keeps_its_time_until_that_period_is_invoiced_too() -> None:
    """Or a worker that repeats the report would give it another one."""
    tried_at = DRAFT_IS_FINAL
    assert place([IN_FEBRUARY], LATE_JANUARY, MARCH, counted_at=tried_at) == Placement("send", tried_at)
    later = MARCH + DRAFT_TIME
    assert place([IN_FEBRUARY], LATE_JANUARY, later, counted_at=tried_at) == Placement("send", later)
