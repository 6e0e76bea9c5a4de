"""Time passes: whatever became due happens, in order and at the moment it was due."""

from collections.abc import Callable, Iterator
from functools import partial

from shared.dev.stripe_sandbox import checkout, collection, endings, renewals, resumptions
from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object, visible

HOUR, DAY = 3600, 86_400
Due = tuple[int, int, Callable[[], object]]  # when, what comes first of the same second, what happens


def tick(account: Account) -> None:
    """Let everything happen that is due by now. Called on each request and by a timer."""
    now = account.now()
    if now < account.quiet_until:
        return
    for clock in account.objects.get("test_helpers.test_clock", {}):
        _run(account, clock, account.now(account.objects["test_helpers.test_clock"][clock]))
    account.quiet_until = _run(account, None, now)


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


def _run(account: Account, clock: str | None, until: int) -> float:
    """When something is due next."""
    try:
        while True:
            first = min(_due(account, clock), key=lambda one: one[:2], default=None)
            if first is None or first[0] > until:
                return first[0] if first else float("inf")
            # never back: what was found late happens late, after what happened before
            account.moments[clock] = max(first[0], account.moments.get(clock, first[0]))
            first[2]()
    finally:
        account.moments.pop(clock, None)


def _due(account: Account, clock: str | None) -> Iterator[Due]:
    for subscription in account.objects.get("subscription", {}).values():
        if subscription["test_clock"] == clock and subscription["status"] not in endings.OVER:
            yield from _of_subscription(account, subscription)
    for invoice in account.objects.get("invoice", {}).values():
        if invoice["test_clock"] == clock and invoice["status"] in ("draft", "open"):
            yield from _of_invoice(account, invoice)
    for session in account.objects.get("checkout.session", {}).values():
        if session["status"] == "open" and account.clock_of(session) == clock:
            yield session["expires_at"], 9, partial(checkout.expire, account, session)


def _of_subscription(account: Account, one: Object) -> Iterator[Due]:
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


def _of_invoice(account: Account, one: Object) -> Iterator[Due]:
    if one["status"] == "draft" and one["automatically_finalizes_at"]:
        yield one["automatically_finalizes_at"], 5, lambda: collection.go_on(account, one)
    if one["status"] == "open" and one["next_payment_attempt"]:
        yield one["next_payment_attempt"], 6, lambda: collection.attempt(account, one)
