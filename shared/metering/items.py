"""Check usage items that programs send, one by one: a wrong item is refused with its reason and spoils no other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from shared.access.meters import METERS, Aggregation, Meter

MAX_KEY_LENGTH = MAX_SUBJECT_LENGTH = 200  # characters
MAX_VALUE_LENGTH = 100  # characters of a dimension
MAX_DIMENSIONS = 5  # of one event
MAX_QUANTITY = Decimal(10) ** 15
MAX_DECIMALS = 6
QUANTITY_TEXT = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")  # "1_000" is a mistake
FIELDS = frozenset({"meter", "idempotency_key", "quantity", "occurred_at", "subject", "dimensions"})


class ItemReason(StrEnum):
    """Why an item is refused. Part of the API."""

    INVALID = "invalid"
    UNKNOWN_METER = "unknown_meter"
    TOO_OLD = "too_old"
    IN_THE_FUTURE = "in_the_future"
    LIMIT_REACHED = "limit_reached"  # of the plan, or of what may be spent
    # Of corrections
    UNKNOWN_EVENT = "unknown_event"
    ALREADY_VOIDED = "already_voided"
    KEY_USED = "key_used"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageItem:
    """A checked event."""

    meter: str
    key: str
    quantity: Decimal
    occurred_at: datetime
    subject: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.meter}:{self.key}"


class ItemProblem(Exception):
    """Why an item is refused, and which of its fields is wrong."""

    def __init__(self, field_name: str, detail: str, reason: ItemReason = ItemReason.INVALID) -> None:
        self.field_name, self.detail, self.reason = field_name, detail, reason
        super().__init__(detail)


def parse_item(
    item: Any, at: datetime, *, is_program: bool = True, oldest: datetime | None = None
) -> UsageItem:
    """`item`: any JSON. `at`: now. `is_program`: sent by a tenant's program. Raises ItemProblem.

    `oldest`: how early it may have occurred; None for as early as its meter says.
    """
    if not isinstance(item, dict):
        raise ItemProblem("", "An item is an object.")
    if unknown_fields := item.keys() - FIELDS:
        raise ItemProblem(str(min(unknown_fields))[:MAX_VALUE_LENGTH], "This field is unknown.")
    meter, key = parse_name(item, is_program=is_program)
    return UsageItem(
        meter=meter.key,
        key=key,
        quantity=_parse_quantity(item.get("quantity"), meter),
        occurred_at=_parse_time(item.get("occurred_at"), at, meter=meter, oldest=oldest),
        subject=_parse_subject(item.get("subject"), meter),
        dimensions=_parse_dimensions(item.get("dimensions"), meter),
    )


def parse_name(item: Mapping[str, Any], *, is_program: bool) -> tuple[Meter, str]:
    """Meter and idempotency key of an item. Raises ItemProblem."""
    meter = _parse_meter(item.get("meter"), is_program=is_program)
    return meter, _parse_text(item.get("idempotency_key"), "idempotency_key", maximum=MAX_KEY_LENGTH)


def _parse_meter(key: Any, *, is_program: bool) -> Meter:
    meter = METERS.get(key) if isinstance(key, str) else None
    if meter is None or (is_program and not meter.is_open):
        raise ItemProblem("meter", "There is no such meter that programs can send.", ItemReason.UNKNOWN_METER)
    return meter


def _parse_text(value: Any, name: str, *, maximum: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= maximum or not value.isprintable():
        raise ItemProblem(name, f"This is a text of 1 to {maximum} characters.")
    return value


def _parse_quantity(value: Any, meter: Meter) -> Decimal:
    if meter.aggregation is Aggregation.UNIQUE:
        if value is not None:
            raise ItemProblem("quantity", "This meter counts subjects, so its events have no quantity.")
        return Decimal(1)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ItemProblem("quantity", "This is a number, or a text with one.")
    if not QUANTITY_TEXT.fullmatch(text := str(value)):
        raise ItemProblem("quantity", "This is a number, or a text with one.")
    quantity = Decimal(text)
    if not 0 <= quantity <= MAX_QUANTITY:
        raise ItemProblem("quantity", f"A quantity is between 0 and {MAX_QUANTITY:,}.")
    if quantity != quantity.quantize(Decimal(1).scaleb(-MAX_DECIMALS)):
        raise ItemProblem("quantity", f"A quantity has at most {MAX_DECIMALS} decimals.")
    return quantity.normalize() + 0  # no minus before a zero


def _parse_time(value: Any, at: datetime, *, meter: Meter, oldest: datetime | None = None) -> datetime:
    """Now, without a time."""
    if value is None:
        return at
    try:
        occurred_at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value)[:40])
    except ValueError:
        raise ItemProblem("occurred_at", "This is a time, such as 2026-07-01T12:00:00Z.") from None
    if occurred_at.tzinfo is None:
        raise ItemProblem("occurred_at", "The time needs its zone, such as Z.")
    if occurred_at < (oldest or at - meter.late_window):
        detail = f"Events of this meter may be {meter.late_window.days} days old when they arrive."
        raise ItemProblem("occurred_at", detail, ItemReason.TOO_OLD)
    if occurred_at > at + meter.future_tolerance:
        raise ItemProblem("occurred_at", "This time is in the future.", ItemReason.IN_THE_FUTURE)
    return occurred_at


def _parse_subject(value: Any, meter: Meter) -> str:
    if meter.aggregation is Aggregation.UNIQUE:
        return _parse_text(value, "subject", maximum=MAX_SUBJECT_LENGTH)
    if value is not None:
        raise ItemProblem("subject", "Only meters that count subjects have one.")
    return ""


def _parse_dimensions(value: Any, meter: Meter) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_DIMENSIONS:
        raise ItemProblem("dimensions", f"This is an object of at most {MAX_DIMENSIONS} texts.")
    for name, text in value.items():
        if name not in meter.dimensions:
            raise ItemProblem("dimensions", f"This meter has these: {', '.join(meter.dimensions) or 'none'}.")
        _parse_text(text, "dimensions", maximum=MAX_VALUE_LENGTH)
    return value
