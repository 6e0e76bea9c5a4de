"""SQL of the identity module, for both realms. All tables are global."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.db import now
from shared.core.ids import new_id
from shared.identity.models import Operator, OperatorIdempotencyKey, PlatformKey, User, UserToken
from shared.identity.realms import Realm

RECORD_FORGED_SESSION = sa.text(
    "select record_security_event(:id, 'session_forged', :subject_id, 'session', '')"
)


def get_owner_id(realm: Realm, row: Any) -> str:
    return str(getattr(row, f"{realm.name}_id"))


# People and passwords


async def get_person(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.person, subject_id)


async def lock_person_shared(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """A shared lock on the person. `lock_user` waits for it and blocks it."""
    statement = select(realm.person.id).where(realm.person.id == subject_id)
    await session.exec(statement.with_for_update(read=True, key_share=True))


async def get_person_by_email(session: AsyncSession, realm: Realm, email: str) -> Any | None:
    return (await session.exec(select(realm.person).where(realm.person.email == email))).first()


async def lock_user_by_email(session: AsyncSession, email: str) -> User | None:
    """Also locks an unused address, so that two sign-ups cannot both create the user."""
    key = func.hashtextextended(f"email:{email}", 0)
    await session.exec(select(func.pg_advisory_xact_lock(key)))
    return (await session.exec(select(User).where(User.email == email).with_for_update())).first()


async def add_unverified_user(
    session: AsyncSession, user_id: str, email: str, *, name: str, sign_up_id: str
) -> None:
    """Unless a user has the address. For bulkhead_operator, which can't write users otherwise."""
    await session.exec(select(func.add_unverified_user(user_id, email, name, sign_up_id)))


async def lock_user(session: AsyncSession, user_id: str) -> User | None:
    """A lock that also waits for sessions and codes of the person that are being made, and blocks new ones."""
    return await session.get(User, user_id, with_for_update=True, populate_existing=True)


async def get_credential(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.credential, subject_id)


async def set_password(session: AsyncSession, realm: Realm, subject_id: str, password_hash: str) -> None:
    values = {"password_hash": password_hash, "changed_at": now()}
    statement = insert(realm.credential).values(**realm.owner_values(subject_id), **values)
    statement = statement.on_conflict_do_update(index_elements=[f"{realm.name}_id"], set_=values)
    await session.exec(statement)


async def delete_password(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    await session.exec(delete(realm.credential).where(realm.owner_column(realm.credential) == subject_id))


async def replace_password_hash(
    session: AsyncSession, realm: Realm, subject_id: str, old: str, new: str
) -> None:
    """Replace the hash unless the password was changed meanwhile."""
    table = realm.credential
    statement = (
        update(table).where(realm.owner_column(table) == subject_id).where(col(table.password_hash) == old)
    )
    await session.exec(statement.values(password_hash=new))


async def list_operators(session: AsyncSession) -> Sequence[Operator]:
    return (await session.exec(select(Operator).order_by(Operator.name, Operator.id))).all()


async def lock_operators(session: AsyncSession, role: str, *ids: str) -> dict[str, Operator]:
    """Lock the enabled operators with this role and the operators with these ids; returns them by id.

    One statement in one order prevents deadlocks. The lock does not block their sign-ins (FOR NO KEY UPDATE).
    """
    has_role = (col(Operator.role) == role) & col(Operator.disabled_at).is_(None)
    statement = select(Operator).where(has_role | col(Operator.id).in_(ids)).order_by(Operator.id)
    operators = await session.exec(
        statement.with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return {operator.id: operator for operator in operators}


# Sessions


def live_session_source(realm: Realm, token_hash: str) -> Any:
    """The live session with this hash as a source of a statement. It has the columns of `realm.session`, and no or one row."""
    table = realm.session
    function = getattr(func, f"find_{realm.name}_session")(token_hash)
    rows = function.table_valued(*(sa.column(column.name, column.type) for column in table.__table__.columns))
    return aliased(table, rows.alias(f"live_{realm.name}_session"), adapt_on_names=True)


async def get_live_session(session: AsyncSession, realm: Realm, token_hash: str) -> tuple[Any, Any] | None:
    """The live session and its person, in one statement. The caller checks its proof."""
    source, person = live_session_source(realm, token_hash), realm.person
    statement = (
        select(source, person)
        .join(person, col(person.id) == realm.owner_column(source))
        .where(col(person.disabled_at).is_(None))
    )
    return (await session.exec(statement)).first()


async def list_live_sessions(session: AsyncSession, realm: Realm, current_hash: str) -> Sequence[sa.Row[Any]]:
    """All live sessions of the person whose live session has this hash, most recently used first."""
    rows = await _call(session, "list_{}_sessions", realm, current_hash=current_hash)
    return rows.all()


async def add_session(session: AsyncSession, realm: Realm, row: Any) -> None:
    """Add a session and delete the expired ones of its person. The database refuses disabled people and a missing factor."""
    await _call(
        session,
        "open_{}_session",
        realm,
        id=row.id,
        owner_id=get_owner_id(realm, row),
        token_hash=row.token_hash,
        proof=row.proof,
        idle_time=realm.idle_timeout,
        expires_at=row.expires_at,
        address=row.address,
        agent=row.agent,
        factors=row.factors,
    )


async def touch_session(session: AsyncSession, realm: Realm, token_hash: str, interval: timedelta) -> None:
    values = {"token_hash": token_hash, "interval": interval, "idle_time": realm.idle_timeout}
    await _call(session, "touch_{}_session", realm, **values)


async def delete_session(session: AsyncSession, realm: Realm, token_hash: str) -> bool:
    return (await _call(session, "end_{}_session", realm, token_hash=token_hash)).first() is not None


async def delete_session_by_id(session: AsyncSession, realm: Realm, subject_id: str, session_id: str) -> str:
    values = {"owner_id": subject_id, "session_id": session_id}
    return (await _call(session, "end_{}_session_by_id", realm, **values)).scalar() or ""


async def delete_sessions(
    session: AsyncSession, realm: Realm, subject_id: str, except_hash: str
) -> Sequence[str]:
    values = {"owner_id": subject_id, "except_hash": except_hash}
    return (await _call(session, "end_{}_sessions", realm, **values)).scalars().all()


async def _call(session: AsyncSession, function: str, realm: Realm, **values: Any) -> sa.CursorResult[Any]:
    """`function`: a name with a gap for the realm. The values are its arguments, in this order."""
    arguments = ", ".join(f":{name}" for name in values)
    connection = await session.connection()
    statement = f"select * from {function.format(realm.name)}({arguments})"  # noqa: S608  our own words
    return await connection.execute(sa.text(statement), values)


async def lock_sessions(session: AsyncSession, realm: Realm, *, after: str, limit: int) -> Sequence[Any]:
    """Sessions of the realm with larger ids than `after`, in the order of their ids. For bulkhead_owner."""
    table = realm.session
    statement = select(table).where(table.id > after).order_by(table.id).limit(limit)
    return (await session.exec(statement.with_for_update(key_share=True))).all()


async def record_forged_session(session: AsyncSession, subject_id: str) -> None:
    connection = await session.connection()
    await connection.execute(RECORD_FORGED_SESSION, {"id": new_id("sec"), "subject_id": subject_id})


# Known devices


async def touch_device(session: AsyncSession, realm: Realm, subject_id: str, token_hash: str) -> bool:
    """False for a device that the person has not signed in with."""
    table = realm.device
    statement = (
        update(table)
        .where(realm.owner_column(table) == subject_id)
        .where(col(table.token_hash) == token_hash)
        .values(last_seen_at=now())
        .returning(col(table.id))
    )
    return (await session.exec(statement)).first() is not None


async def count_devices(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    table = realm.device
    statement = select(func.count()).select_from(table).where(realm.owner_column(table) == subject_id)
    return (await session.exec(statement)).one()


async def add_device(session: AsyncSession, realm: Realm, subject_id: str, token_hash: str) -> None:
    """Keeps the row of a concurrent sign-in with the same device."""
    values = {**realm.owner_values(subject_id), "id": new_id("dev"), "token_hash": token_hash}
    await session.exec(insert(realm.device).values(**values).on_conflict_do_nothing())


async def delete_old_devices(
    session: AsyncSession, realm: Realm, subject_id: str, lifetime: timedelta, most: int
) -> None:
    """Those that were not used for `lifetime`, and all but the `most` that were used last."""
    table = realm.device
    kept_ids = (
        select(table.id)
        .where(realm.owner_column(table) == subject_id)
        .where(col(table.last_seen_at) > now() - lifetime)
        .order_by(col(table.last_seen_at).desc(), col(table.id))
        .limit(most)
    )
    owned = delete(table).where(realm.owner_column(table) == subject_id)
    await session.exec(owned.where(col(table.id).not_in(kept_ids)))


# Links in mails


async def close_tokens(session: AsyncSession, user_id: str, purpose: str) -> None:
    await session.exec(
        update(UserToken)
        .where(col(UserToken.user_id) == user_id)
        .where(col(UserToken.purpose) == purpose)
        .where(col(UserToken.used_at).is_(None))
        .values(used_at=now())
    )


async def get_token(session: AsyncSession, token_id: str) -> UserToken | None:
    return await session.get(UserToken, token_id)


async def use_token(session: AsyncSession, token_id: str, purpose: str) -> str:
    """Mark the token as used and return its user id; "" when it is unusable."""
    statement = (
        update(UserToken)
        .where(col(UserToken.id) == token_id)
        .where(col(UserToken.purpose) == purpose)
        .where(col(UserToken.used_at).is_(None))
        .where(col(UserToken.expires_at) > now())
        .values(used_at=now())
        .returning(col(UserToken.user_id))
    )
    return (await session.exec(statement)).scalar() or ""


# Factors


async def get_realm_key(
    session: AsyncSession, realm: Realm, *, is_sealing: bool = False
) -> PlatformKey | None:
    """`is_sealing`: no renewal can replace the key before the transaction ends."""
    statement = select(PlatformKey).where(PlatformKey.id == realm.name)
    if is_sealing:
        statement = statement.with_for_update(read=True, key_share=True)
    return (await session.exec(statement.execution_options(populate_existing=True))).first()


async def lock_realm_key(session: AsyncSession, realm: Realm) -> PlatformKey | None:
    """Waits for transactions that seal with it. For bulkhead_owner."""
    return await session.get(PlatformKey, realm.name, populate_existing=True, with_for_update=True)


async def lock_kept_answers(session: AsyncSession) -> Sequence[OperatorIdempotencyKey]:
    """Answers to requests with operators' keys. For bulkhead_owner."""
    statement = (
        select(OperatorIdempotencyKey)
        .where(col(OperatorIdempotencyKey.body).is_not(None))
        .order_by(col(OperatorIdempotencyKey.id))
        .with_for_update(key_share=True)
    )
    return (await session.exec(statement)).all()


async def count_totps(session: AsyncSession, realm: Realm) -> int:
    return (await session.exec(select(func.count()).select_from(realm.totp))).one()


async def lock_totps(session: AsyncSession, realm: Realm, *, after: str, limit: int) -> Sequence[Any]:
    """In the order of their owners, those after one of them. For bulkhead_owner."""
    owner_column = realm.owner_column(realm.totp)
    statement = select(realm.totp).where(owner_column > after).order_by(owner_column).limit(limit)
    return (await session.exec(statement.with_for_update(key_share=True))).all()


async def lock_realm_keys(session: AsyncSession) -> Sequence[PlatformKey]:
    """The keys of both realms, for bulkhead_owner."""
    return (
        await session.exec(select(PlatformKey).order_by(PlatformKey.id).with_for_update(key_share=True))
    ).all()


async def add_realm_key(session: AsyncSession, realm: Realm, kek_id: int, wrapped: bytes) -> None:
    """Keeps the key of a concurrent request that was first."""
    statement = insert(PlatformKey).values(id=realm.name, kek_id=kek_id, wrapped=wrapped)
    await session.exec(statement.on_conflict_do_nothing())


async def get_totp(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.totp, subject_id, populate_existing=True)


async def add_totp(
    session: AsyncSession, realm: Realm, subject_id: str, sealed: bytes, confirmed_at: datetime | None
) -> None:
    """Keeps the seed of a concurrent request that was first."""
    values = {
        **realm.owner_values(subject_id),
        "sealed": sealed,
        "confirmed_at": confirmed_at,
        "last_step": 0,
    }
    await session.exec(insert(realm.totp).values(**values).on_conflict_do_nothing())


async def use_totp_step(session: AsyncSession, realm: Realm, subject_id: str, step: int) -> bool:
    """True when this step was not used; it and earlier steps become invalid."""
    table = realm.totp
    statement = (
        update(table).where(realm.owner_column(table) == subject_id).where(col(table.last_step) < step)
    )
    statement = statement.values(last_step=step).returning(realm.owner_column(table))
    return (await session.exec(statement)).first() is not None


async def confirm_totp(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    table = realm.totp
    await session.exec(
        update(table).where(realm.owner_column(table) == subject_id).values(confirmed_at=now())
    )


async def delete_factors(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    for table in (realm.totp, realm.recovery_code):
        await session.exec(delete(table).where(realm.owner_column(table) == subject_id))


async def replace_recovery_codes(
    session: AsyncSession, realm: Realm, subject_id: str, hashes: Sequence[str]
) -> None:
    table = realm.recovery_code
    await session.exec(delete(table).where(realm.owner_column(table) == subject_id))
    session.add_all(table(**realm.owner_values(subject_id), code_hash=code_hash) for code_hash in hashes)
    await session.flush()


async def use_recovery_code(session: AsyncSession, realm: Realm, subject_id: str, code_hash: str) -> bool:
    table = realm.recovery_code
    statement = (
        update(table)
        .where(realm.owner_column(table) == subject_id)
        .where(col(table.code_hash) == code_hash)
        .where(col(table.used_at).is_(None))
        .values(used_at=now())
        .returning(col(table.id))
    )
    return (await session.exec(statement)).first() is not None


async def count_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    table = realm.recovery_code
    statement = select(func.count()).select_from(table).where(realm.owner_column(table) == subject_id)
    return (await session.exec(statement.where(col(table.used_at).is_(None)))).one()


# Between password and code


async def add_challenge(
    session: AsyncSession, realm: Realm, subject_id: str, token_hash: str, expires_at: datetime
) -> None:
    table = realm.challenge
    is_expired = col(table.expires_at) <= now()
    await session.exec(delete(table).where(realm.owner_column(table) == subject_id).where(is_expired))
    session.add(table(**realm.owner_values(subject_id), token_hash=token_hash, expires_at=expires_at))
    await session.flush()


async def get_usable_challenge(
    session: AsyncSession, realm: Realm, token_hash: str, max_attempts: int
) -> Any | None:
    """None when it has expired or has no attempt left, or its person is disabled. Neither locks nor counts an attempt."""
    table, person = realm.challenge, realm.person
    statement = (
        select(table)
        .join(person, col(person.id) == realm.owner_column(table))
        .where(table.token_hash == token_hash)
        .where(table.expires_at > now())
        .where(table.attempts < max_attempts)
        .where(col(person.disabled_at).is_(None))
    )
    return (await session.exec(statement)).first()


async def lock_challenges(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Lock all challenges of a person in one order, because a correct code ends all of them."""
    table = realm.challenge
    statement = (
        select(table.id)
        .where(realm.owner_column(table) == subject_id)
        .order_by(col(table.id))
        .with_for_update(key_share=True)
    )
    await session.exec(statement)


async def count_attempt(session: AsyncSession, realm: Realm, challenge_id: str, max_attempts: int) -> int:
    """Count an attempt and return its number, 0 after too many. Called before the code is checked."""
    table = realm.challenge
    statement = (
        update(table)
        .where(col(table.id) == challenge_id)
        .where(col(table.attempts) < max_attempts)
        .values(attempts=col(table.attempts) + 1)
        .returning(col(table.attempts))
        .execution_options(synchronize_session=False)
    )
    return (await session.exec(statement)).scalar() or 0


async def delete_challenges(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    table = realm.challenge
    await session.exec(delete(table).where(realm.owner_column(table) == subject_id))
