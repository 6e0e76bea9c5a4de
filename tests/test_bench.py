"""What the bench makes of its figures: no measurement needed."""

import re

from tests.bench.broken import Broken, reason
from tests.bench.people import FIRST, LAST, MEMBERS
from tests.bench.rows import GOALS, ROUNDS, Goal, Result, is_sound, lines, p95, ratios, without_warm_up

ROW, CONTROL = Goal("list/rls", 1.1), Goal("list/rls!scan", 1.1)
LINE = re.compile(r"\S+ +[\d.-]+ +(-|\([\d.]+-[\d.]+\)) +[<>]= [\d.]+ +(pass|fail)(  .+)?")
GOOD, BAD = [0.9, 1.0, 1.3] * 3, [2.0, 30.0, 400.0] * 3


def said(row: Result, control: Result) -> list[str]:
    return [line[63:] for line in lines([row, control])]


def test_the_layout_is_the_published_one() -> None:
    assert lines([Result(ROW, GOOD), Result(CONTROL, BAD)]) == [
        "list/rls                       1.00  (0.90-1.30)    <= 1.1     pass",
        "list/rls!scan                  30.0  (2.00-400)     <= 1.1     fail  control",
    ]
    assert lines([Result(ROW, reason="port 3300 of ours is taken")]) == [
        "list/rls                       -     -              <= 1.1     fail  port 3300 of ours is taken"
    ]


def test_the_median_decides() -> None:
    assert said(Result(ROW, GOOD), Result(CONTROL, BAD)) == ["pass", "fail  control"]
    assert said(Result(ROW, BAD), Result(CONTROL, BAD)) == ["fail", "fail  control"]


def test_a_control_that_passes_takes_its_row_with_it() -> None:
    results = [Result(ROW, GOOD), Result(CONTROL, GOOD)]
    assert said(*results) == ["fail  control passed", "pass  control"]
    assert not is_sound(results)


def test_nothing_passes_unmeasured_unchecked_or_in_too_few_rounds() -> None:
    unmeasured = Result(CONTROL, reason="ours does not start")
    assert said(Result(ROW), Result(CONTROL, BAD))[0] == "fail  not measured"
    assert said(Result(ROW, GOOD), unmeasured) == ["fail  control not measured", "fail  ours does not start"]
    assert said(Result(ROW, GOOD[: ROUNDS - 1]), Result(CONTROL, BAD))[0] == "fail  only 8 rounds"
    assert not is_sound([Result(ROW, GOOD), unmeasured])


def test_a_missed_goal_is_no_unsound_run() -> None:
    assert is_sound([Result(ROW, BAD), Result(CONTROL, BAD)])


def test_every_row_has_a_control_with_its_goal_right_below() -> None:
    rows = [goal for goal in GOALS if not goal.control_of]
    for goal in rows:
        below = GOALS[GOALS.index(goal) + 1]
        assert (below.control_of, below.bound, below.faster) == (goal.name, goal.bound, goal.faster)
    assert len(GOALS) == 2 * len(rows)
    assert all(LINE.fullmatch(line) for line in lines([Result(goal, GOOD) for goal in GOALS]))


def test_figures() -> None:
    assert p95(list(range(1, 101))) == 95
    assert p95([3.0, 1.0, 2.0]) == 3.0
    assert without_warm_up([9, 1, 2]) == [1, 2]
    assert without_warm_up(list(range(66))) == list(range(6, 66))
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert (reason(Broken("one\ntwo")), reason(Broken())) == ("one", "Broken")


def test_each_surname_fills_a_page_and_is_part_of_no_other_name() -> None:
    assert len(set(FIRST)) * len(set(LAST)) == len(FIRST) * len(LAST) == MEMBERS
    names = [one.lower() for one in (*FIRST, *LAST)]
    assert all([last.lower() in name for name in names].count(True) == 1 for last in LAST)
