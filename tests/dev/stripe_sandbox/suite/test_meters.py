"""Reported use: once each, within its time, and summed up."""

import time

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, Shop, Stand, at


def test_an_identifier_counts_once(stand: Stand, shop: Shop, key: str) -> None:
    clock = shop.clock("2025-01-01")
    customer, meter = shop.customer(clock), shop.meter()
    sent = {
        "event_name": meter.event_name,
        "identifier": "row-1",
        "payload": {"stripe_customer_id": customer.id, "value": "5"},
    }
    shop.v1.billing.meter_events.create(sent)
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier row-1") as twice:
        stand.client(key, max_network_retries=2).v1.billing.meter_events.create(sent)
    assert twice.value.headers is not None
    assert twice.value.headers["stripe-should-retry"] == "false"
    found = _summary(shop, meter, customer, "2025-01-01", "2025-01-02")
    assert found == [5.0]


def test_a_replay_after_its_day_counts_again(shop: Shop, account: Account) -> None:
    customer, meter = shop.customer(), shop.meter()
    when = int(time.time()) - 60
    sent = {
        "event_name": meter.event_name,
        "identifier": "row-1",
        "timestamp": when,
        "payload": {"stripe_customer_id": customer.id, "value": "5"},
    }
    shop.v1.billing.meter_events.create(sent)
    account.settings["offset"] += 2 * DAY
    account.put(account.settings)
    shop.v1.billing.meter_events.create(sent)
    day = when - when % DAY
    window = {"customer": customer.id, "start_time": day, "end_time": day + 2 * DAY}
    assert shop.v1.billing.meters.event_summaries.list(meter.id, window).data[0].aggregated_value == 10


@pytest.mark.parametrize(
    ("offset", "code"), [(-35 * DAY - 60, "timestamp_too_far_in_past"), (400, "timestamp_in_future")]
)
def test_too_old_or_too_early(shop: Shop, offset: int, code: str) -> None:
    customer, meter = shop.customer(), shop.meter()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.use_units(meter, customer, 1, int(time.time()) + offset)
    assert refused.value.code == code
    for fine in (-35 * DAY + 3600, 200):
        shop.use_units(meter, customer, 1, int(time.time()) + fine)


@pytest.mark.parametrize(("formula", "result"), [("sum", 12), ("count", 3), ("last", 2)])
def test_formulas(shop: Shop, formula: str, result: int) -> None:
    clock = shop.clock("2025-01-10")
    customer, meter = shop.customer(clock), shop.meter(formula)
    for value, when in ((7, "2025-01-02 10:00"), (2, "2025-01-03 08:00"), (3, "2025-01-02 11:00")):
        shop.use_units(meter, customer, value, at(when))
    shop.use_units(meter, customer, 99, at("2025-01-04"))  # the end is exclusive
    assert _summary(shop, meter, customer, "2025-01-01", "2025-01-04") == [result]


def test_by_the_hour(shop: Shop) -> None:
    clock = shop.clock("2025-01-10")
    customer, meter = shop.customer(clock), shop.meter()
    for value, when in ((1, "2025-01-02 10:10"), (2, "2025-01-02 10:50"), (4, "2025-01-02 11:00")):
        shop.use_units(meter, customer, value, at(when))
    window = {"customer": customer.id, "start_time": at("2025-01-02"), "end_time": at("2025-01-03")}
    found = shop.v1.billing.meters.event_summaries.list(
        meter.id, {**window, "value_grouping_window": "hour"}
    ).data
    assert [(one.start_time, one.aggregated_value) for one in found] == [
        (at("2025-01-02 11:00"), 4),
        (at("2025-01-02 10:00"), 3),
    ]


def test_late_use_is_billed_until_the_draft_is_final(shop: Shop) -> None:
    clock = shop.clock("2025-01-01")
    customer, meter = shop.customer(clock), shop.meter()
    subscription = shop.subscribe(customer, shop.metered(meter, 100))
    shop.use_units(meter, customer, 3)
    shop.advance(clock, "2025-02-01 00:30")
    draft = shop.again(subscription).latest_invoice
    assert (draft.status, draft.total) == ("draft", 300)
    shop.use_units(meter, customer, 2, at("2025-01-31 23:59"))
    shop.use_units(meter, customer, 9, at("2025-02-01"))  # the boundary belongs to the next period
    shop.advance(clock, "2025-02-01 02:00")
    assert shop.again(subscription).latest_invoice.total == 500
    shop.use_units(meter, customer, 50, at("2025-01-31 23:59"))  # too late
    shop.advance(clock, "2025-03-01 02:00")
    assert shop.again(subscription).latest_invoice.total == 900


def test_what_is_wrong_inside_is_taken_and_counts_nothing(shop: Shop, account: Account) -> None:
    customer, meter = shop.customer(), shop.meter()
    for payload in (
        {"stripe_customer_id": "cus_unknown", "value": "1"},
        {"stripe_customer_id": customer.id, "value": "many"},
        {"stripe_customer_id": customer.id},
        {"value": "1"},
    ):
        shop.v1.billing.meter_events.create({"event_name": meter.event_name, "payload": payload})
    shop.v1.billing.meter_events.create({"event_name": "never_heard_of", "payload": {"value": "1"}})
    assert [one["why"] for one in account.all("_meter_error")][::-1] == [
        "meter_event_customer_not_found",
        "meter_event_invalid_value",
        "meter_event_value_not_found",
        "meter_event_no_customer_defined",
        "no_meter_found",
    ]


def test_a_meter_lives_and_rests(shop: Shop) -> None:
    meter = shop.meter()
    assert shop.v1.billing.meters.update(meter.id, {"display_name": "Requests"}).display_name == "Requests"
    assert shop.v1.billing.meters.deactivate(meter.id).status == "inactive"
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.use_units(meter, shop.customer(), 1)
    assert refused.value.code == "archived_meter"
    assert shop.v1.billing.meters.reactivate(meter.id).status == "active"


def _summary(shop: Shop, meter: object, customer: object, start: str, end: str) -> list[float]:
    window = {"customer": customer.id, "start_time": at(start), "end_time": at(end)}  # type: ignore[attr-defined]
    found = shop.v1.billing.meters.event_summaries.list(meter.id, window).data  # type: ignore[attr-defined]
    return [one.aggregated_value for one in found]
