"""Check the items of a correction, one by one: a wrong item is refused with its reason and spoils no other."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access.meters import KEY_RETENTION, METERS
from shared.metering import items
from shared.metering.items import ItemProblem, ItemReason, UsageItem
from shared.metering.models import CorrectionKind

OF_THE_EVENT = "A replacement keeps this of its event. Void the event and add another one."
OF_A_VOID = "A void names its event and nothing else."


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectionItem:
    """A checked item. `item`: what counts, with the time of the event that it replaces unknown yet; None for a void."""

    kind: CorrectionKind
    event_id: str
    meter: str
    item: UsageItem | None


def parse_correction_item(value: Any, at: datetime, *, is_program: bool) -> CorrectionItem:
    """`value`: any JSON. `at`: now. `is_program`: programs correct what they may send. Raises ItemProblem.

    Operators may add events of any time for which keys are kept, of any meter.
    """
    if not isinstance(value, dict):
        raise ItemProblem("", "An item is an object.")
    fields = dict(value)
    kind_text = fields.pop("kind", None)
    if kind_text not in tuple(CorrectionKind):
        raise ItemProblem("kind", f"This is one of: {', '.join(CorrectionKind)}.")
    kind = CorrectionKind(kind_text)
    if kind is not CorrectionKind.ADD:
        advice = OF_A_VOID if kind is CorrectionKind.VOID else OF_THE_EVENT
        allowed = {"meter", "idempotency_key"} | (
            {"quantity", "subject"} if kind is CorrectionKind.REPLACE else set()
        )
        if others := fields.keys() - allowed:
            raise ItemProblem(str(min(others))[: items.MAX_VALUE_LENGTH], advice)
    if kind is CorrectionKind.VOID:
        meter, key = items.parse_name(fields, is_program=is_program)
        return CorrectionItem(kind=kind, event_id=f"{meter.key}:{key}", meter=meter.key, item=None)
    oldest = None if is_program else at - KEY_RETENTION
    item = items.parse_item(fields, at, is_program=is_program, oldest=oldest)
    return CorrectionItem(kind=kind, event_id=item.id, meter=item.meter, item=item)


def require_in_time(occurred_at: datetime, meter: str, at: datetime) -> None:
    """Programs correct events for as long as they may send them. Raises ItemProblem."""
    if occurred_at < at - METERS[meter].late_window:
        raise ItemProblem(
            "idempotency_key", "This event is too old to be corrected by a program.", ItemReason.TOO_OLD
        )
