"""Reads fields of Stripe's objects, which are plain dictionaries here. Null and absent fields are treated alike."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Raw = Mapping[str, Any]
SEND_INVOICE = "send_invoice"  # collection method: the invoice has a due date and isn't charged automatically


def get_object_id(value: Any) -> str:
    """The id of a field that holds an id, an expanded object, or nothing."""
    return str(value.get("id") or "") if isinstance(value, Mapping) else str(value or "")


def to_datetime(seconds: Any) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) and seconds else None


def get_data(value: Any) -> Iterable[Raw]:
    """The items of a list object, or of a plain list."""
    return (value.get("data") or []) if isinstance(value, Mapping) else value or []


def get_path(raw: Any, *path: str) -> Any:
    for key in path:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw
