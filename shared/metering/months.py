"""Months of the calendar, UTC."""

from datetime import UTC, datetime, timedelta


def get_month(at: datetime) -> datetime:
    """Its first moment, UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def get_next_month(month: datetime) -> datetime:
    return get_month(month + timedelta(days=32))
