"""Ask the provider without having been told: what webhooks lost is found, written down and repaired.

Part of why billing is right, and not an extra: an event that never came has no other remedy. Every customer is looked
at once a day by the same steps as for a webhook; an operator may have all of them looked at now.
"""

import asyncio
from datetime import UTC, timedelta

from shared.access import actions, policy
from shared.audit import trail
from shared.billing import inbox_repository, sync
from shared.billing import reconcile_repository as repository
from shared.billing.apply import Effect
from shared.billing.models import ReconcileRun
from shared.core import db, log, notices
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.jobs import queue

ALL = "platform.reconcile"
EVERY = timedelta(days=1)  # at least, for every customer
NAP = 60.0  # seconds between looks at the clock
STEP = 100  # customers listed together
AT_ONCE = 4  # looked at together; the pace of the account is kept by its gateway


async def run() -> None:
    """Until cancelled: every hour one worker looks at those that nobody has looked at for a day."""
    while True:
        try:
            run_id = await _begin_hour()
            if run_id:
                await go(run_id)
        except Exception as problem:
            log.report(problem, task=ALL)
        await asyncio.sleep(NAP)


async def ask(octx: OperatorCtx, reason: str) -> str:
    """Promises a look at every customer. Id of the run. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_BILLING_RECONCILE)
    row = ReconcileRun(cause="operator", by_name=octx.actor.name, reason=reason.strip())
    octx.session.add(row)
    trail.record_operator(octx, "billing.reconcile_asked", row.id, reason=reason)
    await queue.put_platform(octx.session, ALL, in_turn=ALL, run_id=row.id)
    return row.id


async def go(run_id: str) -> None:
    """All that this run is about. Going on where another worker died does no harm: who was seen is seen."""
    async with db.transaction() as session:
        begun = await repository.get_run(session, run_id)
    if begun is None or begun.finished_at is not None:
        return
    since = begun.started_at - (EVERY if begun.cause == "schedule" else timedelta())
    checked, drifted, failed = 0, 0, set[tuple[str, str]]()
    limit = asyncio.Semaphore(AT_ONCE)

    async def one_of(account_id: str, customer_id: str, tenant_id: str) -> Effect | None:
        async with limit:
            return await _try(account_id, customer_id, tenant_id, run_id)

    while True:
        async with db.transaction() as session:
            listed = await inbox_repository.list_unseen(session, since, STEP + len(failed))
        left = [one for one in listed if one[:2] not in failed]
        if not left:
            break
        for place, effect in zip(left, await asyncio.gather(*(one_of(*one) for one in left)), strict=True):
            checked += 1
            if effect is None:
                failed.add(place[:2])
            elif effect.differences:
                drifted += 1
        async with db.transaction() as session:
            await repository.note(session, run_id, checked, drifted, len(failed))
    async with db.transaction() as session:
        await repository.note(session, run_id, checked, drifted, len(failed), finished=True)
        await notices.page(session, "*", "billing")
        await inbox_repository.prune(session)


async def one(account_id: str, customer_id: str, tenant_id: str, run_id: str = "") -> Effect:
    """Raises as the provider does."""
    effect = await sync.look(account_id, customer_id, tenant_id, cause="reconcile", run_id=run_id)
    if effect.differences:
        log.get(__name__).error(
            "billing_drift",
            tenant_id=tenant_id,
            customer_id=customer_id,
            what=[d.what for d in effect.differences],
        )
    return effect


async def _try(account_id: str, customer_id: str, tenant_id: str, run_id: str) -> Effect | None:
    try:
        return await one(account_id, customer_id, tenant_id, run_id)
    except Exception as problem:  # the others are looked at all the same; the run counts this one
        log.get(__name__).warning(
            "reconcile_failed", tenant_id=tenant_id, customer_id=customer_id, problem=type(problem).__name__
        )
        return None


async def _begin_hour() -> str:
    """Id of the run of this hour, for whoever is first to begin it; "" for the others."""
    hour = now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    row = ReconcileRun(id=f"rcr_{hour:%Y%m%d%H}", cause="schedule", by_name="Bulkhead", started_at=now())
    async with db.transaction() as session:
        return row.id if await repository.begin(session, row) else ""
