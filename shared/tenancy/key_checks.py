"""What is checked of every key, of tenants and of operators, before a request enters: does it work still, and from here?"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Protocol

from shared.core.db import now
from shared.core.errors import NotSignedIn, Refused

USE_NOTED_EVERY = timedelta(minutes=1)  # also what the functions of the database keep to


class KeyFacts(Protocol):
    """A key as one statement read it."""

    @property
    def revoked_at(self) -> datetime | None: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def is_previous(self) -> bool: ...  # found by the text that a rotation replaced
    @property
    def previous_ends_at(self) -> datetime | None: ...
    @property
    def networks(self) -> Sequence[str]: ...
    @property
    def last_used_at(self) -> datetime | None: ...


class InvalidKey(NotSignedIn):
    """The text is no key that works."""

    def __init__(self, detail: str, next_step: str, *, reason: str) -> None:
        super().__init__(detail, next_step)
        self.reason = reason


def build_unknown() -> InvalidKey:
    return InvalidKey("This API key doesn’t exist.", "Check that you copied all of it.", reason="invalid_key")


def require_unended(key: KeyFacts, new_key_step: str) -> None:
    """Raises InvalidKey (key_revoked, key_expired)."""
    if key.revoked_at is not None:
        raise InvalidKey("This API key was revoked.", new_key_step, reason="key_revoked")
    is_replaced = key.is_previous and (key.previous_ends_at is None or key.previous_ends_at <= now())
    if is_replaced or (key.expires_at is not None and key.expires_at <= now()):
        step = "Use the key that replaced it." if is_replaced else new_key_step
        raise InvalidKey("This API key has expired.", step, reason="key_expired")


def require_address(key: KeyFacts, address: str) -> None:
    """Raises Refused (address_not_allowed)."""
    if key.networks and not _is_in_networks(address, key.networks):
        raise Refused(
            "This API key doesn’t work from your address.",
            "Call from an address on the key’s list, or ask an admin to add yours.",
            reason="address_not_allowed",
        )


def is_use_due(key: KeyFacts) -> bool:
    """At most once a minute, from whatever addresses: a write for each request would be the request's largest cost."""
    return key.last_used_at is None or now() - key.last_used_at >= USE_NOTED_EVERY


def _is_in_networks(address: str, networks: Sequence[str]) -> bool:
    """`address`: of one host, or the /64 network of an IPv6 one."""
    try:
        host = ip_network(address, strict=False).network_address
    except ValueError:
        return False
    return any(host in ip_network(network) for network in networks)
