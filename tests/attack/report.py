"""Attempts by kind, and those that passed. Nothing but refusals is good, and a refusal counts only beside a control."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    attempts: Counter[str] = field(default_factory=Counter)
    passed: list[tuple[str, str]] = field(default_factory=list)
    void: list[tuple[str, str]] = field(
        default_factory=list
    )  # the rightful one was refused too, or nothing to attack

    def attempt(self, kind: str, name: str, *, refused: bool) -> None:
        self.attempts[kind] += 1
        if not refused:
            self.passed.append((kind, name))

    def control(self, kind: str, name: str, *, works: bool) -> None:
        """The same act by whoever may do it. Where that fails, refusals of others prove nothing."""
        if not works:
            self.void.append((kind, name))

    @property
    def clean(self) -> bool:
        return not self.passed and not self.void and bool(self.attempts)

    def lines(self) -> list[str]:
        leaks, voids = Counter(kind for kind, _ in self.passed), Counter(kind for kind, _ in self.void)
        found = [
            f"{kind:<12} {count:>6} attempts  {leaks[kind]:>4} passed"
            + (f"  {voids[kind]} void" if voids[kind] else "")
            for kind, count in sorted(self.attempts.items())
        ]
        found.append(f"{'all':<12} {self.attempts.total():>6} attempts  {len(self.passed):>4} passed")
        found += [f"  PASSED {kind}: {name}" for kind, name in self.passed[:20]]
        found += [f"  VOID   {kind}: {name}" for kind, name in self.void[:20]]
        return found
