"""Subscription schedules: https://docs.stripe.com/billing/subscriptions/subscription-schedules"""

from typing import Any

import pytest
import stripe

from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, to_timestamp

START, RENEWAL = to_timestamp("2025-01-01"), to_timestamp("2025-02-01")


def plan_downgrade(merchant: SdkMerchant, clock: Any) -> tuple[Any, Any, str]:
    """A subscription for 30.00, a schedule that makes it 10.00 at its renewal, and that price."""
    subscription = merchant.subscribe(merchant.create_customer(clock), (merchant.create_price(3000), 1))
    schedule = merchant.v1.subscription_schedules.create({"from_subscription": subscription.id})
    assert (schedule.status, schedule.subscription, len(schedule.phases)) == ("active", subscription.id, 1)
    cheap = merchant.create_price(1000)
    return subscription, change_phases(merchant, schedule, cheap.id), cheap.id


def change_phases(merchant: SdkMerchant, schedule: Any, price_id: str, **first: Any) -> Any:
    (current, *_) = schedule.phases
    phases = [
        {
            "start_date": current.start_date,
            "end_date": current.end_date,
            "items": [{"price": item.price, "quantity": item.quantity} for item in current["items"]],
            **first,
        },
        {
            "items": [{"price": price_id, "quantity": 2}],
            "duration": {"interval": "day", "interval_count": 1},
            "proration_behavior": "none",
        },
    ]
    return merchant.v1.subscription_schedules.update(schedule.id, {"phases": phases})


def test_phase_starts_with_the_period_and_the_last_one_releases(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription, schedule, price_id = plan_downgrade(merchant, clock)
    assert [phase.start_date for phase in schedule.phases] == [START, RENEWAL]
    upcoming = merchant.v1.invoices.create_preview({"schedule": schedule.id})
    assert (upcoming.total, upcoming.period_end) == (2000, RENEWAL)
    merchant.advance_clock(clock, RENEWAL + 7200)
    changed = merchant.reload_subscription(subscription)
    (item,) = changed["items"].data
    assert (item.price.id, item.quantity, changed.latest_invoice.total) == (price_id, 2, 2000)
    assert changed.schedule == schedule.id
    merchant.advance_clock(clock, RENEWAL + 2 * DAY)
    assert merchant.reload_subscription(subscription).schedule is None
    released = merchant.v1.subscription_schedules.retrieve(schedule.id)
    assert (released.status, released.released_subscription) == ("released", subscription.id)
    assert "subscription_schedule.released" in merchant.list_event_types(schedule)


def test_release_keeps_what_the_subscription_has(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    subscription, schedule, _ = plan_downgrade(merchant, clock)
    assert merchant.v1.subscription_schedules.release(schedule.id).status == "released"
    with pytest.raises(stripe.InvalidRequestError, match="`released` status"):
        merchant.v1.subscription_schedules.release(schedule.id)
    merchant.advance_clock(clock, RENEWAL + 7200)
    kept = merchant.reload_subscription(subscription)
    assert (kept.schedule, kept.latest_invoice.total) == (None, 3000)


def test_cancellation_of_a_scheduled_subscription(merchant: SdkMerchant) -> None:
    """https://github.com/laravel/cashier-stripe/issues/1748"""
    subscription, schedule, _ = plan_downgrade(merchant, merchant.create_clock("2025-01-01"))
    for params in ({"cancel_at_period_end": True}, {"cancel_at": RENEWAL}):
        with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
            merchant.v1.subscriptions.update(subscription.id, params)
    merchant.v1.subscriptions.cancel(subscription.id)
    assert merchant.v1.subscription_schedules.retrieve(schedule.id).status == "canceled"


def test_refusals_of_schedules(merchant: SdkMerchant) -> None:
    subscription, schedule, price_id = plan_downgrade(merchant, merchant.create_clock("2025-01-01"))
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        merchant.v1.subscription_schedules.create({"from_subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError, match="start date of the current phase"):
        change_phases(merchant, schedule, price_id, start_date=START + 1)
    merchant.v1.prices.update(price_id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        change_phases(merchant, schedule, price_id)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be used with"):
        merchant.v1.invoices.create_preview({"schedule": schedule.id, "subscription": subscription.id})
