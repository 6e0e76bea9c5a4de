"""SQL of the audit module."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import (
    ACCOUNT_ACTIONS,
    RESULT_KEY,
    AuditAction,
    AuditResult,
    OperatorAuditAction,
)
from shared.audit.models import AuditEvent, AuditSeal, OperatorEvent, SecurityEvent
from shared.core.context import Ctx
from shared.core.paging import after_cursor, contains_text, encode_cursor

HAS_TENANT = text("select exists (select from tenant where id = :tenant_id)")


def get_cursor(event: AuditEvent) -> str:
    assert event.at is not None
    return encode_cursor(event.at, event.tenant_id, event.id)


def _filter_conditions(criteria: "AuditFilter", tenant_id: str) -> list[ColumnElement[bool]]:
    conditions = _common_conditions(criteria, AuditEvent)
    if tenant_id:
        conditions.insert(0, col(AuditEvent.tenant_id) == tenant_id)
    if criteria.hides_accounts:
        conditions.append(col(AuditEvent.action).not_in(ACCOUNT_ACTIONS))
    return conditions


def _common_conditions(
    criteria: "AuditFilter", table: type[AuditEvent] | type[OperatorEvent]
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if criteria.actor:
        name = contains_text(col(table.actor_name), criteria.actor)
        conditions.append(or_(col(table.actor_id) == criteria.actor, name))
    if criteria.action.endswith("."):
        conditions.append(col(table.action).startswith(criteria.action, autoescape=True))
    elif criteria.action:
        conditions.append(col(table.action) == criteria.action)
    if criteria.object_id:
        conditions.append(col(table.object_id) == criteria.object_id)
    if criteria.request_id:
        conditions.append(col(table.request_id) == criteria.request_id)
    if criteria.event_id:
        conditions.append(col(table.id) == criteria.event_id)
    if criteria.result:
        conditions.append(_has_result(col(table.details), criteria.result))
    if criteria.since:
        conditions.append(col(table.at) >= criteria.since)
    if criteria.until:
        conditions.append(col(table.at) < criteria.until)
    return conditions


def _has_result(
    details: Any, result: AuditResult
) -> ColumnElement[bool]:  # Any: a JSONB column of either table
    stored: ColumnElement[str] = details[RESULT_KEY].astext
    return stored.is_(None) if result is AuditResult.DONE else stored == result.value


async def list_events(
    session: AsyncSession, criteria: "AuditFilter", *, tenant_id: str, after: str, limit: int
) -> Sequence[AuditEvent]:
    """Newest first. With an empty `tenant_id`, all rows that row security shows the session. Raises Invalid."""
    conditions = _filter_conditions(criteria, tenant_id)
    sort_key = (col(AuditEvent.at), col(AuditEvent.tenant_id), col(AuditEvent.id))
    conditions += after_cursor(sort_key, after, descending=True)
    statement = (
        select(AuditEvent)
        .where(and_(True, *conditions))
        .order_by(*(column.desc() for column in sort_key))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def count_events(ctx: Ctx, criteria: "AuditFilter") -> int:
    statement = (
        select(func.count())
        .select_from(AuditEvent)
        .where(and_(True, *_filter_conditions(criteria, ctx.tenant_id)))
    )
    return (await ctx.session.exec(statement)).one()


async def find_event(ctx: Ctx, event_id: str) -> AuditEvent | None:
    return await ctx.session.get(AuditEvent, (ctx.tenant_id, event_id))


async def has_tenant(session: AsyncSession, tenant_id: str) -> bool:
    """For a session of this tenant."""
    connection = await session.connection()
    return bool((await connection.execute(HAS_TENANT, {"tenant_id": tenant_id})).scalar_one())


async def has_event(session: AsyncSession, tenant_id: str, event_id: str) -> bool:
    return await session.get(AuditEvent, (tenant_id, event_id)) is not None


async def list_numbers(ctx: Ctx, event_ids: Sequence[str]) -> dict[str, int]:
    """The numbers of sealed events, by id. Events of format 1 carry theirs."""
    statement = (
        select(AuditSeal.id, AuditSeal.seq)
        .where(AuditSeal.tenant_id == ctx.tenant_id)
        .where(col(AuditSeal.id).in_(event_ids))
    )
    return dict((await ctx.session.exec(statement)).all())


async def count_events_of(ctx: Ctx, actor_id: str, *, action: AuditAction, since: datetime) -> int:
    statement = (
        select(func.count())
        .select_from(AuditEvent)
        .where(AuditEvent.tenant_id == ctx.tenant_id)
        .where(AuditEvent.actor_id == actor_id)
        .where(AuditEvent.action == action)
        .where(col(AuditEvent.at) >= since)
    )
    return (await ctx.session.exec(statement)).one()


async def count_operator_events_of(
    session: AsyncSession, actor_id: str, *, action: OperatorAuditAction, since: datetime
) -> int:
    statement = (
        select(func.count())
        .select_from(OperatorEvent)
        .where(OperatorEvent.actor_id == actor_id)
        .where(OperatorEvent.action == action)
        .where(col(OperatorEvent.at) >= since)
    )
    return (await session.exec(statement)).one()


async def list_operator_events(
    session: AsyncSession, criteria: "AuditFilter", *, after: int | None, limit: int
) -> Sequence[OperatorEvent]:
    conditions = and_(True, *_common_conditions(criteria, OperatorEvent))
    statement = select(OperatorEvent).where(conditions).order_by(col(OperatorEvent.seq).desc()).limit(limit)
    if after is not None:
        statement = statement.where(col(OperatorEvent.seq) < after)
    return (await session.exec(statement)).all()


CHECK_OPERATOR_CHAIN = text("""
    with links as (
        select seq, prev, hash, operator_hash(e) as right_hash,
               lag(hash, 1, '\\x00'::bytea) over (order by seq) as before, row_number() over (order by seq) as place
        from operator_event e)
    select count(*), min(seq) filter (where hash <> right_hash or prev <> before or seq <> place) from links
""")


async def check_operator_chain(session: AsyncSession) -> tuple[int, int | None]:
    """(rows, number of the first wrong row)."""
    connection = await session.connection()
    rows, first_broken = (await connection.execute(CHECK_OPERATOR_CHAIN)).one()
    return rows, first_broken


async def record_security_event(session: AsyncSession, *values: str) -> None:
    connection = await session.connection()
    parameters = dict(zip("abcde", values, strict=True))
    await connection.execute(text("select record_security_event(:a, :b, :c, :d, :e)"), parameters)


async def list_security_events(
    session: AsyncSession, *, since: datetime, limit: int
) -> Sequence[SecurityEvent]:
    statement = (
        select(SecurityEvent)
        .where(col(SecurityEvent.at) >= since)
        .order_by(col(SecurityEvent.at).desc(), col(SecurityEvent.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()
