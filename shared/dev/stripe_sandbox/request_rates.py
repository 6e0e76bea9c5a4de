"""Requests beyond Stripe's limit are refused, so that a product that asks too fast learns it here."""

import time
from collections import deque

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.dev.stripe_sandbox.refusals import rate_limit_error

# Of a sandbox, over all endpoints; one endpoint has the same limit. https://docs.stripe.com/rate-limits
REQUESTS_PER_SECOND = 25


class RateLimitMiddleware:
    """429 for each request of an account beyond `limit` within one second."""

    def __init__(self, app: ASGIApp, limit: int = REQUESTS_PER_SECOND) -> None:
        self._app = app
        self._limit = limit
        self._accepted_at: dict[str, deque[float]] = {}  # the last accepted requests, by API key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and not self._accept(Request(scope).headers.get("authorization", "")):
            error = rate_limit_error()
            app = JSONResponse(error.body, error.status, {"stripe-rate-limited-reason": "global-rate"})
        await app(scope, receive, send)

    def _accept(self, key: str) -> bool:
        accepted_at = self._accepted_at.setdefault(key, deque(maxlen=self._limit))
        now = time.monotonic()
        if len(accepted_at) == self._limit and now - accepted_at[0] < 1:
            return False
        accepted_at.append(now)
        return True
