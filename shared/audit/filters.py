"""Parse the filter of the audit log from form fields, the page's address or its export, and build that address."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import AUDIT_TEXTS, AuditResult, list_nouns
from shared.core.errors import Invalid

FIELDS = ("actor", "action", "object", "request", "result", "since", "until", "event")
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
    if values["result"] and values["result"] not in set(AuditResult):
        raise Invalid("There is no such result.", "Choose one from the list.")
    since, until = _parse_day(values["since"], "From"), _parse_day(values["until"], "Until")
    if since and until and since > until:
        raise Invalid("The start date is after the end date.", "Swap them.")
    return AuditFilter(
        actor=values["actor"],
        action=values["action"],
        object_id=values["object"],
        request_id=values["request"],
        event_id=values["event"],
        result=AuditResult(values["result"]) if values["result"] else None,
        since=since,
        until=until + timedelta(days=1) if until else None,
    )


def read_query(query: Mapping[str, Any], names: Sequence[str] = FIELDS) -> dict[str, str]:
    """The fields of an address that are no longer than a filter may be, without empty ones: untrusted texts."""
    values = {name: str(query.get(name, "")).strip()[: MAX_LENGTH + 1] for name in names}
    return {name: value for name, value in values.items() if value}


def build_query(values: Mapping[str, str]) -> str:
    """The query of the address that repeats this filter, with its "?"; "" for no filter."""
    query = urlencode({name: value for name, value in values.items() if value})
    return f"?{query}" if query else ""


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
