"""Token buckets by name, kept in one process: what may be done at once, and how much a second."""

import time
from dataclasses import dataclass, field

FORGET_SECONDS = 60.0  # after which a bucket that nobody used is full again


@dataclass(slots=True)
class TokenBucket:
    """May be in debt: who takes from an empty bucket is told how long to wait, and later ones wait longer."""

    rate: float  # per second
    burst: float
    level: float = 0.0
    filled_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.level = self.burst

    def take(self, cost: float) -> float:
        """Seconds to wait before going on."""
        self._fill()
        self.level -= cost
        return max(0.0, -self.level / self.rate)

    def give_back(self, cost: float) -> None:
        self.level = min(self.burst, self.level + cost)

    def is_full(self) -> bool:
        self._fill()
        return self.level >= self.burst

    def _fill(self) -> None:
        now = time.monotonic()
        self.level = min(self.burst, self.level + (now - self.filled_at) * self.rate)
        self.filled_at = now


class TokenBuckets:
    """One event loop uses it."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        self._swept_at = 0.0

    def get(self, name: str, rate: float, burst: float) -> TokenBucket:
        """A full one, if the name has not been used lately."""
        self._forget_full_buckets()
        if name not in self._buckets:
            self._buckets[name] = TokenBucket(rate, burst)
        return self._buckets[name]

    def _forget_full_buckets(self) -> None:
        """Buckets of people who have left; one that is missing is a full one."""
        now = time.monotonic()
        if now - self._swept_at < FORGET_SECONDS:
            return
        self._swept_at = now
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.is_full()}
