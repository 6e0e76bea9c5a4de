"""Counts webhooks with a wrong signature, for the operators: the secret was rolled, or is that of another endpoint.

Everyone can send such requests, so each process writes at most one count every few seconds.
"""

import time
from collections import Counter

from shared.billing import accounts_repository as repository
from shared.core import db, live_events

WRITE_INTERVAL_S = 5.0

_pending = Counter[str]()  # by account
_written_at: dict[str, float] = {}


async def record(account_id: str) -> None:
    """Counts one. The first is written at once; later ones with the next that comes after the interval."""
    _pending[account_id] += 1
    if time.monotonic() - _written_at.get(account_id, -WRITE_INTERVAL_S) < WRITE_INTERVAL_S:
        return
    _written_at[account_id] = time.monotonic()
    count = _pending.pop(account_id)
    async with db.transaction() as session:
        await repository.add_signature_failures(session, account_id, count)
        await live_events.refresh_pages(session, "*", "webhooks")
