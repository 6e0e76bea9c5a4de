"""Clocks that stand still until somebody advances them, and the customers that live by them."""

from shared.dev.stripe_sandbox import customers, timeline
from shared.dev.stripe_sandbox.objects import fetch, make
from shared.dev.stripe_sandbox.periods import boundary
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.routes import PAGING, Call, page, route
from shared.dev.stripe_sandbox.store import Account, Object, visible

DAY = 86_400
PATH = "/v1/test_helpers/test_clocks"


@route("POST", PATH, "test_helpers.TestClockCreateParams", "frozen_time name")
def create(call: Call) -> Object:
    account = call.account
    real = account.now()
    clock = make(
        account,
        "test_helpers.test_clock",
        frozen_time=call.get("frozen_time"),
        name=call.get("name"),
        status="ready",
        created=real,
        deletes_after=real + 30 * DAY,
    )
    account.put(clock)
    account.emit("test_helpers.test_clock.created", clock)
    return clock


@route("GET", f"{PATH}/{{id}}", "test_helpers.TestClockRetrieveParams")
def retrieve(call: Call) -> Object:
    return fetch(call.account, "test_helpers.test_clock", call.ids["id"])


@route("GET", PATH, "test_helpers.TestClockListParams", PAGING)
def listing(call: Call) -> Object:
    return page(call, call.account.all("test_helpers.test_clock"), "test clock")


@route("POST", f"{PATH}/{{id}}/advance", "test_helpers.TestClockAdvanceParams", "frozen_time")
def advance(call: Call) -> Object:
    """Answers `advancing`, as Stripe does; whoever asks next finds it `ready`."""
    account, to = call.account, call.get("frozen_time")
    clock = fetch(account, "test_helpers.test_clock", call.ids["id"])
    if to <= clock["frozen_time"]:
        raise Refusal("The frozen time has to lie after the clock's own.", param="frozen_time")
    if to > _furthest(account, clock):
        raise Refusal(
            "Cannot advance more than two intervals of the clock's shortest subscription, or two years without one.",
            param="frozen_time",
        )
    clock |= {"status": "advancing", "status_details": {"advancing": {"target_frozen_time": to}}}
    account.emit("test_helpers.test_clock.advancing", clock)
    answer: Object = visible(clock)
    timeline.advance_clock(account, clock["id"], to)
    return answer


@route("DELETE", f"{PATH}/{{id}}", "test_helpers.TestClockDeleteParams")
def delete(call: Call) -> Object:
    """With all its customers."""
    account = call.account
    clock = fetch(account, "test_helpers.test_clock", call.ids["id"])
    for customer in account.all("customer"):
        if customer.get("test_clock") == clock["id"]:
            customers.remove(account, customer)
    account.emit("test_helpers.test_clock.deleted", clock)
    account.drop("test_helpers.test_clock", clock["id"])
    return {"id": clock["id"], "object": "test_helpers.test_clock", "deleted": True}


def _furthest(account: Account, clock: Object) -> int:
    now = int(clock["frozen_time"])
    ends = [
        boundary(now, item["price"]["recurring"], 2)
        for one in account.all("subscription")
        if one["test_clock"] == clock["id"]
        for item in one["items"]["data"]
    ]
    return min(ends, default=boundary(now, {"interval": "year", "interval_count": 1}, 2))
