"""What operators call the states of billing, with the tone of their badges, and changes as they are read."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.core import money
from shared.ui.decision_trace import Change

WEBHOOK_STATUS_LABELS = {  # word, tone, what it means
    "pending": ("Waiting", "wait", "Its turn comes."),
    "working": ("Working", "accent", "A worker looks at its customer now."),
    "parked": ("Parked", "idle", "No organisation has its customer yet. It goes on when one does."),
    "dead": ("Dead", "bad", "Every try failed. It waits for somebody to replay it."),
    "done": ("Done", "ok", "Its customer was looked at after it came."),
    "ignored": ("Not needed", "idle", "Kept; nothing follows from it."),
}
INVOICE_STATUS_LABELS = {
    "draft": ("Draft", "idle"),
    "open": ("Open", "warn"),
    "paid": ("Paid", "ok"),
    "void": ("Void", "idle"),
    "uncollectible": ("Uncollectible", "bad"),
}
ADJUSTMENT_STATE_LABELS = {
    "requested": ("Under way", "wait"),
    "done": ("Done", "ok"),
    "failed": ("Failed", "bad"),
}
ADJUSTMENT_KIND_LABELS = {"credit": "Credit", "refund": "Refund", "debit": "Debit"}
CAUSE_LABELS = {
    "webhook": "A webhook came",
    "reconcile": "A comparison found it",
    "return": "Somebody came back from paying",
    "operator": "An operator asked",
}
ACCESS_LABELS = {
    "active": ("Active", "ok"),
    "grace": ("Grace", "warn"),
    "read_only": ("Read-only", "bad"),
    "none": ("Nothing paid", "idle"),
}
# Of a subscription, in the provider's words.
SUBSCRIPTION_TONES = {"active": "ok", "trialing": "ok", "past_due": "warn", "unpaid": "bad", "paused": "warn"}
BILLING_FIELD_LABELS = {
    "balance": "Balance",
    "method": "Pays with",
    "status": "Access",
    "word": "Status at the provider",
}
ISO_DATETIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
MAX_VALUE_LENGTH = 160  # characters of one side of a change


def subscription_badge(status: str) -> tuple[str, str]:
    return status.replace("_", " ").capitalize(), SUBSCRIPTION_TONES.get(status, "idle")


def invoice_badge(status: str) -> tuple[str, str]:
    return INVOICE_STATUS_LABELS.get(status, (status.capitalize(), "idle"))


def access_badge(status: str) -> tuple[str, str]:
    return ACCESS_LABELS.get(status, (status or "Unknown", "idle"))


def format_seconds(value: float) -> str:
    """As in "0.4 s", "12 s", "3 min", "2 h"."""
    if value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7_200 else f"{value / 3_600:.0f} h"


def list_billing_changes(previous: Mapping[str, Any], following: Mapping[str, Any]) -> list[Change]:
    """Of a billing event; what is the same on both sides is left out."""
    names = dict.fromkeys([*previous, *following])
    return [
        Change(
            BILLING_FIELD_LABELS.get(name, name),
            _format_value(previous.get(name)),
            _format_value(following.get(name)),
        )
        for name in names
        if (previous.get(name) or None) != (following.get(name) or None)
    ]


def list_differences(recorded: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What reconciliation found: ours before, theirs after."""
    return [
        Change(
            str(difference["what"]), _format_value(difference["ours"]), _format_value(difference["theirs"])
        )
        for difference in recorded
    ]


def format_amount(value: int, currency: str) -> str:
    return money.format_amount(value, currency) if currency else f"{value:,}"


def iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""


def _format_value(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and ISO_DATETIME.fullmatch(value):
        return f"{datetime.fromisoformat(value).astimezone(UTC):%-d %b %Y, %H:%M} UTC"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"
