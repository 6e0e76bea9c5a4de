"""What keys of tenants and of operators have in common: names, networks, expiry, state, and another text with an overlap."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_network
from typing import Protocol

from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid
from shared.tenancy.key_texts import KeyText

MAX_NAME_LENGTH = 60
MAX_NETWORKS = 20
IPV6_HOUSEHOLD = 64  # bits; `get_client_address` keeps no more
MAX_LIFETIME = timedelta(days=3650)
MAX_OVERLAP = timedelta(days=7)
DEFAULT_OVERLAP = timedelta(hours=24)


class KeyState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyRow(Protocol):
    """The row of a key, whose text can be replaced."""

    secret_hash: str
    hint: str
    previous_hash: str
    previous_hint: str
    previous_ends_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


def clean_name(text: str) -> str:
    """Raises Invalid."""
    return clean_line(
        text, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )


def clean_scopes(scopes: Collection[str], allowed: frozenset[str]) -> frozenset[str]:
    """Raises Invalid for none, and for one that is not in `allowed`."""
    if unknown := sorted(set(scopes) - allowed):
        text = f"There is no scope {unknown[0][:60]}."
        raise Invalid(text, "Choose scopes from the list.", fields={"scopes": text})
    if not scopes:
        raise Invalid("Choose at least one scope.", "", fields={"scopes": "Choose at least one scope."})
    return frozenset(str(scope) for scope in scopes)


def clean_networks(networks: Collection[str]) -> list[str]:
    """Sorted, in the notation of networks. Raises Invalid."""
    problem = f"Enter up to {MAX_NETWORKS} addresses such as 203.0.113.7 or 203.0.113.0/24."
    if len(networks) > MAX_NETWORKS:
        raise Invalid(problem, "Correct the addresses.", fields={"networks": problem})
    try:
        parsed = {ip_network(network.strip()) for network in networks}
    except ValueError:
        raise Invalid(problem, "Correct the addresses.", fields={"networks": problem}) from None
    if any(network.version == 6 and network.prefixlen > IPV6_HOUSEHOLD for network in parsed):
        problem = "Enter IPv6 networks of /64 or larger: smaller parts can’t be told apart."
        raise Invalid(problem, "Correct the addresses.", fields={"networks": problem})
    return sorted(map(str, parsed))


def check_expiry(expires_at: datetime | None) -> datetime | None:
    """Raises Invalid for a time that has passed, and for a very late one."""
    if expires_at is not None and (
        expires_at.tzinfo is None or not timedelta() < expires_at - now() <= MAX_LIFETIME
    ):
        problem = "Enter a time in the next ten years."
        raise Invalid(problem, "Correct the date.", fields={"expires_at": problem})
    return expires_at


def check_overlap(overlap: timedelta) -> None:
    """Raises Invalid."""
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise Invalid(
            "The former key can work for at most 7 more days.",
            "Choose a shorter time.",
            fields={"overlap": "At most 7 days"},
        )


def get_state(key: KeyRow) -> KeyState:
    if key.revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if key.expires_at is not None and key.expires_at <= now() else KeyState.ACTIVE


def require_active(key: KeyRow) -> None:
    """Raises Conflict."""
    if (state := get_state(key)) is not KeyState.ACTIVE:
        raise Conflict(f"This key is {state.value}.", "Create a new key.")


def replace_text(key: KeyRow, text: KeyText, overlap: timedelta) -> None:
    """The former text works for `overlap` more. A text that an earlier rotation replaced ends now."""
    has_overlap = bool(overlap)
    key.previous_hash, key.previous_hint = (key.secret_hash, key.hint) if has_overlap else ("", "")
    key.previous_ends_at = now() + overlap if has_overlap else None
    key.secret_hash, key.hint = text.secret_hash, text.hint


def has_previous(key: KeyRow) -> bool:
    """Whether a text that was replaced works still."""
    return key.previous_ends_at is not None and key.previous_ends_at > now()
