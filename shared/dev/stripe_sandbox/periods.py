"""Billing periods: calendar months and years from an anchor, so that the 31st comes back after February."""

from datetime import UTC, datetime

from dateutil.relativedelta import relativedelta

from shared.dev.stripe_sandbox.store import Object

SECONDS = {"day": 86_400, "week": 604_800}
MONTHS = {"month": 1, "year": 12}


def boundary(anchor: int, recurring: Object, number: int) -> int:
    """The start of the period that many periods after the anchor; before it, when negative."""
    unit, count = recurring["interval"], recurring["interval_count"] * number
    if unit in SECONDS:
        return anchor + int(SECONDS[unit]) * int(count)
    moved = datetime.fromtimestamp(anchor, UTC) + relativedelta(months=MONTHS[unit] * count)
    return int(moved.timestamp())


def number_after(anchor: int, recurring: Object, moment: int) -> int:
    """Of the first boundary later than the moment."""
    length = boundary(anchor, recurring, 1) - anchor
    number = (moment - anchor) // length - 1
    while boundary(anchor, recurring, number) <= moment:
        number += 1
    while boundary(anchor, recurring, number - 1) > moment:
        number -= 1
    return number


def end_of(anchor: int, recurring: Object, start: int) -> int:
    """Where the period that begins there ends."""
    return boundary(anchor, recurring, number_after(anchor, recurring, start))


def whole(anchor: int, recurring: Object, moment: int) -> tuple[int, int]:
    """The full period around a moment."""
    number = number_after(anchor, recurring, moment)
    return boundary(anchor, recurring, number - 1), boundary(anchor, recurring, number)
