"""The age of a report's numbers, and why they come from the primary database although there is a replica."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import reflex as rx

from shared.core.plurals import plural
from shared.core.replica import Fallback, ReadSource
from shared.ui.banners import local_time
from shared.ui.panels import small

MINUTE_S = 60
REASONS = {
    Fallback.AWAY: "The database for reports can’t be reached.",
    Fallback.WRONG: "The database for reports is no copy of the main database.",
}


@dataclass(frozen=True, kw_only=True)
class AsOf:
    time: str = ""  # ISO
    note: str = ""  # "" for the source that is configured


def build_as_of(source: ReadSource, at: datetime | None = None) -> AsOf:
    """`at`: up to when the numbers are complete, where that is earlier than the source's own time."""
    return AsOf(time=(at or source.as_of).isoformat(), note=describe_fallback(source))


def describe_fallback(source: ReadSource) -> str:
    if source.fallback is None:
        return ""
    reason = (
        REASONS.get(source.fallback) or f"The database for reports is {_describe_lag(source.lag)} behind."
    )
    return f"{reason} These numbers are from the main database and are up to date."


def _describe_lag(lag: timedelta | None) -> str:
    if lag is None:
        return "far"
    seconds = round(lag.total_seconds())
    return plural(seconds, "second") if seconds < 2 * MINUTE_S else plural(seconds // MINUTE_S, "minute")


def as_of_note(as_of: Any, *sentences: Any) -> rx.Component:
    """`as_of`: a var of `AsOf`. `sentences`: what else there is to know about the numbers."""
    note = rx.cond(as_of.note != "", rx.el.span(" ", as_of.note, data_testid="read-from-primary"))
    return small("As of ", local_time(as_of.time, "", "moment"), ".", *sentences, note)
