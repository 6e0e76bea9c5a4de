"""Calls of the REST API, counted in memory and recorded every two seconds, so that a call that reads doesn't write.

Where a hard limit or a spend limit applies, a call reserves its place before it is answered. A killed process loses what
it hadn't recorded: a count is never too high. A recording that fails is tried again with its own key.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from shared.core import db, log, request_ids
from shared.core.db import now
from shared.core.errors import Invalid, Refused
from shared.core.ids import new_id
from shared.metering import allowances, quotas, reservations, usage
from shared.metering.event_repository import ReservationLapsed
from shared.metering.reservations import Exceeded, Hold, Lease
from shared.tenancy import entry
from shared.tenancy.key_entry import KeyAdmission

METER = "api_calls"
TASK = "metering.count_calls"
WRITE_INTERVAL_S = 2.0
ONE_CALL = Decimal(1)
HeldCalls = tuple[tuple[str, str], ...]  # counters, and the reservation of each that the calls draw from
CallKey = tuple[str, HeldCalls]  # of a tenant


@dataclass(slots=True)
class PendingCalls:
    """Of one tenant, with the same reservations. `at`: of the first one. `leases`: each call holds a part of each."""

    at: datetime
    leases: Sequence[Lease]
    count: int = 0


@dataclass(frozen=True, slots=True)
class CountedCalls:
    """On their way to the database."""

    key: str
    count: int
    at: datetime
    held: HeldCalls
    leases: Sequence[Lease]


_pending: dict[CallKey, PendingCalls] = {}
_unrecorded: dict[CallKey, CountedCalls] = {}  # later calls wait in `_pending`


async def admit_call(admission: KeyAdmission, *, action: str) -> None:
    """Count a call, or refuse it. `action`: name of the one that uses the API. Raises LimitReached."""
    tenant_id, at = admission.tenant.tenant_id, now()
    budget = await allowances.find_budget(tenant_id)
    hard = [
        allowance
        for allowance in allowances.list_allowances(admission.rights, METER, at, budget)
        if allowance.is_hard
    ]
    holds = list[Hold]()
    try:
        for allowance in hard:
            hold = await reservations.reserve_leased(tenant_id, allowance, ONE_CALL)
            if hold is None:
                hold = await reservations.reserve(tenant_id, allowance, ONE_CALL, is_used=len(hard) == 1)
            holds.append(hold)
    except Exceeded as exceeded:
        for hold in holds:
            await reservations.release(tenant_id, hold)
        raise quotas.build_refusal(admission, quotas.build_facts(exceeded), action=action) from None
    add_call(tenant_id, at, holds)


def count_call(tenant_id: str) -> None:
    """Without a reservation."""
    add_call(tenant_id, now(), ())


def add_call(tenant_id: str, at: datetime, holds: Sequence[Hold]) -> None:
    """`holds`: what was reserved for it. It is recorded with the others, which closes them."""
    call_key = tenant_id, tuple([(hold.counter_id, hold.reservation_id) for hold in holds])
    calls = _pending.get(call_key)
    if calls is None:
        leases = [hold.lease for hold in holds if hold.lease is not None]
        calls = _pending[call_key] = PendingCalls(at, leases)
    calls.count += 1


async def record_calls() -> None:
    """What was counted of every tenant. What can't be recorded now is kept."""
    for call_key in [*_pending]:
        if call_key not in _unrecorded:
            calls = _pending.pop(call_key)
            at = calls.at if call_key[1] else now()  # a counter is of one month
            _unrecorded[call_key] = CountedCalls(new_id("cll"), calls.count, at, call_key[1], calls.leases)
    for call_key, counted in [*_unrecorded.items()]:
        tenant_id = call_key[0]
        try:
            async with entry.enter_job(tenant_id, TASK, request_ids.current()) as ctx:
                await usage.record(
                    ctx,
                    METER,
                    counted.key,
                    quantity=counted.count,
                    occurred_at=counted.at,
                    held={usage.OTHERS: usage.UNRESERVED, **dict(counted.held)},  # they were answered
                )
        except ReservationLapsed:  # the calls were answered, so they count in any case
            unreserved = tuple((counter_id, usage.UNRESERVED) for counter_id, _ in counted.held)
            _unrecorded[call_key] = CountedCalls(
                counted.key, counted.count, counted.at, unreserved, counted.leases
            )
            continue
        except Refused:
            pass  # suspended or deleted meanwhile
        except Invalid as problem:  # they are too old: trying again for ever would keep later calls waiting
            log.report_bug(problem, tenant_id=tenant_id)
        except Exception as problem:
            if not db.is_connection_error(problem):
                log.report_bug(problem, tenant_id=tenant_id)
            continue
        for lease in counted.leases:
            lease.open_holds -= counted.count
        del _unrecorded[call_key]


async def run_writer() -> None:
    """A lifespan task of what serves the API. Records the rest at shutdown."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            await record_calls()
    finally:
        for _ in range(2):  # calls that waited for a recording that was interrupted
            await record_calls()
