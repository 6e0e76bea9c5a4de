"""The rows of the bench: their goals in fixed order, what a run found, and how it is printed.

The median of the per-round ratios decides. A control (`name!what`) measures something that has to miss the goal of
its row; one that meets it shows that the row cannot tell good from bad, so its row fails with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

ROUNDS = 9  # fewer are printed and never pass


@dataclass(frozen=True, slots=True)
class Goal:
    name: str
    bound: float
    faster: bool = (
        False  # the ratio is theirs to ours and at least `bound`, not ours to theirs and at most that
    )

    @property
    def said(self) -> str:
        return f"{'>=' if self.faster else '<='} {self.bound}"

    def is_met(self, ratio: float) -> bool:
        return ratio >= self.bound if self.faster else ratio <= self.bound

    @property
    def control_of(self) -> str:
        """The row this is a control of, "" when it is a row itself."""
        row, mark, _ = self.name.partition("!")
        return row if mark else ""


def with_control(goal: Goal, what: str) -> tuple[Goal, Goal]:
    return goal, replace(goal, name=f"{goal.name}!{what}")


GOALS = [
    *with_control(Goal("decision/bare3", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@10", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@10k", 2.0), "dataclass"),
    *with_control(Goal("decision/bare3@100k", 2.0), "dataclass"),
    *with_control(Goal("decision/casbin", 2_000, faster=True), "dataclass"),
    *with_control(Goal("decision/casbin-fast", 150, faster=True), "dataclass"),
    *with_control(Goal("decision/casbin-fast@100k", 60, faster=True), "dataclass"),
    *with_control(Goal("decision/cedar", 200, faster=True), "dataclass"),
    *with_control(Goal("decision/openfeature", 25, faster=True), "dataclass"),
    *with_control(Goal("decision/trace", 4.0), "sentences"),
    *with_control(Goal("entitlement-visible/notify", 3.0), "ttl"),
    *with_control(Goal("entitlement-visible/notify@100k", 3.0), "ttl"),
    *with_control(Goal("envelope/hmac", 1.4), "json"),
    *with_control(Goal("envelope/hmac@64k", 1.4), "json"),
    *with_control(Goal("envelope/construct-event", 80, faster=True), "json"),
    *with_control(Goal("intake/noop-cpu", 2.0), "orm"),
    *with_control(Goal("intake/edge-cpu", 2.0), "orm"),
    *with_control(Goal("intake/orm", 20, faster=True), "sdk"),
    *with_control(Goal("intake-storm/calm", 1.1), "single"),
    *with_control(Goal("intake-storm/calm@90", 1.1), "single"),
    Goal("list/rls", 1.1),
    Goal("list/rls!scan", 1.1),
    Goal("list/rls@1e6", 1.2),
    Goal("list/rls@1e6!scan", 1.2),
    Goal("page/nicegui-cold", 1.0),
    Goal("page/nicegui-cold!heavy", 1.0),
    Goal("page/streamlit-cold", 0.4),
    Goal("page/streamlit-cold!heavy", 0.4),
    Goal("page/kilobytes", 1.0),
    Goal("page/kilobytes!heavy", 1.0),
    Goal("page/nicegui-kilobytes", 1.0),
    Goal("page/nicegui-kilobytes!heavy", 1.0),
    Goal("page/streamlit-kilobytes", 0.4),
    Goal("page/streamlit-kilobytes!heavy", 0.4),
    Goal("filter/django", 1.2),
    Goal("filter/django!heavy", 1.2),
    Goal("filter/django-sent", 1.2),
    Goal("filter/django-sent!heavy", 1.2),
    Goal("filter/ws-bytes", 1.0),
    Goal("filter/ws-bytes!heavy", 1.0),
    Goal("event/django", 1.2),
    Goal("event/django!heavy", 1.2),
]


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


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Of rounds in which both were measured, side by side."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True)]


def lines(results: Sequence[Result]) -> list[str]:
    """One per result, in the order given."""
    return [_line(one, _verdict(one, results)) for one in results]


def is_sound(results: Sequence[Result]) -> bool:
    """Every row was measured and every control missed its goal. Whether the goals were met is another question."""
    return all(one.measured and not (one.goal.control_of and one.meets) for one in results)


def _verdict(result: Result, results: Sequence[Result]) -> str:
    if not result.measured:
        return f"fail  {result.reason or 'not measured'}"
    if result.goal.control_of:
        return f"{'pass' if result.meets else 'fail'}  control"
    controls = [one for one in results if one.goal.control_of == result.goal.name]
    if any(one.meets for one in controls):
        return "fail  control passed"
    if not result.meets:
        return "fail"
    if not controls or not all(one.measured for one in controls):
        return "fail  control not measured"
    return "pass" if len(result.ratios) >= ROUNDS else f"fail  only {len(result.ratios)} rounds"


def _line(result: Result, verdict: str) -> str:
    middle, spread = "-", "-"
    if result.ratios:
        middle = _number(median(result.ratios))
        spread = f"({_number(min(result.ratios))}-{_number(max(result.ratios))})"
    return f"{result.goal.name + ' ':<31}{middle:<6}{spread:<15}{result.goal.said:<11}{verdict}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
