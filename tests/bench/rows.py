"""What a run found about the rows of `goals`, and how it is printed.

The median of the per-round ratios decides. A control that meets its goal shows that the row cannot tell good from
bad, so its row fails with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from tests.bench.goals import Goal

ROUNDS = 9  # fewer are printed and never pass
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """`ratios`: one per round, empty when nothing was measured; `reason` says why."""

    goal: Goal
    ratios: Sequence[float] = ()
    reason: str = ""

    @property
    def measured(self) -> bool:
        return bool(self.ratios) and not self.reason

    @property
    def meets(self) -> bool:
        return self.measured and self.goal.is_met(median(self.ratios))


def nearest(values: Sequence[float], share: float) -> float:
    """Nearest rank: the smallest value that at least this share do not exceed."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def p95(values: Sequence[float]) -> float:
    return nearest(values, 0.95)


def without_warm_up(values: Sequence[float]) -> Sequence[float]:
    """Without the first tenth, at least one."""
    return values[max(1, len(values) // 10) :]


def counted(rounds: Sequence[T]) -> Sequence[T]:
    """Without the first one, which warms up. A tiny run has one round only, and that counts."""
    return rounds[1:] or rounds


def ratios(our_figures: Sequence[float], peer_figures: Sequence[float]) -> list[float]:
    """Of rounds in which both were measured, side by side."""
    return [mine / other for mine, other in zip(our_figures, peer_figures, strict=True)]


def lines(results: Sequence[Result], *, judged: bool = True) -> list[str]:
    """One per result, in the order given. Not `judged`: only whether it was measured."""
    return [_line(result, _verdict(result, results) if judged else _state(result)) for result in results]


def is_sound(results: Sequence[Result], *, judged: bool = True) -> bool:
    """Every row was measured and every control missed its goal. Whether the goals were met is another question.

    Not `judged`: controls may meet their goals, because a tiny run says nothing about speed.
    """
    return all(
        result.measured and not (judged and result.goal.control_of and result.meets) for result in results
    )


def _state(result: Result) -> str:
    return "measured" if result.measured else f"fail  {result.reason or 'not measured'}"


def _verdict(result: Result, results: Sequence[Result]) -> str:
    if not result.measured:
        return _state(result)
    if result.goal.control_of:
        return f"{'pass' if result.meets else 'fail'}  control"
    controls = [other for other in results if other.goal.control_of == result.goal.name]
    if any(control.meets for control in controls):
        return "fail  control passed"
    if not result.meets:
        return "fail"
    if not controls or not all(control.measured for control in controls):
        return "fail  control not measured"
    return "pass" if len(result.ratios) >= ROUNDS else f"fail  only {len(result.ratios)} rounds"


def _line(result: Result, verdict: str) -> str:
    middle, spread = "-", "-"
    if result.ratios:
        middle = _number(median(result.ratios))
        spread = f"({_number(min(result.ratios))}-{_number(max(result.ratios))})"
    return f"{result.goal.name + ' ':<31}{middle:<6}{spread:<15}{result.goal.bound_text:<11}{verdict}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
