"""Prefixed ids. `new_id("usr")` -> "usr_" and 26 characters, ordered by time; nothing parses beyond the prefix."""

import re
from datetime import datetime

import uuid_utils

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford: no i, l, o, u
_ID = re.compile(r"[a-z]{2,6}_[a-z0-9][a-z0-9_]{0,39}")  # seeds may be short: ten_acme


def new_id(prefix: str) -> str:
    return _format_id(prefix, uuid_utils.uuid7().int)


def lowest_id(prefix: str, at: datetime) -> str:
    """The lowest id that `new_id` can give at that time: older ids are lower, in the order of bytes."""
    return _format_id(
        prefix, int(at.timestamp() * 1000) << 80
    )  # RFC 9562: milliseconds are the first 48 of 128 bits


def _format_id(prefix: str, number: int) -> str:
    return prefix + "_" + "".join(ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(prefix: str, text: str) -> bool:
    return text.startswith(prefix + "_") and _ID.fullmatch(text) is not None
