"""Calls of the REST API, counted in memory and recorded every two seconds, so that a call that reads doesn't write.

A killed process loses what it hadn't recorded: a count is never too high. A recording that fails is tried again with its
own key.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from shared.core import db, log, request_ids
from shared.core.db import now
from shared.core.errors import Invalid, Refused
from shared.core.ids import new_id
from shared.metering import usage
from shared.tenancy import entry

METER = "api_calls"
TASK = "metering.count_calls"
WRITE_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class CountedCalls:
    """Of one tenant, on their way to the database."""

    key: str
    count: int
    at: datetime


_pending: dict[str, int] = {}  # by tenant
_unrecorded: dict[str, CountedCalls] = {}  # by tenant; later calls wait in `_pending`


def count_call(tenant_id: str) -> None:
    _pending[tenant_id] = _pending.get(tenant_id, 0) + 1


async def record_calls() -> None:
    """What was counted of every tenant. What can't be recorded now is kept."""
    for tenant_id in [*_pending]:
        if tenant_id not in _unrecorded:
            _unrecorded[tenant_id] = CountedCalls(new_id("cll"), _pending.pop(tenant_id), now())
    for tenant_id, calls in [*_unrecorded.items()]:
        try:
            async with entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
                await usage.record(ctx, METER, calls.key, quantity=calls.count, occurred_at=calls.at)
        except Refused:
            pass  # suspended or deleted meanwhile
        except Invalid as problem:  # they are too old: trying again for ever would keep later calls waiting
            log.report_bug(problem, tenant_id=tenant_id)
        except Exception as problem:
            if not db.is_connection_error(problem):
                log.report_bug(problem, tenant_id=tenant_id)
            continue
        del _unrecorded[tenant_id]


async def run_writer() -> None:
    """A lifespan task of what serves the API. Records the rest at shutdown."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await record_calls()
    finally:
        await record_calls()
