"""The SDK's HTTP transport to Stripe: short timeouts, our rate limit, retries after 429.

The SDK retries unanswered requests and 5xx with the same idempotency key. It never retries after 429, so that is done
here.
"""

import asyncio
import random
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import stripe

from shared.billing.provider import ProviderDown
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen

CONNECT_TIMEOUT_S, ATTEMPT_TIMEOUT_S = 3.0, 8.0
MAX_RETRY_WAIT_S = 4.0  # longer waits raise instead
MAX_ATTEMPTS = 3
FAILURE_THRESHOLD, PAUSE_S = 5, 10.0  # after these failures in a row, pages don't wait for Stripe


class _ServerFailed(Exception):
    """Stripe answered with an error of its own."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class StripeTransport(stripe.HTTPClient):
    """The transport of one account. Async only."""

    name = "httpx"

    def __init__(self, rate_limiter: RateLimiter) -> None:
        super().__init__()
        self._rate_limiter = rate_limiter
        self._circuit_breaker = CircuitBreaker(
            threshold=FAILURE_THRESHOLD, first_pause=PAUSE_S, max_pause=PAUSE_S
        )
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
            self._rate_limiter.pause(delay)  # other requests of this account would get 429 too
            if attempt == MAX_ATTEMPTS or delay > MAX_RETRY_WAIT_S:
                break
            await self.sleep_async(delay)
        if is_repeated(answer.headers):
            answer.headers["stripe-should-retry"] = "false"  # the same key gets the same answer
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        await self._http.aclose()

    async def _send_once(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> httpx.Response:
        await self._rate_limiter.acquire()
        try:
            with self._circuit_breaker.attempt(httpx.HTTPError, TimeoutError, _ServerFailed):
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):  # httpx's timeouts apply between bytes
                    answer = await self._http.request(method, url, headers=headers, content=post_data)
                if answer.status_code >= 500 and not is_repeated(answer.headers):
                    raise _ServerFailed(answer)
        except CircuitOpen:
            raise ProviderDown("no requests for a moment after repeated failures") from None
        except _ServerFailed as failure:
            return failure.answer
        except (httpx.HTTPError, TimeoutError) as problem:
            raise _to_connection_error(problem) from problem
        return answer


def _to_connection_error(problem: Exception) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(type(problem).__name__, should_retry=True)  # type: ignore[no-untyped-call]


@cache
def _ssl_context() -> ssl.SSLContext:
    """Loaded once: it takes a tenth of a second and blocks the event loop."""
    return httpx.create_ssl_context()


def _get_retry_delay(answer: httpx.Response, attempt: int) -> float | None:
    """Seconds until the next retry; None for a final answer."""
    if answer.status_code != 429 or answer.headers.get("stripe-should-retry") == "false":
        return None
    return read_retry_after(answer.headers) or 0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1)  # noqa: S311


def is_repeated(headers: Mapping[str, str]) -> bool:
    """Whether Stripe answered with what it had saved under the idempotency key."""
    return headers.get("idempotent-replayed") == "true"


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds, 0 without the header. Stripe sends no dates."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
