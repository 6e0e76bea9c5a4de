"""Billing periods: calendar months and years from an anchor, so that the 31st comes back after February."""

from datetime import UTC, datetime

from dateutil.relativedelta import relativedelta

from shared.dev.stripe_sandbox.store import Object

SECONDS = {"day": 86_400, "week": 604_800}
MONTHS = {"month": 1, "year": 12}


def compute_boundary(anchor: int, recurring: Object, number: int) -> int:
    """The start of the period that many periods after the anchor; before it, when negative."""
    unit, count = recurring["interval"], recurring["interval_count"] * number
    if unit in SECONDS:
        return anchor + int(SECONDS[unit]) * int(count)
    boundary_time = datetime.fromtimestamp(anchor, UTC) + relativedelta(months=MONTHS[unit] * count)
    return int(boundary_time.timestamp())


def find_next_number(anchor: int, recurring: Object, timestamp: int) -> int:
    """Of the first boundary later than the moment."""
    length = compute_boundary(anchor, recurring, 1) - anchor
    number = (timestamp - anchor) // length - 1
    while compute_boundary(anchor, recurring, number) <= timestamp:
        number += 1
    while compute_boundary(anchor, recurring, number - 1) > timestamp:
        number -= 1
    return number


def compute_period_end(anchor: int, recurring: Object, start: int) -> int:
    """Where the period that begins there ends."""
    return compute_boundary(anchor, recurring, find_next_number(anchor, recurring, start))


def compute_full_period(anchor: int, recurring: Object, timestamp: int) -> tuple[int, int]:
    """The full period around a moment."""
    number = find_next_number(anchor, recurring, timestamp)
    return compute_boundary(anchor, recurring, number - 1), compute_boundary(anchor, recurring, number)
