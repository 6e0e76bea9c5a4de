"""When a delivery is tried again, and when an endpoint is paused."""

import random
from dataclasses import dataclass
from datetime import timedelta

JITTER = 0.1  # of each wait, up or down: endpoints that fail together don't come back together
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """`waits`: between the attempts; one more attempt than waits. Tests shorten them with `scale`."""

    waits: tuple[timedelta, ...]
    pause_after: (
        timedelta  # without any delivery; shorter than all waits, so that a pause comes before giving up
    )
    min_failures: int  # before a pause
    scale: float = 1.0

    @property
    def max_attempts(self) -> int:
        return len(self.waits) + 1

    @property
    def total_hours(self) -> int:
        """From the first attempt to the last one, about."""
        return round(sum(self.waits, timedelta()).total_seconds() / 3600)

    def next_wait(self, attempts: int, asked_wait_s: int = 0) -> timedelta | None:
        """Until the next attempt, after so many; None to give up. `asked_wait_s`: by the endpoint, in seconds."""
        if attempts > len(self.waits):
            return None
        wait = self.waits[attempts - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  no secret
        return max(wait, timedelta(seconds=asked_wait_s)) * self.scale

    def should_pause(self, failing_for: timedelta, failure_count: int) -> bool:
        return failure_count >= self.min_failures and failing_for >= self.pause_after * self.scale


# Eleven attempts in about 34 hours. The tenth, after 25 hours at least, pauses an endpoint that has taken nothing.
RETRY_POLICY = RetryPolicy(
    waits=(
        timedelta(seconds=10),
        timedelta(minutes=1),
        timedelta(minutes=5),
        timedelta(minutes=20),
        timedelta(hours=1),
        timedelta(hours=2),
        timedelta(hours=5),
        timedelta(hours=8),
        timedelta(hours=12),
        timedelta(hours=6),
    ),
    pause_after=DAY,
    min_failures=5,
)
