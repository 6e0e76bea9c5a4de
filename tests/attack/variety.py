"""What a run tries of attempts that are like one another: `make attack` all, `make test` some, others in each run.

Every handler, argument and kind of attempt is tried in every run. The seed is printed and repeats a run.
"""

import os
import random
from collections.abc import Iterable
from functools import cache
from typing import TypeVar

from tests.support.sizes import is_full

SEED = "ATTACK_SEED"
Item = TypeVar("Item")


@cache
def seed() -> int:
    """Of this process."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(10**6))


def some(items: Iterable[Item], count: int, *, of: str) -> list[Item]:
    """All of them, or as many as `count` of them, in their order. `of`: what they are, another choice for each."""
    candidates = list(items)
    if is_full() or len(candidates) <= count:
        return candidates
    chosen = random.Random(f"{seed()} {of}").sample(range(len(candidates)), count)
    return [candidates[place] for place in sorted(chosen)]
