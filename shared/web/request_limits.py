"""How many requests one session, or one address without a live session, may send. Counted in each process.

More wait for their turn, so that a flood slows only whoever sends it; who would wait too long is refused at once.
"""

import asyncio
import math
import time
from collections import OrderedDict

from starlette.requests import HTTPConnection
from starlette.types import Scope

from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.plurals import plural
from shared.core.token_buckets import TokenBuckets
from shared.identity import sessions
from shared.identity.realms import Realm
from shared.web import request_identity

BURST_SECONDS = 3  # requests that may be sent at once, in seconds of the rate
MAX_WAIT_SECONDS = 5.0
MAX_WAITING = 1_000  # requests of all senders; each holds a connection
STATIC_COST = 0.1  # of a request; a page that is opened for the first time loads many files
KNOWN_SECONDS, MOST_KNOWN = 300.0, 50_000
# Load balancers ask for their own sake, and webhooks have a limit of their own, by account.
UNLIMITED = ("/healthz", "/readyz", "/webhooks/stripe/")


class TooManyRequests(Refused):
    """Too many requests of its sender wait already."""

    def __init__(self, seconds: float) -> None:
        retry_after = math.ceil(seconds)
        super().__init__(
            "Too many requests.",
            f"Try again in {plural(retry_after, 'second')}.",
            reason="rate_limited",
            retry_after=retry_after,
        )


class RequestLimits:
    """The HTTP requests and handshakes of one app in this process. One event loop uses it."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._buckets = TokenBuckets()
        self._waiting = 0
        self._seen_live: OrderedDict[str, float] = OrderedDict()  # when, by session hash; oldest first

    async def wait_for_turn(self, scope: Scope, *, is_static: bool) -> None:
        """Raises TooManyRequests when too many requests of its sender, or of all senders, wait already."""
        if scope["path"].startswith(UNLIMITED):
            return
        cost, rate = STATIC_COST if is_static else 1.0, float(settings().requests_per_second)
        bucket = self._buckets.get(self._name_sender(scope), rate, rate * BURST_SECONDS)
        seconds = bucket.take(cost)
        if seconds > MAX_WAIT_SECONDS or (seconds and self._waiting >= MAX_WAITING):
            bucket.give_back(cost)
            raise TooManyRequests(seconds)
        if seconds:
            self._waiting += 1
            try:
                await asyncio.sleep(seconds)
            finally:
                self._waiting -= 1

    def note_live_session(self, session_hash: str) -> None:
        """Requests of a session that was found live just now no longer count for their address."""
        self._seen_live[session_hash] = time.monotonic()
        self._seen_live.move_to_end(session_hash)
        if len(self._seen_live) > MOST_KNOWN:
            self._seen_live.popitem(last=False)

    def _name_sender(self, scope: Scope) -> str:
        """The sender of a cookie is its session only if that was found live lately, else its address."""
        request = HTTPConnection(scope)
        session_hash = sessions.get_token_hash(self._realm, request_identity.get_cookie_header(request))
        if session_hash and self._seen_live.get(session_hash, -math.inf) > time.monotonic() - KNOWN_SECONDS:
            return f"session {session_hash}"
        return f"address {request_identity.get_client_address(request)}"
