"""How many requests one session, or one address without a live session, may send. Counted in each process.

More wait for their turn, so that a flood slows only whoever sends it; who would wait too long is refused at once.
"""

import asyncio
import math
from collections import OrderedDict
from weakref import WeakValueDictionary

from starlette.requests import HTTPConnection
from starlette.types import Scope

from shared.core.config import settings
from shared.core.errors import Refused
from shared.core.plurals import plural
from shared.core.token_buckets import TokenBuckets
from shared.identity import sessions
from shared.web import request_identity
from shared.web.app_sites import Site

BURST_SECONDS = 3  # requests that may be sent at once, in seconds of the rate
MAX_WAIT_SECONDS = 5.0
MAX_WAITING = 1_000  # requests of all senders; each holds a connection
STATIC_COST = 0.1  # of a request; a page that is opened for the first time loads many files
MOST_KNOWN = 100_000  # sessions
# Requests with a cookie that isn't known here: after a deployment, all people of an office at once.
CLAIM_SHARE = 5  # of the rate
# Requests of strangers at one address that are answered at once. A burst would else come between the events of others.
MAX_AT_ONCE = 2
ADDRESS_SHARE = 20  # of the rate; all sessions at one address, which may be that of a large office
WEBHOOKS_PER_SECOND = 300  # from one address, as of one account
API = "/api/"
API_PER_SECOND = 200  # of one key that works; `rest.api_limits` counts them by the minute
CLAIMS, STRANGERS = "claims ", "address "  # names of buckets, before an address
LIVENESS, READINESS, WEBHOOKS = "/healthz", "/readyz", "/webhooks/stripe"


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


class Turn:
    """Of one request, among those of its sender that are answered at once."""

    def __init__(self, slots: asyncio.Semaphore | None = None) -> None:
        self._slots, self._is_held = slots, False

    async def begin(self) -> None:
        """Once all of it has arrived: who sends slowly must not keep others waiting. Raises TooManyRequests."""
        if self._slots is None or self._is_held:
            return
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as problem:
            raise TooManyRequests(MAX_WAIT_SECONDS) from problem
        self._is_held = True

    def end(self) -> None:
        """Called again, it does nothing."""
        if self._slots is not None and self._is_held:
            self._slots.release()
        self._slots = None


class RequestLimits:
    """The HTTP requests and handshakes of one app in this process. One event loop uses it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._buckets = TokenBuckets()
        self._slots = WeakValueDictionary[str, asyncio.Semaphore]()
        self._waiting = 0
        self._seen_live: OrderedDict[str, None] = OrderedDict()  # session hashes, the least recent first

    async def wait_for_turn(self, scope: Scope, *, is_static: bool) -> Turn:
        """Raises TooManyRequests when too many requests of its sender, or of all senders, wait already."""
        if scope["path"] == LIVENESS:
            return Turn()  # it costs nothing
        cost = STATIC_COST if is_static else 1.0
        names = self._find_buckets(scope)
        buckets = [self._buckets.get(name, rate, rate * BURST_SECONDS) for name, rate in names]
        seconds = max(bucket.take(cost) for bucket in buckets)
        if seconds > MAX_WAIT_SECONDS or (seconds and self._waiting >= MAX_WAITING):
            for bucket in buckets:
                bucket.give_back(cost)
            raise TooManyRequests(seconds)
        if seconds:
            self._waiting += 1
            try:
                await asyncio.sleep(seconds)
            finally:
                self._waiting -= 1
        return Turn() if is_static else self._make_turn(names[0][0])

    def _make_turn(self, name: str) -> Turn:
        if not name.startswith((CLAIMS, STRANGERS)):
            return Turn()
        slots = self._slots.get(name) or asyncio.Semaphore(MAX_AT_ONCE)
        self._slots[name] = slots
        return Turn(slots)

    def note_session(self, scope: Scope, live_hash: str | None) -> None:
        """Requests of a session that was found live no longer count for their address, until it has ended.

        `live_hash`: "" where the request's cookie was looked up and is no live session, None where it wasn't looked up.
        """
        if live_hash:
            self._seen_live[live_hash] = None
            self._seen_live.move_to_end(live_hash)
            if len(self._seen_live) > MOST_KNOWN:
                self._seen_live.popitem(last=False)
        elif live_hash is not None:
            self._seen_live.pop(self._find_session_hash(scope), None)

    def _find_session_hash(self, scope: Scope) -> str:
        """Of the session that the cookies claim, or of the API key that is sent; "" where there is none."""
        request = HTTPConnection(scope)
        if scope["path"].startswith(API):
            return request_identity.get_key_hash(request)
        return sessions.get_token_hash(self._site.realm, request_identity.get_cookie_header(request))

    def _find_buckets(self, scope: Scope) -> list[tuple[str, float]]:
        """Names and rates, first the sender's own: of a session that was found live, or one of several of an address."""
        request, path = HTTPConnection(scope), scope["path"]
        rate = float(settings().requests_per_second)
        session_hash = self._find_session_hash(scope)
        address = request_identity.get_client_address(request)
        if session_hash in self._seen_live:
            own_rate = max(rate, API_PER_SECOND) if path.startswith(API) else rate
            return [(f"session {session_hash}", own_rate), (f"sessions {address}", own_rate * ADDRESS_SHARE)]
        if path == READINESS:  # a load balancer, whose address may be that of every visitor
            return [(f"readiness {address}", rate)]
        if not self._site.is_operator_app and (path == WEBHOOKS or path.startswith(f"{WEBHOOKS}/")):
            return [(f"webhooks {address}", max(rate, WEBHOOKS_PER_SECOND))]
        if session_hash:
            return [(f"{CLAIMS}{address}", rate * CLAIM_SHARE)]
        return [(f"{STRANGERS}{address}", rate)]
