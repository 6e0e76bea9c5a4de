"""How a run of the bench measures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`tiny`: one round of tiny sizes, which shows that everything can be measured and nothing about speed.

    Without `peers` nothing of their environment is needed: the figure of a peer is then 1.
    """

    rounds: int
    seed: int
    say: Callable[[str], None]
    tiny: bool = False
    peers: bool = True

    def chance(self) -> Random:
        """The same numbers for every part of the bench."""
        return Random(self.seed)

    def numbered(self, part: str) -> Iterator[int]:
        """Numbers of the rounds, said as they end: one more than asked for, 0, warms up. A tiny run has only that."""
        for number in range(1 if self.tiny else self.rounds + 1):
            yield number
            self.say(f"{part}: round {number} of {self.rounds}" if number else f"{part}: warm")
