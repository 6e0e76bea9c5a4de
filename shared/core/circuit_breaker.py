"""A circuit breaker: after repeated failures of an outside service, one attempt at a time instead of all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class CircuitOpen(Exception):
    """The service failed repeatedly, and it isn't time for the next attempt yet."""


class CircuitBreaker:
    """Opens after `threshold` failures in a row. Then one attempt is let through after each pause, which doubles."""

    def __init__(self, *, threshold: int = 3, first_pause: float = 30.0, max_pause: float = 300.0) -> None:
        """Pauses are in seconds."""
        self._threshold, self._first_pause, self._max_pause = threshold, first_pause, max_pause
        self.reset()

    def reset(self) -> None:
        self._failures, self._next_attempt_at, self._is_probing = 0, 0.0, False

    @contextmanager
    def attempt(self, *failures: type[BaseException]) -> Iterator[None]:
        """Around one attempt. Any exception but those in `failures` is an answer of the service. Raises CircuitOpen."""
        is_open = self._failures >= self._threshold
        if is_open and (self._is_probing or monotonic() < self._next_attempt_at):
            raise CircuitOpen
        self._is_probing = is_open
        try:
            yield
        except failures:
            self._failures += 1
            pause = self._first_pause * 2 ** max(0, self._failures - self._threshold)
            self._next_attempt_at = monotonic() + min(pause, self._max_pause)
            raise
        except Exception:
            self._failures = 0
            raise
        else:
            self._failures = 0
        finally:
            self._is_probing = False
