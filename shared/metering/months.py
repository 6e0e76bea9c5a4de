"""Months of the calendar, UTC."""

from datetime import UTC, datetime, timedelta

from shared.core.db import now


def get_month(at: datetime) -> datetime:
    """Its first moment, UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def get_next_month(month: datetime) -> datetime:
    return get_month(month + timedelta(days=32))


def name_month(ends_at: datetime) -> str:
    """In a sentence, for one that may be over: "this month", or "November"."""
    return "this month" if ends_at > now() else f"{ends_at - timedelta(days=1):%B}"
