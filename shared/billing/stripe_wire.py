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

from shared.billing.stripe_pace import Circuit, Pace

CONNECT_S, TRY_S = 3.0, 8.0
PATIENCE_S = 4.0  # who is to wait longer than this for another try is told so instead
TRIES = 3


class Wire(stripe.HTTPClient):
    """Of one account. Async only: the SDK's other verbs find nothing here."""

    name = "httpx"

    def __init__(self, pace: Pace, circuit: Circuit) -> None:
        super().__init__()
        self._pace, self._circuit = pace, circuit
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(TRY_S, connect=CONNECT_S), verify=_trusted())

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        for tried in range(1, TRIES + 1):
            answer = await self._once(method, url, headers, post_data)
            wait = _pause(answer, tried)
            if wait is None:
                break
            self._pace.hold(wait)  # the others of this account would only hear the same
            if tried == TRIES or wait > PATIENCE_S:
                break
            await self.sleep_async(wait)
        return answer.content, answer.status_code, answer.headers

    async def sleep_async(self, secs: float) -> None:
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        await self._http.aclose()

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any
    ) -> httpx.Response:
        self._circuit.enter()
        await self._pace.turn()
        try:
            async with asyncio.timeout(TRY_S):  # httpx counts from one byte to the next
                answer = await self._http.request(method, url, headers=headers, content=post_data)
        except (httpx.HTTPError, TimeoutError) as problem:
            self._circuit.failed()
            raise _unheard(problem) from problem
        if answer.status_code >= 500:
            self._circuit.failed()
        else:
            self._circuit.answered()
        return answer


def _unheard(problem: Exception) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(type(problem).__name__, should_retry=True)  # type: ignore[no-untyped-call]


@cache
def _trusted() -> ssl.SSLContext:
    """Read once: that takes a tenth of a second of everybody's."""
    return httpx.create_ssl_context()


def _pause(answer: httpx.Response, tried: int) -> float | None:
    """Seconds until another try; None where this answer is the last word."""
    if answer.status_code != 429 or answer.headers.get("stripe-should-retry") == "false":
        return None
    return asked_to_wait(answer.headers) or 0.5 * 2 ** (tried - 1) * random.uniform(0.5, 1)  # noqa: S311


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """Retry-After in seconds, 0 where they do not say. Stripe sends no dates."""
    try:
        return max(0.0, float(headers.get("retry-after", "0")))
    except ValueError:
        return 0.0
