"""Work through what came: per customer one look at the provider, whatever came and in whatever order.

The inbox is the truth and a notification only a hint: what nobody was told of is found by looking. A worker that dies
leaves rows whose lease runs out. What fails is tried again, later each time, and is put aside for an operator at last.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

from shared.billing import accounts, sync
from shared.billing import inbox_repository as repository
from shared.billing.inbox_repository import Claimed
from shared.billing.provider import LONGEST_CALL_S, KeyRefused, ProviderDown, TooMany
from shared.core import db, log, notices
from shared.core.ids import new_id

CHANNEL = "bulkhead_inbox"
AT_ONCE = 8  # customers looked at together by one worker
NAP = 1.0  # seconds between looks when nobody told us anything
LEASE = timedelta(seconds=3 * LONGEST_CALL_S)  # outlives the longest fetch; one that runs out wastes a fetch
TRIES = 8  # of what fails by our own fault
DEATHS = 2 * TRIES  # of workers that had it in hand, before it is put aside
PARKED_TRIES = 14  # of what is about a customer that nobody knows: two days
LONGEST_WAIT, LONGEST_PARK = timedelta(minutes=10), timedelta(hours=6)
LONGEST_SILENCE = timedelta(seconds=30)  # between two tries of a provider that does not answer
PAUSED = "The provider no longer takes our key"
DOWN = "The provider does not answer"


async def run(at_once: int = AT_ONCE) -> None:
    """Until cancelled."""
    working: dict[asyncio.Task[None], tuple[str, str]] = {}
    try:
        async with _hints() as told:
            while True:
                told.clear()  # before the look, so that what comes during it is seen
                taken = []
                if len(working) < at_once:
                    taken = await _claim(at_once - len(working), working.values())
                working |= {
                    asyncio.create_task(settle(one)): (one.account_id, one.customer_id) for one in taken
                }
                if not taken:
                    waiting = [asyncio.create_task(told.wait()), *working]
                    await asyncio.wait(waiting, timeout=NAP, return_when=asyncio.FIRST_COMPLETED)
                    waiting[0].cancel()
                working = {task: what for task, what in working.items() if not task.done()}
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def work_off() -> int:
    """All that is due now, and no longer. How many customers were looked at."""
    count = 0
    while taken := await _claim(AT_ONCE):
        await asyncio.gather(*(settle(one) for one in taken))
        count += len(taken)
    return count


async def _claim(most: int, busy: Collection[tuple[str, str]] = ()) -> list[Claimed]:
    try:
        async with db.transaction() as session:
            return await repository.claim(session, new_id("clm"), most, LEASE, busy)
    except Exception as problem:  # whatever it is, the loop has to see the database come back
        log.get(__name__).error("inbox_unreachable", problem=type(problem).__name__)
        await asyncio.sleep(NAP)
        return []


async def settle(work: Claimed) -> None:
    """One customer: looked at and written, or back for another try. Never raises but for cancellation."""
    said = log.get(__name__).bind(
        account_id=work.account_id, customer_id=work.customer_id, events=len(work.event_ids)
    )
    if work.attempts > DEATHS:  # every failure that we survive is counted long before
        await _back(work, LONGEST_WAIT, f"{DEATHS} workers died of it", most=DEATHS)
        return
    try:
        async with db.transaction() as session:
            tenant_id = await repository.place(session, work.account_id, work.customer_id)
        if not tenant_id:
            wait = _later(work, LONGEST_PARK)
            await _back(work, wait, "No organisation has this customer", most=PARKED_TRIES, parked=True)
            return
        await sync.look(work.account_id, work.customer_id, tenant_id, cause="webhook", work=work)
    except KeyRefused:
        async with db.transaction() as session:
            await accounts.pause(session, work.account_id, PAUSED)
        await _back(work, timedelta(seconds=30), PAUSED, counts=False)
        said.error("account_paused")
    except TooMany as busy:
        await _back(work, timedelta(seconds=busy.wait), "The provider asked us to wait", counts=False)
    except ProviderDown as problem:
        # As long again as it has waited: no try counts, so there is no number of tries to go by.
        wait = min(LONGEST_SILENCE, timedelta(seconds=max(1.0, work.waited)))
        await _back(work, wait, f"{DOWN}: {problem}", counts=False)
    except Exception as problem:
        request_id = log.report(problem, account_id=work.account_id, customer_id=work.customer_id)
        error, counts = f"{type(problem).__name__}, see {request_id}", not db.is_away(problem)
        await _back(work, _later(work, LONGEST_WAIT), error, counts=counts)


def _later(work: Claimed, most: timedelta) -> timedelta:
    return min(most, timedelta(seconds=2.0 ** min(work.attempts, 20)))


async def _back(
    work: Claimed,
    wait: timedelta,
    error: str,
    *,
    most: int = TRIES,
    counts: bool = True,
    parked: bool = False,
) -> None:
    """If this fails too, the lease runs out."""
    try:
        async with db.transaction() as session:
            await repository.release(session, work, wait, error, most=most, counts=counts, parked=parked)
            await notices.page(session, "*", "webhooks")
    except Exception as problem:
        log.report(problem, account_id=work.account_id, customer_id=work.customer_id)


@asynccontextmanager
async def _hints() -> AsyncIterator[asyncio.Event]:
    """Set whenever something was stored. Without the database it stays silent, and the naps are what is left."""
    told = asyncio.Event()
    listening = asyncio.create_task(repository.listen(CHANNEL, told, NAP))
    try:
        yield told
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
