"""What may happen to a delivery on its way: held, late, out of order, twice, never. The same seed tells the same story."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

Order = Literal["kept", "reversed", "shuffled"]
Held = TypeVar("Held")


@dataclass(frozen=True)
class Fate:
    state: Literal["pending", "held", "dropped"]
    wait_s: float = 0


@dataclass
class Chaos:
    """`…_next` count down and go before the chances; every other knob stays as set."""

    seed: int = 0
    hold: bool = False
    delay_s: float = 0
    shuffle_s: float = 0  # each waits a time of its own up to this, so they overtake each other
    duplicate: float = 0  # chance, 0 to 1
    duplicate_next: int = 0
    drop: float = 0
    drop_next: int = 0
    _luck: random.Random = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._luck = random.Random(self.seed)  # noqa: S311  repeatable on purpose

    def fates(self) -> list[Fate]:
        """Of one event on its way to one endpoint: one, or two when it comes twice."""
        # Always as many draws, so that turning one knob changes nothing about the others' luck.
        lost, twice, *waits = (self._luck.random() for _ in range(4))
        if self._counts_down("drop_next") or lost < self.drop:
            return [Fate("dropped")]
        copies = 2 if self._counts_down("duplicate_next") or twice < self.duplicate else 1
        state: Literal["pending", "held"] = "held" if self.hold else "pending"
        return [Fate(state, self.delay_s + wait * self.shuffle_s) for wait in waits[:copies]]

    def ordered(self, held: Sequence[Held], how: Order) -> list[Held]:
        """In which order what was held goes out."""
        if how == "shuffled":
            return self._luck.sample(held, len(held))
        return list(held) if how == "kept" else list(held)[::-1]

    def shown(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.init}

    def _counts_down(self, knob: str) -> bool:
        left: int = getattr(self, knob)
        setattr(self, knob, max(0, left - 1))
        return left > 0
