"""Counts webhooks with a wrong signature, for the operators: the secret was rolled, or is that of another endpoint.

Everyone can send such requests. So each process writes one count of an account at a time, at most every few seconds, and
a request waits for it only briefly. The request is refused in the same way where the count can't be written.
"""

import asyncio
import time
from collections import Counter

from shared.billing import accounts_repository as repository
from shared.core import db, live_events, log

WRITE_INTERVAL_S = 5.0
WRITE_TIMEOUT_S = 2.0  # shorter than the interval, so that two writes of an account never overlap

_pending = Counter[str]()  # by account
_written_at: dict[str, float] = {}  # when the last write was tried


async def record(account_id: str) -> None:
    """Counts one. The first is written at once; later ones with the next that comes after the interval.

    Raises nothing but CancelledError. What couldn't be written is counted with the next.
    """
    _pending[account_id] += 1
    if time.monotonic() - _written_at.get(account_id, -WRITE_INTERVAL_S) < WRITE_INTERVAL_S:
        return
    _written_at[account_id] = time.monotonic()
    count = _pending.pop(account_id)
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await _write(account_id, count)
    except BaseException as problem:
        _pending[account_id] += count
        if not isinstance(problem, Exception):
            raise  # the request was cancelled
        log.get_logger(__name__).error(
            "signature_failures_not_written", account=account_id, count=count, problem=type(problem).__name__
        )


async def _write(account_id: str, count: int) -> None:
    async with db.transaction() as session:
        await repository.add_signature_failures(session, account_id, count)
        await live_events.refresh_pages(session, "*", "webhooks")
