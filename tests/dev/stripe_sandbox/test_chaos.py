"""What happens to deliveries on the way: repeatable, knob by knob."""

from collections import Counter

import pytest

from shared.dev.stripe_sandbox.chaos import Chaos, Fate


def story(chaos: Chaos, events: int = 200) -> list[list[Fate]]:
    return [chaos.fates() for _ in range(events)]


def test_without_chaos_everything_goes_out_once_and_at_once() -> None:
    assert story(Chaos(), 50) == [[Fate("pending", 0)]] * 50


def test_the_same_seed_tells_the_same_story_and_another_one_another() -> None:
    wild = {"drop": 0.2, "duplicate": 0.3, "shuffle_s": 5.0}
    assert story(Chaos(seed=7, **wild)) == story(Chaos(seed=7, **wild))
    assert story(Chaos(seed=7, **wild)) != story(Chaos(seed=8, **wild))
    assert Chaos(seed=7).ordered(range(20), "shuffled") == Chaos(seed=7).ordered(range(20), "shuffled")


def test_one_knob_leaves_the_luck_of_the_others_alone() -> None:
    def lost(chaos: Chaos) -> list[bool]:
        return [fates[0].state == "dropped" for fates in story(chaos)]

    assert lost(Chaos(seed=3, drop=0.3)) == lost(Chaos(seed=3, drop=0.3, duplicate=0.5, shuffle_s=2))


def test_chances_are_what_they_say() -> None:
    twice = Counter(len(fates) for fates in story(Chaos(seed=1, duplicate=0.25), 4000))
    assert twice[2] / 4000 == pytest.approx(0.25, abs=0.03)
    lost = Counter(fates[0].state for fates in story(Chaos(seed=1, drop=0.1), 4000))
    assert lost["dropped"] / 4000 == pytest.approx(0.1, abs=0.02)


def test_the_next_so_many_are_counted_down() -> None:
    assert [len(fates) for fates in story(Chaos(duplicate_next=2), 4)] == [2, 2, 1, 1]
    assert [one.state for (one,) in story(Chaos(drop_next=1), 3)] == ["dropped", "pending", "pending"]


def test_delays_add_to_the_time_in_which_deliveries_overtake_each_other() -> None:
    waits = [one.wait_s for (one,) in story(Chaos(seed=2, delay_s=1, shuffle_s=4))]
    assert all(1 <= wait < 5 for wait in waits)
    assert waits != sorted(waits)
    assert len(set(waits)) == len(waits)


def test_copies_take_ways_of_their_own() -> None:
    one, other = Chaos(seed=2, shuffle_s=4, duplicate=1).fates()
    assert one.wait_s != other.wait_s


def test_held_ones_go_out_in_the_order_that_is_asked_for() -> None:
    chaos, held = Chaos(seed=1, hold=True), list("abcdefgh")
    assert chaos.fates() == [Fate("held", 0)]
    assert chaos.ordered(held, "kept") == held
    assert chaos.ordered(held, "reversed") == held[::-1]
    shuffled = chaos.ordered(held, "shuffled")
    assert shuffled != held
    assert sorted(shuffled) == held
