"""Parse the filter of the audit log from form fields of the page or its export."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from shared.audit.audit_log import AuditFilter
from shared.audit.event_types import AUDIT_TEXTS, list_nouns
from shared.core.errors import Invalid

FIELDS = ("actor", "action", "object", "request", "since", "until")
MAX_LENGTH = 120


def parse_filter(fields: Mapping[str, str]) -> AuditFilter:
    """Empty and missing fields do not filter. Days are in UTC; the last day is included.

    Raises Invalid.
    """
    values = {name: fields.get(name, "").strip() for name in FIELDS}
    if any(len(value) > MAX_LENGTH for value in values.values()):
        raise Invalid("This filter is too long.", "Shorten it.")
    if not is_filter_action(values["action"]):
        raise Invalid("There is no such action.", "Choose one from the list.")
    since, until = _parse_day(values["since"], "From"), _parse_day(values["until"], "Until")
    if since and until and since > until:
        raise Invalid("The start date is after the end date.", "Swap them.")
    return AuditFilter(
        actor=values["actor"],
        action=values["action"],
        object_id=values["object"],
        request_id=values["request"],
        since=since,
        until=until + timedelta(days=1) if until else None,
    )


def is_filter_action(action: str) -> bool:
    """Whether it is "", an event type, or all of one noun, as in "membership."."""
    return not action or action in AUDIT_TEXTS or action in {f"{noun}." for noun in list_nouns()}


def _parse_day(text: str, label: str) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        _ = day + timedelta(days=1)  # raises for the last representable day
    except (ValueError, OverflowError):
        raise Invalid(f"“{label}” isn’t a date.", "Write it as 2026-11-24.") from None
    return day
