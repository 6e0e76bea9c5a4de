"""Usage events: counted once, within their time, aggregated by formula."""

import time

import pytest
import stripe

from shared.dev.stripe_sandbox.store import Account
from tests.dev.stripe_sandbox.suite.stand import DAY, SdkMerchant, ThreadedSandbox, to_timestamp


def test_usage_event_is_counted_once_per_identifier(
    sandbox_server: ThreadedSandbox, merchant: SdkMerchant, key: str
) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    params = {
        "event_name": meter.event_name,
        "identifier": "row-1",
        "payload": {"stripe_customer_id": customer.id, "value": "5"},
    }
    merchant.v1.billing.meter_events.create(params)
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier row-1") as excinfo:
        sandbox_server.build_client(key, max_network_retries=2).v1.billing.meter_events.create(params)
    assert excinfo.value.headers is not None
    assert excinfo.value.headers["stripe-should-retry"] == "false"
    merchant.advance_clock(clock, "2025-01-01 00:01")
    totals = _list_totals(merchant, meter, customer, "2025-01-01", "2025-01-02")
    assert totals == [5.0]


def test_usage_event_replayed_after_a_day_counts_again(merchant: SdkMerchant, account: Account) -> None:
    customer, meter = merchant.create_customer(), merchant.create_meter()
    timestamp = int(time.time()) - 60
    params = {
        "event_name": meter.event_name,
        "identifier": "row-1",
        "timestamp": timestamp,
        "payload": {"stripe_customer_id": customer.id, "value": "5"},
    }
    merchant.v1.billing.meter_events.create(params)
    account.settings["offset"] += 2 * DAY
    account.put(account.settings)
    merchant.v1.billing.meter_events.create(params)
    account.settings["offset"] += 60
    account.put(account.settings)
    day = timestamp - timestamp % DAY
    window = {"customer": customer.id, "start_time": day, "end_time": day + 2 * DAY}
    assert merchant.v1.billing.meters.event_summaries.list(meter.id, window).data[0].aggregated_value == 10


@pytest.mark.parametrize(
    ("offset", "code"), [(-35 * DAY - 60, "timestamp_too_far_in_past"), (400, "timestamp_in_future")]
)
def test_usage_event_too_old_or_in_the_future_is_refused(
    merchant: SdkMerchant, offset: int, code: str
) -> None:
    customer, meter = merchant.create_customer(), merchant.create_meter()
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.report_usage(meter, customer, 1, int(time.time()) + offset)
    assert excinfo.value.code == code
    for fine in (-35 * DAY + 3600, 200):
        merchant.report_usage(meter, customer, 1, int(time.time()) + fine)


@pytest.mark.parametrize(("formula", "result"), [("sum", 12), ("count", 3), ("last", 2)])
def test_usage_is_aggregated_by_formula(merchant: SdkMerchant, formula: str, result: int) -> None:
    clock = merchant.create_clock("2025-01-10")
    customer, meter = merchant.create_customer(clock), merchant.create_meter(formula)
    for value, when in ((7, "2025-01-02 10:00"), (2, "2025-01-03 08:00"), (3, "2025-01-02 11:00")):
        merchant.report_usage(meter, customer, value, to_timestamp(when))
    merchant.report_usage(meter, customer, 99, to_timestamp("2025-01-04"))  # the end is exclusive
    merchant.advance_clock(clock, "2025-01-10 00:01")
    assert _list_totals(merchant, meter, customer, "2025-01-01", "2025-01-04") == [result]


def test_usage_is_summarized_by_hour(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-10")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    for value, when in ((1, "2025-01-02 10:10"), (2, "2025-01-02 10:50"), (4, "2025-01-02 11:00")):
        merchant.report_usage(meter, customer, value, to_timestamp(when))
    merchant.advance_clock(clock, "2025-01-10 00:01")
    window = {
        "customer": customer.id,
        "start_time": to_timestamp("2025-01-02"),
        "end_time": to_timestamp("2025-01-03"),
    }
    summaries = merchant.v1.billing.meters.event_summaries.list(
        meter.id, {**window, "value_grouping_window": "hour"}
    ).data
    assert [(summary.start_time, summary.aggregated_value) for summary in summaries] == [
        (to_timestamp("2025-01-02 11:00"), 4),
        (to_timestamp("2025-01-02 10:00"), 3),
    ]


def test_usage_is_counted_some_seconds_after_it_was_taken(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-10")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    merchant.report_usage(meter, customer, 3, to_timestamp("2025-01-09 10:00"))
    for when, total in ((None, 0), ("2025-01-10 00:01", 3)):
        if when is not None:
            merchant.advance_clock(clock, when)
        assert _list_totals(merchant, meter, customer, "2025-01-09", "2025-01-10") == [total]


def test_late_usage_is_billed_until_the_draft_is_final(merchant: SdkMerchant) -> None:
    clock = merchant.create_clock("2025-01-01")
    customer, meter = merchant.create_customer(clock), merchant.create_meter()
    subscription = merchant.subscribe(customer, merchant.create_metered_price(meter, 100))
    merchant.report_usage(meter, customer, 3)
    merchant.advance_clock(clock, "2025-02-01 00:30")
    draft = merchant.reload_subscription(subscription).latest_invoice
    assert (draft.status, draft.total) == ("draft", 300)
    merchant.report_usage(meter, customer, 2, to_timestamp("2025-01-31 23:59"))
    merchant.report_usage(
        meter, customer, 9, to_timestamp("2025-02-01")
    )  # the boundary belongs to the next period
    merchant.advance_clock(clock, "2025-02-01 02:00")
    assert merchant.reload_subscription(subscription).latest_invoice.total == 500
    merchant.report_usage(meter, customer, 50, to_timestamp("2025-01-31 23:59"))  # too late
    merchant.advance_clock(clock, "2025-03-01 02:00")
    assert merchant.reload_subscription(subscription).latest_invoice.total == 900


def test_usage_event_with_invalid_payload_is_accepted_and_not_counted(
    merchant: SdkMerchant, account: Account
) -> None:
    customer, meter = merchant.create_customer(), merchant.create_meter()
    for payload in (
        {"stripe_customer_id": "cus_unknown", "value": "1"},
        {"stripe_customer_id": customer.id, "value": "many"},
        {"stripe_customer_id": customer.id},
        {"value": "1"},
    ):
        merchant.v1.billing.meter_events.create({"event_name": meter.event_name, "payload": payload})
    merchant.v1.billing.meter_events.create({"event_name": "never_heard_of", "payload": {"value": "1"}})
    assert [meter_error["why"] for meter_error in account.list_objects("_meter_error")][::-1] == [
        "meter_event_customer_not_found",
        "meter_event_invalid_value",
        "meter_event_value_not_found",
        "meter_event_no_customer_defined",
        "no_meter_found",
    ]


def test_meter_is_updated_deactivated_and_reactivated(merchant: SdkMerchant) -> None:
    meter = merchant.create_meter()
    assert (
        merchant.v1.billing.meters.update(meter.id, {"display_name": "Requests"}).display_name == "Requests"
    )
    assert merchant.v1.billing.meters.deactivate(meter.id).status == "inactive"
    with pytest.raises(stripe.InvalidRequestError) as excinfo:
        merchant.report_usage(meter, merchant.create_customer(), 1)
    assert excinfo.value.code == "archived_meter"
    assert merchant.v1.billing.meters.reactivate(meter.id).status == "active"


def _list_totals(merchant: SdkMerchant, meter: object, customer: object, start: str, end: str) -> list[float]:
    window = {"customer": customer.id, "start_time": to_timestamp(start), "end_time": to_timestamp(end)}  # type: ignore[attr-defined]
    summaries = merchant.v1.billing.meters.event_summaries.list(meter.id, window).data  # type: ignore[attr-defined]
    return [summary.aggregated_value for summary in summaries]
