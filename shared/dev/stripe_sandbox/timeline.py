"""Time passes: whatever became due happens, in order and at the moment it was due."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from shared.dev.stripe_sandbox import checkout, collection, endings, renewals, resumptions
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, visible

HOUR, DAY = 3600, 86_400
NUMBERS = count()  # planned earlier comes first
Step = tuple[int, int, Callable[[], object]]  # when, what comes first in the same second, what happens


def tick(account: Account) -> None:
    """Let everything happen that is due by now. Called on each request and by a timer."""
    for clock in _plan(account) - {None}:
        _run(account, clock, account.now(account.get("test_helpers.test_clock", clock)))
    _run(account, None, account.now())


def advance(account: Account, seconds: int) -> None:
    """Move the whole account (all that has no test clock) into the future."""
    if seconds < 0:
        raise Refusal("Time only goes forward.", param="seconds")
    account.settings["offset"] += seconds
    account.put(account.settings)
    tick(account)


def advance_clock(account: Account, clock: str, to: int) -> None:
    """Move one test clock; it says `ready` when everything until then has happened."""
    found = account.objects["test_helpers.test_clock"][clock]
    before = visible(found)
    _run(account, clock, to)
    found |= {"frozen_time": to, "status": "ready", "status_details": {"advancing": None}}
    account.put(found)
    account.emit("test_helpers.test_clock.ready", found, {"frozen_time": before["frozen_time"]})


def _run(account: Account, clock: str | None, until: int) -> None:
    _plan(account)
    agenda = account.agenda.setdefault(clock, [])
    try:
        while agenda and agenda[0][0] <= until:
            at, order, _, kind, id_ = heappop(agenda)
            for step in _steps(account, account.get(kind, id_)):
                if step[:2] == (at, order):  # else it was changed since it was planned
                    # never back: what was found late happens late, after what happened before
                    account.moments[clock] = max(at, account.moments.get(clock, at))
                    step[2]()
                    break
            _plan(account)
    finally:
        account.moments.pop(clock, None)


def _plan(account: Account) -> set[str | None]:
    """Put what was changed into the agendas; of which clocks."""
    clocks: set[str | None] = set()
    while account.touched:
        kind, id_ = next(iter(account.touched))
        del account.touched[kind, id_]
        found = account.get(kind, id_)
        clock = account.clock_of(found)
        agenda = account.agenda.setdefault(clock, [])
        for at, order, _ in _steps(account, found):
            heappush(agenda, (at, order, next(NUMBERS), kind, id_))
            clocks.add(clock)
    return clocks


def _steps(account: Account, one: Object | None) -> Iterator[Step]:
    if one is None:
        return
    if one["object"] == "subscription" and one["status"] not in endings.OVER:
        yield from _of_subscription(account, one)
    elif one["object"] == "invoice":
        yield from _of_invoice(account, one)
    elif one["object"] == "checkout.session" and one["status"] == "open":
        yield one["expires_at"], 9, lambda: checkout.expire(account, one)


def _of_subscription(account: Account, one: Object) -> Iterator[Step]:
    status = one["status"]
    if status == "trialing" and not one.get("_warned"):
        yield max(one["created"], one["trial_end"] - 3 * DAY), 0, lambda: renewals.warn(account, one)
    if status == "incomplete":
        yield one["created"] + 23 * HOUR, 1, lambda: renewals.expire(account, one)
        return
    if one["cancel_at"]:
        yield one["cancel_at"], 2, lambda: renewals.end(account, one)
    if one["pause_collection"] and one["pause_collection"]["resumes_at"]:
        yield one["pause_collection"]["resumes_at"], 3, lambda: renewals.collect_again(account, one)
    if status == "paused":
        invoice = account.get("invoice", one.get("_resumption"))
        if invoice is not None and not invoice["attempted"]:
            yield invoice["created"] + 23 * HOUR, 4, lambda: resumptions.give_up(account, one)
    else:
        ends = min(item["current_period_end"] for item in one["items"]["data"])
        yield ends, 4, lambda: renewals.renew(account, one)


def _of_invoice(account: Account, one: Object) -> Iterator[Step]:
    if one["status"] == "draft" and one["automatically_finalizes_at"]:
        yield one["automatically_finalizes_at"], 5, lambda: collection.go_on(account, one)
    if one["status"] == "open" and one["next_payment_attempt"]:
        yield one["next_payment_attempt"], 6, lambda: collection.attempt(account, one)
