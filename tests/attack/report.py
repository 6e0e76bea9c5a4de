"""Attempts by kind, and those that passed. Nothing but refusals is good, and a refusal counts only beside a control."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

MOST = 30  # of the bad ones that are printed


@dataclass
class Report:
    attempts: Counter[str] = field(default_factory=Counter)
    controls: Counter[str] = field(default_factory=Counter)
    passed: list[tuple[str, str]] = field(default_factory=list)
    void: list[tuple[str, str]] = field(default_factory=list)  # the rightful one was refused too
    unknowns: list[tuple[str, str]] = field(
        default_factory=list
    )  # there, and nobody has said how to attack it
    covered: dict[str, list[str]] = field(
        default_factory=dict
    )  # what the attempts of a kind were generated from
    on_passed: Callable[[], object] | None = None  # called for the first attempt that passes

    def attempt(self, kind: str, name: str, *, refused: bool) -> None:
        self.attempts[kind] += 1
        if not refused:
            self.passed.append((kind, name))
            if self.on_passed is not None and len(self.passed) == 1:
                self.on_passed()

    def control(self, kind: str, name: str, *, works: bool) -> None:
        """The same act by whoever may do it. Where that fails, refusals of others prove nothing."""
        self.controls[kind] += 1
        if not works:
            self.void.append((kind, name))

    def unknown(self, kind: str, name: str) -> None:
        self.unknowns.append((kind, name))

    def covers(self, kind: str, name: str) -> None:
        self.covered.setdefault(kind, []).append(name)

    @property
    def clean(self) -> bool:
        return not self.bad and all(self.controls[kind] for kind in self.attempts) and bool(self.attempts)

    @property
    def bad(self) -> list[tuple[str, str]]:
        return self.passed + self.void + self.unknowns

    def lines(self) -> list[str]:
        leaks = Counter(kind for kind, _ in self.passed)
        lines = [
            f"{kind:<9} {count:>6,} attempts {leaks[kind]:>4} passed   {self.controls[kind]:>4} controls"
            for kind, count in sorted(self.attempts.items())
        ]
        lines.append(
            f"{'all':<9} {self.attempts.total():>6,} attempts {len(self.passed):>4} passed   {self.controls.total():>4} controls"
        )
        for word, entries in (("PASSED", self.passed), ("VOID", self.void), ("UNKNOWN", self.unknowns)):
            lines += [f"  {word:<7} {kind}: {name}" for kind, name in entries[:MOST]]
            if len(entries) > MOST:
                lines.append(f"  … and {len(entries) - MOST} more {word}")
        return lines

    def record(self) -> dict[str, object]:
        """For who wants to count without reading lines."""
        return {
            "attempts": dict(sorted(self.attempts.items())),
            "controls": dict(sorted(self.controls.items())),
            "passed": self.passed,
            "void": self.void,
            "unknown": self.unknowns,
            "covered": {kind: sorted(names) for kind, names in sorted(self.covered.items())},
        }
