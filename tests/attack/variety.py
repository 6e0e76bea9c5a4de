"""What a run tries of attempts that are like one another: `make attack` all, `make test` some, others in each run.

Every handler, route, table, service and job is attacked in every run, with the attempt that tells most and some of the
others. Calls without the policies of the database are the exception: a quarter of them, as each is made by our
statements alone as well. The seed is printed and repeats a run.
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


def some(items: Iterable[Item], count: int, *, of: str, always: int = 0) -> list[Item]:
    """All of them, or as many as `count` of them, in their order.

    `always`: of the first ones, in every run. `of`: what they are; the choice is another one for each.
    """
    candidates = list(items)
    if is_full() or len(candidates) <= count:
        return candidates
    others = range(always, len(candidates))
    chosen = random.Random(f"{seed()} {of}").sample(others, count - always)
    return [*candidates[:always], *(candidates[place] for place in sorted(chosen))]
