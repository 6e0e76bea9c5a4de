"""What the bench makes of its figures, and that every row of it can be measured. Those of pages are in `e2e`."""

import asyncio
import re
import subprocess
import sys
import tempfile
from typing import Any

import pytest

from tests.bench import run, tiny
from tests.bench.broken import Broken, reason, with_last_line
from tests.bench.goals import GOALS, Goal
from tests.bench.options import Options
from tests.bench.people import FIRST, LAST, MEMBERS
from tests.bench.rows import ROUNDS, Result, counted, is_sound, lines, p95, ratios, without_warm_up
from tests.bench.run import PARTS, Part, Run
from tests.bench.servers import ROOT
from tests.bench.visible import Asker

OPTIONS = Options(rounds=0, seed=1, say=lambda line: None, tiny=True, peers=False)
ROW, CONTROL = Goal("list/rls", 1.1), Goal("list/rls!scan", 1.1)
LINE = re.compile(r"\S+ +[\d.-]+ +(-|\([\d.]+-[\d.]+\)) +[<>]= [\d.]+ +(pass|fail)(  .+)?")
GOOD, BAD = [0.9, 1.0, 1.3] * 3, [2.0, 30.0, 400.0] * 3


def list_verdicts(row: Result, control: Result) -> list[str]:
    return [line[63:] for line in lines([row, control])]


def test_peers_start_in_an_environment_without_our_packages() -> None:
    """They are measured in `make bench` only, so nothing else would notice that they import the product."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tests.bench.peers, tests.bench.nonce"
    command = [sys.executable, "-I", "-S", "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_line_layout_is_the_published_one() -> None:
    assert lines([Result(ROW, GOOD), Result(CONTROL, BAD)]) == [
        "list/rls                       1.00  (0.90-1.30)    <= 1.1     pass",
        "list/rls!scan                  30.0  (2.00-400)     <= 1.1     fail  control",
    ]
    assert lines([Result(ROW, reason="port 3300 of ours is taken")]) == [
        "list/rls                       -     -              <= 1.1     fail  port 3300 of ours is taken"
    ]


def test_median_decides_the_verdict() -> None:
    assert list_verdicts(Result(ROW, GOOD), Result(CONTROL, BAD)) == ["pass", "fail  control"]
    assert list_verdicts(Result(ROW, BAD), Result(CONTROL, BAD)) == ["fail", "fail  control"]


def test_control_that_passes_fails_its_row() -> None:
    results = [Result(ROW, GOOD), Result(CONTROL, GOOD)]
    assert list_verdicts(*results) == ["fail  control passed", "pass  control"]
    assert not is_sound(results)


def test_row_fails_when_unmeasured_unchecked_or_measured_too_rarely() -> None:
    unmeasured = Result(CONTROL, reason="ours does not start")
    assert list_verdicts(Result(ROW), Result(CONTROL, BAD))[0] == "fail  not measured"
    assert list_verdicts(Result(ROW, GOOD), unmeasured) == [
        "fail  control not measured",
        "fail  ours does not start",
    ]
    assert list_verdicts(Result(ROW, GOOD[: ROUNDS - 1]), Result(CONTROL, BAD))[0] == "fail  only 8 rounds"
    assert not is_sound([Result(ROW, GOOD), unmeasured])


def test_missed_goal_leaves_the_run_sound() -> None:
    assert is_sound([Result(ROW, BAD), Result(CONTROL, BAD)])


def test_every_row_has_a_control_with_its_goal_below() -> None:
    rows = [goal for goal in GOALS if not goal.control_of]
    for goal in rows:
        below = GOALS[GOALS.index(goal) + 1]
        assert (below.control_of, below.bound, below.faster) == (goal.name, goal.bound, goal.faster)
    assert len(GOALS) == 2 * len(rows)
    assert all(LINE.fullmatch(line) for line in lines([Result(goal, GOOD) for goal in GOALS]))


def test_every_row_can_be_measured() -> None:
    """At its tiny size and without the peers: their environment takes minutes to install."""
    assert tiny.unmeasured(*(part for part in PARTS if part != "pages")) == []


@pytest.mark.long
def test_decision_rows_can_be_measured_beside_the_peers() -> None:
    assert tiny.unmeasured("decisions", peers=True) == []


def test_every_row_belongs_to_one_part() -> None:
    assert all(sum(goal.name.startswith(part.prefixes) for part in PARTS.values()) == 1 for goal in GOALS)


def test_part_that_raises_fails_only_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_error(options: Options) -> Any:
        raise TypeError("missing an argument\nand more")

    monkeypatch.setattr(
        run,
        "PARTS",
        {"decisions": Part(("decision/",), "ns", raise_error), "envelopes": PARTS["envelopes"]},
    )
    goals = [goal for goal in GOALS if goal.name in ("decision/trace", "envelope/hmac")]
    both = Run(OPTIONS, goals)
    assert [result.reason for result in both.results()] == ["the run ended before"] * 2
    both.measure()
    broken, measured = both.results()
    assert (broken.measured, broken.reason) == (False, "TypeError: missing an argument")
    assert measured.measured


def test_tiny_run_lists_measurements_without_judging() -> None:
    results = [Result(ROW, BAD), Result(CONTROL, GOOD), Result(ROW, reason="no Chromium")]
    assert [line[63:] for line in lines(results, judged=False)] == [
        "measured",
        "measured",
        "fail  no Chromium",
    ]
    assert is_sound(results[:2], judged=False)
    assert not is_sound(results, judged=False)


def test_output_of_a_failed_child_is_quoted() -> None:
    async def ask() -> None:
        command, pipe = (
            "import sys; print('first', file=sys.stderr); sys.exit('no database')",
            asyncio.subprocess.PIPE,
        )
        with tempfile.TemporaryFile() as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", command, stdin=pipe, stdout=pipe, stderr=errors
            )
            try:
                await Asker(process, errors).says("reason")
            finally:
                await process.wait()

    with pytest.raises(Broken, match=r"^a process that is asked has ended: no database$"):
        asyncio.run(ask())
    with tempfile.TemporaryFile() as nothing:
        assert with_last_line("ended", nothing) == "ended"


def test_statistics_are_computed_from_the_samples() -> None:
    assert p95(list(range(1, 101))) == 95
    assert p95([3.0, 1.0, 2.0]) == 3.0
    assert without_warm_up([9, 1, 2]) == [1, 2]
    assert without_warm_up(list(range(66))) == list(range(6, 66))
    assert (counted([9, 1, 2]), counted([9])) == ([1, 2], [9])
    assert ratios([2.0, 9.0], [1.0, 3.0]) == [2.0, 3.0]
    assert (reason(Broken("one\ntwo")), reason(Broken())) == ("one", "Broken")
    assert (reason(KeyError("one")), reason(KeyError())) == ("KeyError: 'one'", "KeyError")


def test_surname_fills_a_page_and_is_part_of_no_other_name() -> None:
    assert len(set(FIRST)) * len(set(LAST)) == len(FIRST) * len(LAST) == MEMBERS
    names = [name_part.lower() for name_part in (*FIRST, *LAST)]
    assert all([last.lower() in name for name in names].count(True) == 1 for last in LAST)
