"""How much was used, from the meter events."""

from shared.dev.stripe_sandbox.store import Account, Object


def events(account: Account, meter: Object, customer: str, start: int, end: int) -> list[Object]:
    found = [
        one
        for one in account.of("_meter_event", customer)[::-1]
        if one["meter"] == meter["id"] and start <= one["timestamp"] < end
    ]
    return sorted(found, key=lambda one: int(one["timestamp"]))


def aggregate(account: Account, meter: Object, customer: str, start: int, end: int) -> int:
    found = events(account, meter, customer, start, end)
    formula = meter["default_aggregation"]["formula"]
    if formula == "count":
        return len(found)
    if formula == "last":
        return int(found[-1]["value"]) if found else 0
    return sum(int(one["value"]) for one in found)


def of_item(account: Account, subscription: Object, item: Object, start: int, end: int) -> int:
    """Of the meter of its price."""
    meter = account.objects["billing.meter"][item["price"]["recurring"]["meter"]]
    return aggregate(account, meter, subscription["customer"], start, end)
