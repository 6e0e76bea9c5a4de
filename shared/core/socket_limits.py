"""How much one session, one person and one tenant may send over sockets. Counted in each process.

A person's events take turns at a bounded rate, and so do the events of all people of one tenant (`tenant_limits`):
whoever sends more waits.
A session with too many waiting frames is flooding, and its socket is closed.
"""

from collections import Counter
from dataclasses import dataclass, field

from shared.core import tenant_limits
from shared.core.config import settings
from shared.core.token_buckets import TokenBuckets

MAX_SOCKETS, MAX_TABS = 30, 20  # of one session; a tab that reconnects has two sockets for a while
BURST_SECONDS = 1.5  # events that may be sent at once, in seconds of the rate
WAITING_SECONDS = 6  # cost of the frames of one session that wait for their turn, in seconds of the rate
COST_BYTES = 8_192  # a frame costs 1, and 1 more for each of these


class TooManySockets(Exception):
    """The session has as many sockets or tabs as one may have."""


class TooManyFrames(Exception):
    """The session sends more than is worked off."""


@dataclass(slots=True)
class SessionSockets:
    tabs: Counter[str] = field(default_factory=Counter)  # open sockets by client token
    waiting: float = 0.0  # cost of the frames that wait
    tenant_by_slug: dict[str, str] = field(default_factory=dict)  # tenants that it was admitted to


class SocketLimits:
    """The sockets of one app in this process. One event loop uses it."""

    def __init__(self) -> None:
        self._sessions: dict[str, SessionSockets] = {}
        self._buckets = TokenBuckets()

    def open_socket(self, session_hash: str, client_token: str) -> None:
        """Raises TooManySockets. Pair with `close_socket`."""
        sockets = self._sessions.setdefault(session_hash, SessionSockets())
        is_new_tab = client_token not in sockets.tabs
        if sockets.tabs.total() >= MAX_SOCKETS or (is_new_tab and len(sockets.tabs) >= MAX_TABS):
            raise TooManySockets
        sockets.tabs[client_token] += 1

    def close_socket(self, session_hash: str, client_token: str) -> None:
        sockets = self._sessions[session_hash]
        sockets.tabs[client_token] -= 1
        if sockets.tabs[client_token] <= 0:
            del sockets.tabs[client_token]
        if not sockets.tabs:
            del self._sessions[session_hash]

    def note_tenant(self, session_hash: str, slug: str, tenant_id: str) -> None:
        """The session was admitted to this tenant: from now on, events of its pages count for the tenant as well."""
        if session_hash in self._sessions:
            self._sessions[session_hash].tenant_by_slug[slug] = tenant_id

    def add_waiting(self, session_hash: str, size: int) -> float:
        """The cost of a frame that begins to wait. Raises TooManyFrames when too many wait already."""
        sockets, cost = self._sessions[session_hash], 1.0 + size // COST_BYTES
        if sockets.waiting + cost > WAITING_SECONDS * settings().events_per_second:
            raise TooManyFrames
        sockets.waiting += cost
        return cost

    def remove_waiting(self, session_hash: str, cost: float) -> None:
        if session_hash in self._sessions:
            self._sessions[session_hash].waiting -= cost

    def take_turn(self, session_hash: str, person_id: str, slug: str, cost: float) -> float:
        """Seconds that the frame has to wait before it goes on."""
        rate = float(settings().events_per_second)
        wait = self._buckets.get(f"person {person_id}", rate, rate * BURST_SECONDS).take(cost)
        if tenant_id := self._sessions[session_hash].tenant_by_slug.get(slug, ""):
            wait = max(wait, tenant_limits.take_event_turn(tenant_id, cost))
        return wait
