"""Counts of decisions: refusals by person, allowed actions and internal errors by tenant.

Counted in memory and written by hour, each line at most once in ten seconds: a flood of refused attempts is one row
whose number grows. A killed process loses the counts it hasn't written, so a count is a lower bound. Each write deletes
expired rows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from shared.access import decision_counts_repository, decision_records
from shared.access.actions import ACTIONS, Action
from shared.access.decision_records import RefusedPrincipal
from shared.access.models import DecisionCount, DecisionRecord
from shared.access.privileged_actions import is_privileged
from shared.access.refusal_codes import ALLOWED_REASONS, Reason
from shared.audit import attempts
from shared.audit.attempts import Attempt
from shared.audit.event_types import AuditResult
from shared.core import db, log, metric_catalog, traffic, transaction_retries
from shared.core.context import Ctx, Surface
from shared.core.db import now
from shared.core.errors import DomainError, Refused

WRITE_INTERVAL = 10.0  # seconds between two writes of one line
RETENTION = timedelta(days=90)  # the reports look twelve weeks back
ERROR_REASON = "error"  # the reason of a bug
ANY_ACTOR = ""  # actor of what was allowed: nobody counts what a person did right


class DecisionKey(NamedTuple):
    hour: datetime
    actor_id: str
    action: str
    reason: str
    plan: str


@dataclass(slots=True)
class PendingCount:
    count: int = 0
    last_at: datetime | None = None
    request_id: str = ""
    written_at: float = 0.0


_pending: dict[str, dict[DecisionKey, PendingCount]] = {}  # by tenant


def count_allowed(ctx: Ctx, action: Action, reason: str) -> None:
    """Of what a plan, a limit or a flag could have refused, and of what changes something.

    Once for a transaction, however often it asks: with the last reason, and not at all if it is refused in the end.
    """
    if action.writes or action.feature or action.flag or action.limit:
        decision_records.note_allowed(ctx, action, reason)


async def record_refused(
    principal: RefusedPrincipal, refusal: Refused, request_id: str, *, surface: Surface
) -> None:
    """Count a refusal, and record it where not too many equal ones were recorded in this minute.

    In a transaction of its own. `refusal` has the id of its record then. Nothing without an action. A privileged action is
    recorded in the audit log besides.
    """
    if not refusal.action:
        return
    metric_catalog.refusals.add(str(refusal.reason))
    _count(
        principal.tenant_id,
        principal.actor.id,
        refusal.action,
        refusal.reason,
        principal.rights.plan,
        request_id,
    )
    record = decision_records.build_refused(principal, refusal, request_id, surface=surface)
    is_written = await write_counts(principal.tenant_id, record=record)
    refusal.decision_id = record.id if record is not None and is_written else ""
    if (action := ACTIONS.get(refusal.action)) is not None and is_privileged(action):
        await attempts.record_member_attempt(
            Attempt(
                actor=principal.actor,
                action=action.name,
                description=action.description,
                result=AuditResult.DENIED,
                cause=str(refusal.reason),
                request_id=request_id,
                tenant_id=principal.tenant_id,
                holder_id=principal.holder_id,
                details={"decision": refusal.decision_id} if refusal.decision_id else {},
            )
        )


def count_error(ctx: Ctx) -> None:
    _count(ctx.tenant_id, ANY_ACTOR, "", ERROR_REASON, ctx.rights.plan, ctx.request_id)


def _count(tenant_id: str, actor_id: str, action: str, reason: str, plan: str, request_id: str) -> None:
    at = now()
    key = DecisionKey(_start_of_hour(at), actor_id, action, str(reason), plan)
    if reason not in (Reason.ALLOWED, ERROR_REASON):
        is_about_limit = reason in (Reason.LIMIT_REACHED, Reason.LIMIT_WARNED)
        traffic.count_decision(tenant_id, str(reason), is_about_limit=is_about_limit)
    count = _pending.setdefault(tenant_id, {}).setdefault(key, PendingCount())
    count.count, count.last_at, count.request_id = count.count + 1, at, request_id


@dataclass(slots=True)
class TransactionDecisions:
    """Whose decisions they are, once that is known."""

    ctx: Ctx | None = None

    def set_context(self, ctx: Ctx) -> None:
        self.ctx = ctx


@asynccontextmanager
async def counting_decisions() -> AsyncIterator[TransactionDecisions]:
    """Around a transaction: counts how it ended and, when it has ended, writes what is due of its tenant."""
    decisions = TransactionDecisions()
    try:
        yield decisions
    except Refused as refusal:
        if (ctx := decisions.ctx) is not None:
            ctx.allowed_actions.pop(refusal.action, None)
            await record_refused(ctx, refusal, ctx.request_id, surface=ctx.surface)
        raise
    except DomainError:
        raise
    except Exception:
        if decisions.ctx is not None:
            count_error(decisions.ctx)
        raise
    finally:
        if (ctx := decisions.ctx) is not None:
            for action, decision in ctx.allowed_actions.items():
                _count(ctx.tenant_id, ANY_ACTOR, action, decision.reason, ctx.rights.plan, ctx.request_id)
            await write_counts(ctx.tenant_id)


async def write_counts(tenant_id: str, *, force: bool = False, record: DecisionRecord | None = None) -> bool:
    """What is due of one tenant, in a transaction of its own: the one that was refused is gone.

    `record`: of a refusal, which is due at once. Returns whether it is written.
    """
    counts, clock = _pending.get(tenant_id, {}), time.monotonic()
    due: dict[tuple[datetime, str, str, str, str], tuple[int, datetime, str]] = {}
    for key, count in list(counts.items()):
        if count.count and (force or clock - count.written_at >= WRITE_INTERVAL):
            due[key] = (count.count, count.last_at or now(), count.request_id)
            count.count, count.written_at = 0, clock
        elif not count.count and key.hour < _start_of_hour(now()):
            del counts[key]
    if not counts:
        _pending.pop(tenant_id, None)
    if not due and record is None:
        return False
    try:
        with transaction_retries.outside_of_runs():
            async with db.transaction(tenant_id=tenant_id) as session:
                if due:
                    await decision_counts_repository.delete_counts(session, tenant_id, now() - RETENTION)
                    await decision_counts_repository.add_counts(session, tenant_id, due)
                if record is not None:
                    session.add(record)
        return record is not None
    except SQLAlchemyError:  # counting must not break what was counted
        log.get_logger(__name__).exception("decisions_not_counted", tenant_id=tenant_id)
        counts = _pending.setdefault(tenant_id, {})  # another one by now, if nothing was left to count
        for key_fields, (lost_count, at, request_id) in due.items():
            counts.setdefault(
                DecisionKey(*key_fields), PendingCount(last_at=at, request_id=request_id)
            ).count += lost_count
        return False


async def list_refusals(
    ctx: Ctx, *, action: str = "", request_id: str = "", limit: int = 50
) -> Sequence[DecisionCount]:
    """Refusals and internal errors of this tenant, newest first. The caller checks the permission."""
    return await decision_counts_repository.list_refusals(
        ctx, sorted(ALLOWED_REASONS), action=action, request_id=request_id, limit=limit
    )


async def flush() -> None:
    for tenant_id in list(_pending):
        await write_counts(tenant_id, force=True)


async def run_writer() -> None:
    """A lifespan task: writes counts that no later request would write, and the rest at shutdown."""
    try:
        while True:
            await asyncio.sleep(WRITE_INTERVAL)
            for tenant_id in list(_pending):
                await write_counts(tenant_id)
    finally:
        await flush()


def _start_of_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
