"""SQL of operators' keys, and of the answers that are kept for them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, or_, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.db import now
from shared.core.paging import after_cursor, encode_cursor
from shared.identity.models import Operator, OperatorIdempotencyKey, OperatorKey

NEWEST = (col(OperatorKey.created_at), col(OperatorKey.id))


class OperatorKeyStanding(NamedTuple):
    """A key, and the operator whose it is."""

    key_id: str
    key_name: str
    scopes: Sequence[str]
    networks: Sequence[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    is_previous: bool  # the text that a rotation replaced
    previous_ends_at: datetime | None
    last_used_at: datetime | None
    last_used_address: str
    operator_id: str
    operator_name: str
    operator_role: str
    operator_disabled_at: datetime | None


async def find_standing(session: AsyncSession, secret_hash: str) -> OperatorKeyStanding | None:
    statement = (
        select(OperatorKey, Operator)
        .join(Operator, col(Operator.id) == OperatorKey.operator_id)
        .where(or_(OperatorKey.secret_hash == secret_hash, OperatorKey.previous_hash == secret_hash))
    )
    key_and_operator = (await session.exec(statement)).first()
    if key_and_operator is None:
        return None
    key, operator = key_and_operator
    return OperatorKeyStanding(
        key_id=key.id,
        key_name=key.name,
        scopes=key.scopes,
        networks=key.networks,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        is_previous=key.secret_hash != secret_hash,
        previous_ends_at=key.previous_ends_at,
        last_used_at=key.last_used_at,
        last_used_address=key.last_used_address,
        operator_id=operator.id,
        operator_name=operator.name,
        operator_role=operator.role,
        operator_disabled_at=operator.disabled_at,
    )


async def note_use(session: AsyncSession, key_id: str, address: str, *, every: timedelta) -> None:
    """Unless the last use that is noted is younger, or another transaction works on the key: it doesn't wait."""
    used_at = col(OperatorKey.last_used_at)
    due = (
        select(OperatorKey.id)
        .where(OperatorKey.id == key_id)
        .where(or_(used_at.is_(None), used_at <= now() - every))
        .with_for_update(skip_locked=True, key_share=True)
    )
    await session.exec(
        update(OperatorKey)
        .where(col(OperatorKey.id).in_(due))
        .values(last_used_at=now(), last_used_address=address)
    )


async def list_keys(
    session: AsyncSession, operator_id: str, *, after: str, limit: int
) -> Sequence[tuple[OperatorKey, Operator]]:
    """Newest first. `operator_id`: "" for those of all operators. Raises Invalid for an unknown page."""
    statement = (
        select(OperatorKey, Operator)
        .join(Operator, col(Operator.id) == OperatorKey.operator_id)
        .where(*after_cursor(NEWEST, after, descending=True))
        .order_by(*(column.desc() for column in NEWEST))
        .limit(limit)
    )
    if operator_id:
        statement = statement.where(OperatorKey.operator_id == operator_id)
    return (await session.exec(statement)).all()


def get_cursor(key: OperatorKey) -> str:
    return encode_cursor(key.created_at, key.id)


async def lock_operator(session: AsyncSession, operator_id: str) -> Operator | None:
    return await session.get(
        Operator, operator_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def lock_key(session: AsyncSession, key_id: str) -> OperatorKey | None:
    return await session.get(OperatorKey, key_id, with_for_update={"key_share": True}, populate_existing=True)


async def count_working_keys(session: AsyncSession, operator_id: str) -> int:
    """Keys that are not revoked."""
    statement = (
        select(func.count())
        .select_from(OperatorKey)
        .where(OperatorKey.operator_id == operator_id)
        .where(col(OperatorKey.revoked_at).is_(None))
    )
    return (await session.exec(statement)).one()


async def revoke_keys_of(session: AsyncSession, operator_id: str, revoked_by: str) -> int:
    """All that are not revoked. Returns how many."""
    result: Any = await session.exec(
        update(OperatorKey)
        .where(col(OperatorKey.operator_id) == operator_id)
        .where(col(OperatorKey.revoked_at).is_(None))
        .values(revoked_at=now(), revoked_by=revoked_by)
    )
    return int(result.rowcount)


async def add_answer(session: AsyncSession, row_id: str, request_digest: str) -> bool:
    """False where the row exists. Waits for a transaction that is adding it."""
    statement = (
        insert(OperatorIdempotencyKey)
        .values(id=row_id, request_digest=request_digest, headers={}, created_at=now())
        .on_conflict_do_nothing()
        .returning(col(OperatorIdempotencyKey.id))
    )
    return (await session.exec(statement)).first() is not None


async def get_answer(session: AsyncSession, row_id: str) -> OperatorIdempotencyKey:
    return await session.get_one(OperatorIdempotencyKey, row_id, populate_existing=True)


async def delete_expired_answers(session: AsyncSession, row_id: str, *, before: datetime, limit: int) -> None:
    """The one that is named, if it has expired, and the oldest ones. Rows that another request deletes are skipped."""
    expired = (
        select(OperatorIdempotencyKey.id)
        .where(OperatorIdempotencyKey.created_at < before)
        .order_by((col(OperatorIdempotencyKey.id) == row_id).desc(), col(OperatorIdempotencyKey.created_at))
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    if expired_ids := (await session.exec(expired)).all():
        await session.exec(
            delete(OperatorIdempotencyKey).where(col(OperatorIdempotencyKey.id).in_(expired_ids))
        )
