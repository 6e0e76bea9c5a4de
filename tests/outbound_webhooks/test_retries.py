"""How long a delivery is tried, and when an endpoint is paused."""

from datetime import timedelta

from shared.outbound_webhooks.retries import DAY, JITTER, RETRY_POLICY


def test_delivery_is_tried_eleven_times_over_more_than_a_day() -> None:
    for _ in range(50):
        waits = [RETRY_POLICY.next_wait(attempts) for attempts in range(1, 12)]
        assert waits[-1] is None
        assert sum((wait for wait in waits if wait is not None), timedelta()) > DAY


def test_waits_differ_between_deliveries() -> None:
    assert len({RETRY_POLICY.next_wait(3) for _ in range(20)}) > 10


def test_wait_is_longer_when_the_endpoint_asks_for_it() -> None:
    wait = RETRY_POLICY.next_wait(1, asked_wait_s=600)
    assert wait is not None
    assert wait == timedelta(seconds=600)


def test_endpoint_is_paused_before_its_first_event_is_given_up() -> None:
    """An attempt that is not the last one falls after the pause is due, however the jitter falls."""
    shortest = sum(RETRY_POLICY.waits[:-1], timedelta()) * (1 - JITTER)
    assert RETRY_POLICY.pause_after < shortest


def test_endpoint_is_not_paused_after_few_failures_or_short_ones() -> None:
    assert not RETRY_POLICY.should_pause(2 * DAY, RETRY_POLICY.min_failures - 1)
    assert not RETRY_POLICY.should_pause(DAY / 2, 1_000)
    assert RETRY_POLICY.should_pause(DAY, RETRY_POLICY.min_failures)
