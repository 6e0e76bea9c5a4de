"""Test clocks, which only move when they are advanced, and their customers."""

from shared.dev.stripe_sandbox import customers, timeline
from shared.dev.stripe_sandbox.objects import fetch_object, make_object
from shared.dev.stripe_sandbox.periods import compute_boundary
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.routes import PAGING, ApiCall, paginate, route
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

DAY = 86_400
PATH = "/v1/test_helpers/test_clocks"


@route("POST", PATH, "test_helpers.TestClockCreateParams", "frozen_time name")
def create_test_clock(call: ApiCall) -> Object:
    account = call.account
    now = account.now()
    clock = make_object(
        account,
        "test_helpers.test_clock",
        frozen_time=call.get("frozen_time"),
        name=call.get("name"),
        status="ready",
        created=now,
        deletes_after=now + 30 * DAY,
    )
    account.put(clock)
    account.emit("test_helpers.test_clock.created", clock)
    return clock


@route("GET", f"{PATH}/{{id}}", "test_helpers.TestClockRetrieveParams")
def retrieve_test_clock(call: ApiCall) -> Object:
    return fetch_object(call.account, "test_helpers.test_clock", call.ids["id"])


@route("GET", PATH, "test_helpers.TestClockListParams", PAGING)
def list_test_clocks(call: ApiCall) -> Object:
    return paginate(call, call.account.list_objects("test_helpers.test_clock"), "test clock")


@route("POST", f"{PATH}/{{id}}/advance", "test_helpers.TestClockAdvanceParams", "frozen_time")
def advance_test_clock(call: ApiCall) -> Object:
    """Returns the clock as `advancing`, as Stripe does; the next request returns it as `ready`."""
    account, frozen_time = call.account, call.get("frozen_time")
    clock = fetch_object(account, "test_helpers.test_clock", call.ids["id"])
    if frozen_time <= clock["frozen_time"]:
        raise ApiError("The frozen time has to lie after the clock's own.", param="frozen_time")
    if frozen_time > _compute_latest_time(account, clock):
        raise ApiError(
            "Cannot advance more than two intervals of the clock's shortest subscription, or two years without one.",
            param="frozen_time",
        )
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": frozen_time}}}
    account.emit("test_helpers.test_clock.advancing", clock)
    response: Object = copy_visible(clock)
    timeline.advance_clock(account, clock["id"], frozen_time)
    return response


@route("DELETE", f"{PATH}/{{id}}", "test_helpers.TestClockDeleteParams")
def delete_test_clock(call: ApiCall) -> Object:
    """With all its customers."""
    account = call.account
    clock = fetch_object(account, "test_helpers.test_clock", call.ids["id"])
    for customer in account.list_objects("customer"):
        if customer.get("test_clock") == clock["id"]:
            customers.remove_customer(account, customer)
    account.emit("test_helpers.test_clock.deleted", clock)
    account.delete_object("test_helpers.test_clock", clock["id"])
    return {"id": clock["id"], "object": "test_helpers.test_clock", "deleted": True}


def _compute_latest_time(account: Account, clock: Object) -> int:
    now = int(clock["frozen_time"])
    latest_times = [
        compute_boundary(now, item["price"]["recurring"], 2)
        for subscription in account.list_objects("subscription")
        if subscription["test_clock"] == clock["id"]
        for item in subscription["items"]["data"]
    ]
    return min(latest_times, default=compute_boundary(now, {"interval": "year", "interval_count": 1}, 2))
