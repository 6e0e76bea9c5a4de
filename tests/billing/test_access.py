"""The access schedule: equal to the published table for any subscriptions of the provider."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from shared.billing.provider_values import PauseCause, Subscription, SubscriptionItem
from shared.billing.sync import access_schedule
from shared.billing.sync.access_schedule import (
    ACCESS_TABLE,
    ActiveAddon,
    CatalogPrice,
    Phase,
    StatusMeaning,
)
from tenant_app.pages.billing.rows import PAUSE_SENTENCES
from tests.support.billing import access_reference
from tests.support.billing.access_reference import BASIC, DAY, EPOCH, EXTRA, PLUS, SEATED
from tests.support.sizes import size

OF_A_MUTANT = 1_500
PRICED = {
    BASIC: CatalogPrice("ver_basic", is_addon=False, is_per_seat=False, position=1),
    PLUS: CatalogPrice("ver_plus", is_addon=False, is_per_seat=False, position=2),
    SEATED: CatalogPrice("ver_seated", is_addon=False, is_per_seat=True, position=3),
    EXTRA: CatalogPrice("ver_extra", is_addon=True, is_per_seat=False, position=9),
}


def find_first_wrong(examples: int) -> str:
    """Returns "" when every schedule is right, now and at every later change."""
    for seed in range(examples):
        subscriptions = access_reference.draw_subscriptions(random.Random(seed), EPOCH)
        schedule = access_schedule.schedule_for(subscriptions, PRICED, EPOCH)
        for at in access_reference.list_change_times(subscriptions, EPOCH):
            should = access_reference.expected_access(subscriptions, at)
            has = schedule.status_at(at) if schedule else None
            if has != should:
                return f"seed {seed} at {at}: {has}, should be {should}, of {subscriptions}"
            if access_reference.is_access_equal(
                subscriptions, EPOCH, at
            ):  # or the next look says which add-ons count
                bought = [
                    addon
                    for addon in (schedule.addons if schedule else ())
                    if addon.until is None or at < addon.until
                ]
                number, should_be = (
                    sum(addon.quantity for addon in bought),
                    access_reference.count_extras(subscriptions, at),
                )
                if number != should_be:
                    return f"seed {seed} at {at}: {number} add-ons, should be {should_be}, of {subscriptions}"
    return ""


def test_schedule_equals_the_published_table_for_random_subscriptions() -> None:
    assert not (problem := find_first_wrong(size("billing.access"))), problem


def build_subscription(
    status: str = "active", price: str = PLUS, name: str = "sub_1", **changed: Any
) -> Subscription:
    line = SubscriptionItem("si_1", price, "price_x", 1, EPOCH, EPOCH + 30 * DAY)
    return replace(Subscription(name, status, EPOCH, lines=(line,)), **changed)


def test_paid_subscription_beside_a_trial_keeps_access_after_the_trial() -> None:
    trial = build_subscription("trialing", trial_ends_at=EPOCH + DAY)
    schedule = access_schedule.schedule_for(
        [trial, build_subscription(price=BASIC, name="sub_2")], PRICED, EPOCH
    )
    assert schedule is not None
    assert schedule.status_at(EPOCH + 2 * DAY) == "active"


def test_unpaid_trial_ends_by_the_clock() -> None:
    schedule = access_schedule.schedule_for(
        [build_subscription("trialing", trial_ends_at=EPOCH + DAY)], PRICED, EPOCH
    )
    assert schedule is not None
    assert schedule.trial_ends_at == EPOCH + DAY
    assert [schedule.status_at(EPOCH + DAY - access_reference.TICK), schedule.status_at(EPOCH + DAY)] == [
        "active",
        "none",
    ]


def test_subscription_to_other_prices_does_not_keep_a_cancelled_plan() -> None:
    """The provider's account may sell more than our plans: a retainer, a training."""
    retainer = build_subscription(price=access_reference.FOREIGN, name="sub_2")
    schedule = access_schedule.schedule_for([build_subscription("canceled"), retainer], PRICED, EPOCH)
    assert schedule is not None
    assert schedule.status_at(EPOCH) == "none"
    assert "none of ours" in "".join(schedule.alerts)


def test_only_subscription_with_a_foreign_price_keeps_access() -> None:
    """An operator put another price into the only subscription. The customer pays, so access stays."""
    schedule = access_schedule.schedule_for(
        [build_subscription(price=access_reference.FOREIGN)], PRICED, EPOCH
    )
    assert schedule is not None
    assert (schedule.status_at(EPOCH), schedule.version_id) == ("active", "")


@pytest.mark.parametrize("cause", get_args(PauseCause))
def test_pause_tells_its_own_cause(cause: PauseCause) -> None:
    paused = build_subscription("paused", pause_cause=cause)
    (phase,) = access_schedule.phases_of(paused, EPOCH)
    assert phase.status == "read_only"
    assert ("trial" in phase.why) == (cause == "trial")
    assert ("payment" in phase.why) == (cause == "payment")
    text, step = PAUSE_SENTENCES[cause]
    assert ("trial" in text) == (cause == "trial")
    assert ("payment" in step) == (cause == "payment")


def test_paused_collection_alerts_operators() -> None:
    free = replace(build_subscription(), paused_collection="void")
    schedule = access_schedule.schedule_for([free], PRICED, EPOCH)
    assert schedule is not None
    assert (schedule.status_at(EPOCH), len(schedule.alerts)) == ("active", 1)
    assert "paused in Stripe (void)" in schedule.alerts[0]


def test_unknown_status_grants_nothing_without_previous_access() -> None:
    assert access_schedule.schedule_for([build_subscription("frozen")], PRICED, EPOCH) is None


@pytest.mark.parametrize("last", ["active", "grace", "read_only", "none"])
def test_unknown_status_keeps_the_previous_access(last: access_schedule.AccessStatus) -> None:
    schedule = access_schedule.schedule_for(
        [build_subscription("frozen")], PRICED, EPOCH, previous_status=last
    )
    assert schedule is not None
    assert schedule.status_at(EPOCH) == last
    assert "unknown status frozen" in schedule.alerts[0]


def test_partly_cancelled_addon_keeps_the_remaining_quantity() -> None:
    """Five add-ons, of which two remain: the other three end with the paid period, the two do not."""
    plan = build_subscription()
    kept = access_reference.CanceledAddon(EXTRA, 5, EPOCH + DAY)
    lines = (*plan.lines, replace(plan.lines[0], price_id=EXTRA, quantity=2))
    schedule = access_schedule.schedule_for([replace(plan, lines=lines, kept=(kept,))], PRICED, EPOCH)
    assert schedule is not None
    assert schedule.addons == (ActiveAddon("ver_extra", 2), ActiveAddon("ver_extra", 3, EPOCH + DAY))


def test_read_only_tenant_keeps_its_addons() -> None:
    plan = build_subscription("unpaid")
    schedule = access_schedule.schedule_for(
        [replace(plan, lines=(*plan.lines, replace(plan.lines[0], price_id=EXTRA)))], PRICED, EPOCH
    )
    assert schedule is not None
    assert schedule.addons == (ActiveAddon("ver_extra", 1),)


def test_addon_with_quantity_zero_gives_nothing() -> None:
    """The provider bills nothing for it, so the page and the access agree on none."""
    plan = build_subscription()
    lines = (*plan.lines, replace(plan.lines[0], price_id=EXTRA, quantity=0))
    schedule = access_schedule.schedule_for([replace(plan, lines=lines)], PRICED, EPOCH)
    assert schedule is not None
    assert schedule.addons == ()


def test_addon_with_a_metered_price_counts_once() -> None:
    priced = PRICED | {"prc_calls": PRICED[EXTRA]._replace(is_metered=True)}
    line = replace(build_subscription().lines[0], price_id="prc_calls", quantity=0)
    assert access_schedule.count_addons([line], priced) == {"ver_extra": 1}
    assert access_schedule.count_addons([line, replace(line, price_id=EXTRA, quantity=2)], priced) == {
        "ver_extra": 2
    }


# ── the property can fail ────────────────────────────────────────────────────────────────────────────────────────

Planted = tuple[Any, str, Any]
was_spans, was_addons = access_schedule.phases_of, access_schedule._active_addons


def table_says(**words: str) -> Planted:
    changed = {word: ACCESS_TABLE[word]._replace(status=status) for word, status in words.items()}
    return access_schedule, "ACCESS_TABLE", ACCESS_TABLE | changed


def eight_days_of_grace() -> Planted:
    return access_schedule, "GRACE_PERIOD", timedelta(days=8)


def six_days_of_grace() -> Planted:
    return access_schedule, "GRACE_PERIOD", timedelta(days=6)


def worst_instead_of_best() -> Planted:
    return access_schedule, "STATUSES_BEST_FIRST", tuple(reversed(access_schedule.STATUSES_BEST_FIRST))


def cancelled_may_read() -> Planted:
    return table_says(canceled="read_only")


def unpaid_is_full() -> Planted:
    return table_says(unpaid="active")


def paused_is_full() -> Planted:
    return table_says(paused="active")


def incomplete_is_full() -> Planted:
    return access_schedule, "ACCESS_TABLE", ACCESS_TABLE | {"incomplete": StatusMeaning("", "", "active")}


def incomplete_takes_away() -> Planted:
    return (
        access_schedule,
        "ACCESS_TABLE",
        ACCESS_TABLE | {"incomplete": ACCESS_TABLE["incomplete"]._replace(affects_newcomers=True)},
    )


def overdue_ends_at_once() -> Planted:
    return access_schedule, "GRACE_PERIOD", timedelta(0)


def _with_spans(change: Callable[[Subscription], Subscription]) -> Planted:
    def spans(subscription: Subscription, at: datetime, *arguments: Any) -> list[Phase]:
        return was_spans(change(subscription), at, *arguments)

    return access_schedule, "phases_of", spans


def foreseen_end_ignored() -> Planted:
    return _with_spans(lambda subscription: replace(subscription, cancel_at=None))


def foreseen_end_at_once() -> Planted:
    return _with_spans(lambda subscription: replace(subscription, cancel_at=subscription.cancel_at and EPOCH))


def foreseen_end_a_moment_late() -> Planted:
    return _with_spans(
        lambda subscription: replace(
            subscription, cancel_at=subscription.cancel_at and subscription.cancel_at + access_reference.TICK
        )
    )


def trial_never_ends() -> Planted:
    return _with_spans(lambda subscription: replace(subscription, pays=True))


def trial_ends_for_who_pays() -> Planted:
    return _with_spans(lambda subscription: replace(subscription, pays=False))


def trial_never_pauses() -> Planted:
    return _with_spans(lambda subscription: replace(subscription, after_trial="invoice"))


def first_failure_forgotten() -> Planted:
    return _with_spans(
        lambda subscription: replace(subscription, failed_since=subscription.failed_since and EPOCH)
    )


def only_the_newest_counts() -> Planted:
    was = access_schedule.schedule_for

    def course(subscriptions: Any, *arguments: Any, **more: Any) -> Any:
        return was(
            sorted(subscriptions, key=lambda subscription: (subscription.created_at, subscription.id))[-1:],
            *arguments,
            **more,
        )

    return access_schedule, "schedule_for", course


def given_up_is_gone() -> Planted:
    return (
        access_schedule,
        "_active_addons",
        lambda live, *arguments: was_addons(
            [replace(subscription, kept=()) for subscription in live], *arguments
        ),
    )


def given_up_adds_up() -> Planted:
    def addons(live: Any, priced: Any, at: datetime) -> Any:
        bought = was_addons([replace(subscription, kept=()) for subscription in live], priced, at)
        return (*bought, *was_addons([replace(subscription, lines=()) for subscription in live], priced, at))

    return access_schedule, "_active_addons", addons


def none_is_one() -> Planted:
    was = access_schedule.count_addons

    def count(lines: Any, priced: Any) -> Any:
        return was([replace(line, quantity=max(line.quantity, 1)) for line in lines], priced)

    return access_schedule, "count_addons", count


MUTANTS = (
    none_is_one,
    *(
        eight_days_of_grace,
        six_days_of_grace,
        overdue_ends_at_once,
        worst_instead_of_best,
        cancelled_may_read,
    ),
    *(unpaid_is_full, paused_is_full, incomplete_is_full, incomplete_takes_away, foreseen_end_ignored),
    *(foreseen_end_at_once, foreseen_end_a_moment_late, trial_never_ends, trial_ends_for_who_pays),
    *(
        trial_never_pauses,
        first_failure_forgotten,
        only_the_newest_counts,
        given_up_is_gone,
        given_up_adds_up,
    ),
)


@contextmanager
def replaced_attribute(module: Any, name: str, wrong: Any) -> Iterator[None]:
    was = getattr(module, name)
    setattr(module, name, wrong)
    try:
        yield
    finally:
        setattr(module, name, was)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_reading_of_the_table_is_noticed(mutant: Callable[[], Planted]) -> None:
    with replaced_attribute(*mutant()):
        assert find_first_wrong(OF_A_MUTANT)


def test_only_subscriptions_to_a_plan_are_counted_as_extra() -> None:
    others = [build_subscription(price=access_reference.FOREIGN, name=name) for name in ("sub_2", "sub_3")]
    assert access_schedule.count_extra_subscriptions(others, PRICED) == 0
    assert access_schedule.count_extra_subscriptions([build_subscription(), *others], PRICED) == 0
    plans = [build_subscription(), build_subscription(name="sub_4")]
    assert access_schedule.count_extra_subscriptions([*plans, *others], PRICED) == 1
