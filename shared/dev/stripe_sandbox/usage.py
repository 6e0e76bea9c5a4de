"""The usage of metered items, from meter events.

Stripe counts them asynchronously: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api
"""

from shared.dev.stripe_sandbox.store import Account, Object

COUNTED_AFTER_S = 5


def list_events(account: Account, meter: Object, customer: str, start: int, end: int) -> list[Object]:
    counted_at = account.now(customer) - COUNTED_AFTER_S
    meter_events = [
        event
        for event in account.list_for_customer("_meter_event", customer)[::-1]
        if event["meter"] == meter["id"]
        and start <= event["timestamp"] < end
        and event.get("received_at", 0) <= counted_at
    ]
    return sorted(meter_events, key=lambda event: int(event["timestamp"]))


def aggregate_usage(account: Account, meter: Object, customer: str, start: int, end: int) -> int:
    meter_events = list_events(account, meter, customer, start, end)
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return len(meter_events)
    if formula == "last":
        return int(meter_events[-1]["value"]) if meter_events else 0
    return sum(int(event["value"]) for event in meter_events)


def get_item_usage(account: Account, subscription: Object, item: Object, start: int, end: int) -> int:
    """Of the meter of its price."""
    meter = account.objects["billing.meter"][item["price"]["recurring"]["meter"]]
    return aggregate_usage(account, meter, subscription["customer"], start, end)
