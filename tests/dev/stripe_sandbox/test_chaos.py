"""Planned disturbances of deliveries: repeatable by seed and independent of each other."""

from collections import Counter

import pytest

from shared.dev.stripe_sandbox.chaos import Chaos, PlannedDelivery


def plan_events(chaos: Chaos, events: int = 200) -> list[list[PlannedDelivery]]:
    return [chaos.plan_deliveries() for _ in range(events)]


def test_deliveries_without_chaos_go_out_once_and_at_once() -> None:
    assert plan_events(Chaos(), 50) == [[PlannedDelivery("pending", 0)]] * 50


def test_deliveries_repeat_for_the_same_seed_only() -> None:
    wild = {"drop": 0.2, "duplicate": 0.3, "shuffle_s": 5.0}
    assert plan_events(Chaos(seed=7, **wild)) == plan_events(Chaos(seed=7, **wild))
    assert plan_events(Chaos(seed=7, **wild)) != plan_events(Chaos(seed=8, **wild))
    assert Chaos(seed=7).order_deliveries(range(20), "shuffled") == Chaos(seed=7).order_deliveries(
        range(20), "shuffled"
    )


def test_one_setting_leaves_the_random_choices_of_others_unchanged() -> None:
    def list_dropped(chaos: Chaos) -> list[bool]:
        return [fates[0].state == "dropped" for fates in plan_events(chaos)]

    assert list_dropped(Chaos(seed=3, drop=0.3)) == list_dropped(
        Chaos(seed=3, drop=0.3, duplicate=0.5, shuffle_s=2)
    )


def test_probabilities_are_respected() -> None:
    count_by_copies = Counter(len(fates) for fates in plan_events(Chaos(seed=1, duplicate=0.25), 4000))
    assert count_by_copies[2] / 4000 == pytest.approx(0.25, abs=0.03)
    count_by_state = Counter(fates[0].state for fates in plan_events(Chaos(seed=1, drop=0.1), 4000))
    assert count_by_state["dropped"] / 4000 == pytest.approx(0.1, abs=0.02)


def test_counted_settings_apply_to_the_next_deliveries_only() -> None:
    assert [len(fates) for fates in plan_events(Chaos(duplicate_next=2), 4)] == [2, 2, 1, 1]
    assert [delivery.state for (delivery,) in plan_events(Chaos(drop_next=1), 3)] == [
        "dropped",
        "pending",
        "pending",
    ]


def test_delay_is_added_to_the_shuffle_time() -> None:
    waits = [delivery.wait_s for (delivery,) in plan_events(Chaos(seed=2, delay_s=1, shuffle_s=4))]
    assert all(1 <= wait < 5 for wait in waits)
    assert waits != sorted(waits)
    assert len(set(waits)) == len(waits)


def test_duplicates_have_separate_delays() -> None:
    first, second = Chaos(seed=2, shuffle_s=4, duplicate=1).plan_deliveries()
    assert first.wait_s != second.wait_s


def test_held_deliveries_are_released_in_the_requested_order() -> None:
    chaos, held = Chaos(seed=1, hold=True), list("abcdefgh")
    assert chaos.plan_deliveries() == [PlannedDelivery("held", 0)]
    assert chaos.order_deliveries(held, "kept") == held
    assert chaos.order_deliveries(held, "reversed") == held[::-1]
    shuffled = chaos.order_deliveries(held, "shuffled")
    assert shuffled != held
    assert sorted(shuffled) == held
