"""Runs the steps that are due, in order, each at the time at which it was due."""

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import count

from shared.dev.stripe_sandbox import (
    changes,
    checkout,
    collection,
    endings,
    renewals,
    resumptions,
    schedules,
    sent_invoices,
)
from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object, copy_visible

HOUR, DAY = 3600, 86_400
SEQUENCE = count()  # planned earlier comes first
Step = tuple[int, int, Callable[[], object]]  # when, what comes first in the same second, what happens


def run_due_steps(account: Account) -> None:
    """Run every step that is due. Called on each request and by a timer."""
    for clock in _plan_changed(account) - {None}:
        _run_until(account, clock, account.now(account.get("test_helpers.test_clock", clock)))
    _run_until(account, None, account.now())


def advance_account(account: Account, seconds: int) -> None:
    """Advance the time of all objects of the account that have no test clock."""
    if seconds < 0:
        raise ApiError("Time only moves forward.", param="seconds")
    account.settings["offset"] += seconds
    account.put(account.settings)
    run_due_steps(account)


def advance_clock(account: Account, clock: str, target_time: int) -> None:
    """Advance one test clock. Its status is `ready` when all steps until then have run."""
    clock_object = account.objects["test_helpers.test_clock"][clock]
    previous = copy_visible(clock_object)
    _run_until(account, clock, target_time)
    clock_object |= {"frozen_time": target_time, "status": "ready", "status_details": {"advancing": None}}
    account.put(clock_object)
    account.emit("test_helpers.test_clock.ready", clock_object, {"frozen_time": previous["frozen_time"]})


def _run_until(account: Account, clock: str | None, until: int) -> None:
    _plan_changed(account)
    agenda = account.agenda.setdefault(clock, [])
    try:
        while agenda and agenda[0][0] <= until:
            due_at, order, _, kind, id_ = heappop(agenda)
            subject = account.get(kind, id_)
            if account.get_clock_id(subject) != clock:  # its customer has got another clock
                continue
            for step in _list_steps(account, subject):
                if step[:2] == (due_at, order):  # otherwise the object was changed after this was planned
                    # time never goes back: a step that was found late runs after the earlier ones
                    account.clock_times[clock] = max(due_at, account.clock_times.get(clock, due_at))
                    step[2]()
                    break
            _plan_changed(account)
    finally:
        account.clock_times.pop(clock, None)


def _plan_changed(account: Account) -> set[str | None]:
    """Plan the changed objects. Returns the ids of their clocks."""
    clocks: set[str | None] = set()
    while account.unplanned_keys:
        kind, id_ = next(iter(account.unplanned_keys))
        del account.unplanned_keys[kind, id_]
        obj = account.get(kind, id_)
        clock = account.get_clock_id(obj)
        agenda = account.agenda.setdefault(clock, [])
        for due_at, order, _ in _list_steps(account, obj):
            heappush(agenda, (due_at, order, next(SEQUENCE), kind, id_))
            clocks.add(clock)
    return clocks


def _list_steps(account: Account, obj: Object | None) -> Iterator[Step]:
    if obj is None:
        return
    if obj["object"] == "subscription" and obj["status"] not in endings.ENDED_STATUSES:
        yield from _list_subscription_steps(account, obj)
    elif obj["object"] == "invoice":
        yield from _list_invoice_steps(account, obj)
    elif obj["object"] == "checkout.session" and obj["status"] == "open":
        yield obj["expires_at"], 9, lambda: checkout.expire_session(account, obj)


def _list_subscription_steps(account: Account, subscription: Object) -> Iterator[Step]:
    status = subscription["status"]
    if status == "trialing" and not subscription.get("_warned"):
        yield (
            max(subscription["created"], subscription["trial_end"] - 3 * DAY),
            0,
            lambda: renewals.emit_trial_warning(account, subscription),
        )
    if status == "incomplete":
        yield (
            subscription["created"] + 23 * HOUR,
            1,
            lambda: renewals.expire_incomplete(account, subscription),
        )
        return
    if subscription["pending_update"]:
        yield (
            subscription["pending_update"]["expires_at"],
            1,
            lambda: changes.discard_pending_update(account, subscription),
        )
    if subscription["cancel_at"]:
        yield subscription["cancel_at"], 2, lambda: renewals.end_as_scheduled(account, subscription)
    if subscription["pause_collection"] and subscription["pause_collection"]["resumes_at"]:
        yield (
            subscription["pause_collection"]["resumes_at"],
            3,
            lambda: renewals.resume_collection(account, subscription),
        )
    if (schedule := account.get(schedules.KIND, subscription["schedule"])) is not None:
        yield (
            schedule["current_phase"]["end_date"],
            3,
            lambda: schedules.enter_next_phase(account, schedule),
        )
    if status == "paused":
        invoice = account.get("invoice", subscription.get("_resumption"))
        if invoice is not None and not invoice["attempted"]:
            yield (
                invoice["created"] + 23 * HOUR,
                4,
                lambda: resumptions.void_unpaid_resumption(account, subscription),
            )
    else:
        period_end = min(item["current_period_end"] for item in subscription["items"]["data"])
        yield period_end, 4, lambda: renewals.renew_subscription(account, subscription)


def _list_invoice_steps(account: Account, invoice: Object) -> Iterator[Step]:
    if invoice["status"] == "draft" and invoice["automatically_finalizes_at"]:
        yield (
            invoice["automatically_finalizes_at"],
            5,
            lambda: collection.finalize_and_collect(account, invoice),
        )
    if invoice["status"] == "open" and invoice["next_payment_attempt"]:
        yield invoice["next_payment_attempt"], 6, lambda: collection.attempt_payment(account, invoice)
    if (overdue_at := sent_invoices.get_overdue_time(account, invoice)) is not None:
        yield overdue_at, 7, lambda: collection.pass_deadline(account, invoice)
