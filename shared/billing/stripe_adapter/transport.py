"""One HTTP request to Stripe: short timeouts, our pace, patience with 429. What the SDK sends, it sends through this.

The SDK itself tries again after what nobody answered and after 5xx, under the same idempotency key; after 429 it
never does, so that is done here.
"""

import asyncio
import random
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import stripe

from shared.billing.stripe_adapter.rate_limit import CircuitBreaker, RateLimiter

CONNECT_TIMEOUT_S, ATTEMPT_TIMEOUT_S = 3.0, 8.0
MAX_RETRY_WAIT_S = 4.0  # who is to wait longer than this for another try is told so instead
MAX_ATTEMPTS = 3


class StripeTransport(stripe.HTTPClient):
    """Of one account. Async only: the SDK's other verbs find nothing here."""

    name = "httpx"

    def __init__(self, rate_limiter: RateLimiter, circuit_breaker: CircuitBreaker) -> None:
        super().__init__()
        self._rate_limiter, self._circuit_breaker = rate_limiter, circuit_breaker
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(ATTEMPT_TIMEOUT_S, connect=CONNECT_TIMEOUT_S), verify=_ssl_context()
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        for attempt in range(1, MAX_ATTEMPTS + 1):
            answer = await self._send_once(method, url, headers, post_data)
            delay = _get_retry_delay(answer, attempt)
            if delay is None:
                break
            self._rate_limiter.pause(delay)  # the others of this account would only hear the same
            if attempt == MAX_ATTEMPTS or delay > MAX_RETRY_WAIT_S:
                break
            await self.sleep_async(delay)
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        await self._http.aclose()

    async def _send_once(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> httpx.Response:
        self._circuit_breaker.check()
        await self._rate_limiter.acquire()
        try:
            async with asyncio.timeout(ATTEMPT_TIMEOUT_S):  # httpx counts from one byte to the next
                answer = await self._http.request(method, url, headers=headers, content=post_data)
        except (httpx.HTTPError, TimeoutError) as problem:
            self._circuit_breaker.record_failure()
            raise _to_connection_error(problem) from problem
        if answer.status_code >= 500:
            self._circuit_breaker.record_failure()
        else:
            self._circuit_breaker.record_success()
        return answer


def _to_connection_error(problem: Exception) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(type(problem).__name__, should_retry=True)  # type: ignore[no-untyped-call]


@cache
def _ssl_context() -> ssl.SSLContext:
    """Read once: that takes a tenth of a second of everybody's."""
    return httpx.create_ssl_context()


def _get_retry_delay(answer: httpx.Response, attempt: int) -> float | None:
    """Seconds until another try; None where this answer is the last word."""
    if answer.status_code != 429 or answer.headers.get("stripe-should-retry") == "false":
        return None
    return read_retry_after(answer.headers) or 0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds, 0 where they do not say. Stripe sends no dates."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
