"""Records of decisions: one for each refusal, and one for each action that a transaction was allowed and wrote for.

An allowed action is recorded by the transaction that it was allowed to, at its end. A refusal is recorded in a transaction
of its own (`decision_counts`). Refusals are bounded in each process: at most `MAX_EQUAL` a minute of one actor and action,
`MAX_OF_TENANT` a minute of one tenant, and `MAX_OF_HOLDER_A_DAY` of one person, have a record. `decision_counts` counts all
of them. Records are deleted after `RETENTION`.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared.access import decision_records_repository as repository
from shared.access.actions import Action, OperatorAction
from shared.access.models import RECORD_PREFIX, DecisionRecord
from shared.access.refusal_codes import ALLOWED_REASONS, LAYER_BY_REASON, Reason
from shared.core import db, log
from shared.core.context import Actor, AllowedDecision, Ctx, OperatorCtx, Rights, Surface
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import is_id, new_id
from shared.core.token_buckets import TokenBuckets

RETENTION = timedelta(days=90)
MAX_EQUAL = 5  # records of one actor's refusals of one action, a minute
MAX_OF_TENANT = 300  # records of all refusals of one tenant, a minute
MAX_OF_HOLDER_A_DAY = 1_000  # records of all refusals of one person or job, with all keys
MINUTE_S, DAY_S = 60, 86_400
MAX_OF_REQUEST = 50  # records of one request that are listed
PURGE_SIZE = 5_000  # records that one transaction deletes
PURGE_INTERVAL_S = 3600.0

_buckets = TokenBuckets()


class RefusedPrincipal(Protocol):
    """Whose refusal it is: a `Ctx`, or whoever was refused before there was one."""

    @property
    def tenant_id(self) -> str: ...
    @property
    def actor(self) -> Actor: ...
    @property
    def holder_id(self) -> str: ...
    @property
    def rights(self) -> Rights: ...


def note_allowed(ctx: Ctx | OperatorCtx, action: Action | OperatorAction, reason: str) -> None:
    """Once for a transaction, however often it asks: with the last reason."""
    decision = ctx.allowed_actions.get(action.name)
    if decision is None:
        decision_id = new_id(RECORD_PREFIX) if action.writes else ""
        ctx.allowed_actions[action.name] = AllowedDecision(decision_id, now(), reason)
    else:
        decision.reason = reason


def add_allowed(ctx: Ctx) -> None:
    """Record what was allowed, in the caller's transaction and at its end. Nothing where it writes nothing."""
    if ctx.allowed_actions and db.has_written(ctx.session):
        _add_records(ctx, ctx)


def add_operators_allowed(ctx: Ctx, octx: OperatorCtx, *, visit_writes: int) -> None:
    """Record in a tenant what an operator was allowed and wrote there. `ctx`: the operator's visit.

    `visit_writes`: by `db.count_writes`, before the operator did anything there. The record of the visit is no change.
    """
    if octx.allowed_actions and db.has_written(octx.session, since=visit_writes):
        _add_records(octx, ctx)
        octx.allowed_actions.clear()


def _add_records(asked: Ctx | OperatorCtx, ctx: Ctx) -> None:
    ctx.session.add_all(
        _build_record(
            ctx,
            decision.id,
            name,
            decision.reason,
            at=decision.at,
            request_id=ctx.request_id,
            surface=ctx.surface,
        )
        for name, decision in asked.allowed_actions.items()
        if decision.id
    )


def find_recorded_id(ctx: Ctx, action: Action | None) -> str:
    """The id of what this transaction was allowed and will record: of `action`, or of the last one that it asked for.

    "" where it records nothing.
    """
    if not db.has_written(ctx.session):
        return ""
    own_record = ctx.allowed_actions.get(action.name) if action is not None else None
    ids = [decision.id for decision in ctx.allowed_actions.values() if decision.id]
    return own_record.id if own_record is not None and own_record.id else ids[-1] if ids else ""


def build_refused(
    principal: RefusedPrincipal, refusal: Refused, request_id: str, *, surface: Surface
) -> DecisionRecord | None:
    """The record of a refusal; None where enough of them were recorded in this minute, or of one person in a day."""
    tenant_id, actor_id = principal.tenant_id, principal.actor.id
    if not (
        _take_token(f"{tenant_id}/{actor_id}/{refusal.action}", MAX_EQUAL, seconds=MINUTE_S)
        and _take_token(f"{tenant_id}/{principal.holder_id or actor_id}", MAX_OF_HOLDER_A_DAY, seconds=DAY_S)
        and _take_token(tenant_id, MAX_OF_TENANT, seconds=MINUTE_S)
    ):
        return None
    return _build_record(
        principal,
        new_id(RECORD_PREFIX),
        refusal.action,
        refusal.reason,
        at=now(),
        request_id=request_id,
        surface=surface,
    )


def _take_token(name: str, count: int, *, seconds: int) -> bool:
    """Take one of `count` tokens, which come back within `seconds`. False where none is left."""
    bucket = _buckets.get(name, count / seconds, count)
    if bucket.take(1) == 0:
        return True
    bucket.give_back(1)
    return False


def _build_record(
    principal: RefusedPrincipal,
    record_id: str,
    action: str,
    reason: str,
    *,
    at: datetime,
    request_id: str,
    surface: Surface,
) -> DecisionRecord:
    actor = principal.actor
    is_holder = actor.type in ("user", "api_key", "service_account")
    return DecisionRecord(
        tenant_id=principal.tenant_id,
        id=record_id,
        at=at,
        surface=surface,
        actor_type=actor.type,
        actor_id=actor.id,
        holder_id=principal.holder_id if is_holder else "",
        action=action,
        allowed=reason in ALLOWED_REASONS,
        layer=LAYER_BY_REASON[Reason(reason)],
        reason=str(reason),
        plan_version=principal.rights.plan_version,
        billing_status=principal.rights.billing_status,
        request_id=request_id,
    )


def is_record_id(text: str) -> bool:
    return is_id(RECORD_PREFIX, text)


async def find_record(ctx: Ctx, record_id: str) -> DecisionRecord | None:
    """None for an unknown id, and for another tenant's. The caller checks the permission."""
    return await repository.find_record(ctx, record_id)


async def list_of_requests(ctx: Ctx, request_ids: Sequence[str]) -> Sequence[DecisionRecord]:
    """The newest records of each of these requests, the oldest first. The caller checks the permission."""
    return await repository.list_of_requests(ctx, request_ids, MAX_OF_REQUEST)


async def delete_old(before: datetime | None = None) -> int:
    """Records from before that time, or older than `RETENTION`, of all tenants. Returns how many."""
    total, limit = 0, before or now() - RETENTION
    while True:
        async with db.transaction() as session:
            count = await repository.delete_old(session, limit, PURGE_SIZE)
        total += count
        if count < PURGE_SIZE:
            return total


async def run_purge() -> None:
    """A task of the worker: deletes old records every hour, until cancelled."""
    while True:
        try:
            await delete_old()
        except Exception as problem:
            log.get_logger(__name__).error("old_decisions_not_deleted", problem=type(problem).__name__)
        await asyncio.sleep(PURGE_INTERVAL_S)
