"""The parts of the bench, and a run of those that were asked for."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.bench import (
    api,
    audit,
    decisions,
    envelopes,
    exports,
    growth,
    lists,
    metering,
    neighbours,
    pages,
    quotas,
    storms,
    traced_events,
    visible,
    webhooks,
)
from tests.bench.broken import Broken, reason
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.rows import Result


class Measured(Protocol):
    def result(self, goal: Goal) -> Result: ...


@dataclass(frozen=True, slots=True)
class Part:
    """`prefixes`: of the names of its rows. `figures`: what its raw figures are."""

    prefixes: tuple[str, ...]
    figures: str
    measure: Callable[[Options], Measured]


PARTS: Mapping[str, Part] = {
    "decisions": Part(("decision/",), "ns", decisions.measure),
    "visible": Part(("entitlement-visible/",), "p99 in ms", visible.measure),
    "envelopes": Part(("envelope/",), "µs", envelopes.measure),
    "api": Part(("api/",), "CPU µs", api.measure),
    "tracing": Part(("tracing/",), "CPU µs of an event", traced_events.measure),
    "intake": Part(("intake/", "intake-storm/"), "CPU µs", storms.measure),
    "audit": Part(("audit/",), "µs", audit.measure),
    "usage": Part(("usage/",), "µs of an event", metering.measure),
    "neighbours": Part(("neighbour/",), "p99 in ms, and jobs", neighbours.measure),
    "quotas": Part(("quota/",), "µs of an event or a call", quotas.measure),
    "webhooks": Part(("webhooks/",), "deliveries a second, and p95 in ms", webhooks.measure),
    "exports": Part(("export/",), "MB", exports.measure),
    "growth": Part(("growth/",), "p95 in ms", growth.measure),
    "lists": Part(("list/",), "p95 in ms", lists.measure),
    "pages": Part(("page/", "filter/", "event/"), "ms and bytes", pages.measure),
}


@dataclass
class Run:
    options: Options
    goals: Sequence[Goal]
    raw: dict[str, Any] = field(default_factory=dict)
    results_by_goal: dict[str, Result] = field(default_factory=dict)  # by the name of the goal

    def measure(self) -> None:
        """A part that cannot be measured costs its own rows only."""
        for name, part in PARTS.items():
            goals = [goal for goal in self.goals if goal.name.startswith(part.prefixes)]
            if goals:
                self.results_by_goal |= {
                    result.goal.name: result for result in self._measure(name, part, goals)
                }

    def results(self) -> list[Result]:
        """In the order of the goals; of the parts that a killed run came to."""
        late = "the run ended before"
        return [self.results_by_goal.get(goal.name) or Result(goal, reason=late) for goal in self.goals]

    def _measure(self, name: str, part: Part, goals: Sequence[Goal]) -> list[Result]:
        try:
            measured: Any = part.measure(self.options)
            self.raw[f"{name}, {part.figures}"] = getattr(measured, "raw", measured.rounds)
            return [measured.result(goal) for goal in goals]
        except Exception as problem:
            if not isinstance(problem, Broken):
                self.options.say(traceback.format_exc())
            return [Result(goal, reason=reason(problem)) for goal in goals]
