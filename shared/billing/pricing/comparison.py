"""Requests for a comparison of prices with the provider, which the worker makes as soon as it can."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.jobs import queue

COMPARE_TASK = "platform.compare_prices"


async def request_comparison(session: AsyncSession) -> None:
    """Queues a comparison of all prices, in the caller's transaction.

    Comparisons run one after another. One that begins joins all requests that are waiting.
    """
    await queue.put_platform_job(session, COMPARE_TASK, sequence=COMPARE_TASK)


async def join_waiting_requests(session: AsyncSession) -> None:
    """Drops the requests that wait, because a comparison begins after them."""
    await queue.join_waiting_jobs(session, COMPARE_TASK)
