"""The stand-in refuses what Stripe would refuse: more requests of a second than a sandbox may send."""

import asyncio

import pytest

from shared.billing.stripe_adapter.gateway import StripeGateway
from shared.billing.stripe_adapter.rate_limit import RateLimiter
from shared.dev.stripe_sandbox.request_rates import REQUESTS_PER_SECOND
from tests.dev.stripe_sandbox.sandbox_server import RunningSandbox, run_sandbox

pytestmark = pytest.mark.anyio


async def fetch_statuses(server: RunningSandbox, count: int) -> list[int]:
    async def fetch() -> int:
        headers = {"authorization": f"Bearer {server.key}"}
        return (await server.http.get(f"{server.url}/v1/account", headers=headers)).status_code

    return await asyncio.gather(*(fetch() for _ in range(count)))


async def test_requests_beyond_the_limit_are_refused_for_this_account_alone() -> None:
    async with run_sandbox(requests_per_second=REQUESTS_PER_SECOND) as server:
        own, other = server.with_new_key(), server.with_new_key()
        statuses = await fetch_statuses(own, 3 * REQUESTS_PER_SECOND)
        assert statuses.count(200) >= REQUESTS_PER_SECOND
        assert set(statuses) == {200, 429}
        assert await fetch_statuses(other, 1) == [200]


@pytest.mark.parametrize("rate", [None, 1000.0], ids=["own limit", "without it"])
async def test_gateway_sends_no_more_than_stripe_accepts(rate: float | None) -> None:
    async with run_sandbox(requests_per_second=REQUESTS_PER_SECOND) as server:
        gateway = StripeGateway(server.with_new_key().key, server.url)
        if rate is not None:
            gateway._transport._rate_limiter = RateLimiter("fast", rate=rate, burst=100)
        refused = 0
        wait = gateway._transport.sleep_async

        async def count_and_wait(secs: float) -> None:  # after each 429
            nonlocal refused
            refused += 1
            await wait(secs)

        gateway._transport.sleep_async = count_and_wait  # type: ignore[method-assign]
        try:
            await asyncio.gather(*(gateway.get_account_id() for _ in range(40)), return_exceptions=True)
        finally:
            await gateway.close()
        assert (refused > 0) == (rate is not None)
