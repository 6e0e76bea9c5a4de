"""A circuit breaker lets one attempt through after each pause, and all of them after a success."""

import pytest

from shared.core import circuit_breaker
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen


class Away(Exception):
    """The service does not answer."""


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "monotonic", lambda: clock.now)
    return clock


def attempt(breaker: CircuitBreaker, problem: Exception | None = None) -> str:
    try:
        with breaker.attempt(Away):
            if problem is not None:
                raise problem
    except CircuitOpen:
        return "refused"
    except Away:
        return "away"
    except ValueError:
        return "other"
    return "answered"


def test_breaker_opens_after_failures_in_a_row_and_its_pause_doubles(clock: Clock) -> None:
    breaker = CircuitBreaker(threshold=2, first_pause=30, max_pause=100)
    assert [attempt(breaker, Away()) for _ in range(3)] == ["away", "away", "refused"]
    for pause in (30, 60, 100, 100):
        clock.now += pause - 1
        assert attempt(breaker) == "refused"
        clock.now += 1
        assert attempt(breaker, Away()) == "away"
    clock.now += 100
    assert [attempt(breaker) for _ in range(3)] == ["answered"] * 3


def test_answers_do_not_open_it_and_refusals_are_answers(clock: Clock) -> None:
    breaker = CircuitBreaker(threshold=2)
    outcomes = [attempt(breaker, problem) for problem in (Away(), None, Away(), ValueError(), Away())]
    assert outcomes == ["away", "answered", "away", "other", "away"]
    assert attempt(breaker) == "answered"


def test_only_one_attempt_at_a_time_while_it_is_open(clock: Clock) -> None:
    breaker = CircuitBreaker(threshold=1)
    attempt(breaker, Away())
    clock.now += 30
    with breaker.attempt(Away):
        assert attempt(breaker) == "refused"
    assert attempt(breaker) == "answered"
