"""All SQL of the identity module, for both realms. The tables here are global: the caller's database role decides."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, delete, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.db import now
from shared.identity.models import PlatformKey, User, UserToken
from shared.identity.realms import Realm


async def get_subject_by_email(session: AsyncSession, realm: Realm, email: str) -> Any | None:
    return (await session.exec(select(realm.subject).where(realm.subject.email == email))).first()


async def get_subject(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.subject, subject_id)


async def lock_subject(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.subject, subject_id, with_for_update=True)


async def get_credential(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    return await session.get(realm.credential, subject_id)


async def get_session(session: AsyncSession, realm: Realm, token_hash: str, at: datetime) -> tuple[Any, Any] | None:
    """(session, its person), while neither is over."""
    kept, person = realm.session, realm.subject
    statement = (
        select(kept, person)
        .join(person, person.id == getattr(kept, realm.whose))
        .where(kept.token_hash == token_hash)
        .where(kept.expires_at > at)
        .where(kept.idle_expires_at > at)
        .where(person.disabled_at.is_(None))
    )
    found: tuple[Any, Any] | None = (await session.exec(statement)).first()
    return found


async def touch_session(session: AsyncSession, realm: Realm, token_hash: str, idle_until: datetime, before: datetime) -> None:
    kept = realm.session
    await session.exec(
        update(kept)
        .where(kept.token_hash == token_hash)
        .where(kept.last_seen_at < before)
        .values(last_seen_at=now(), idle_expires_at=idle_until)
    )


async def delete_session(session: AsyncSession, realm: Realm, token_hash: str) -> None:
    await session.exec(delete(realm.session).where(realm.session.token_hash == token_hash))


async def list_sessions(session: AsyncSession, realm: Realm, subject_id: str) -> Sequence[Any]:
    kept = realm.session
    statement = (
        select(kept)
        .where(getattr(kept, realm.whose) == subject_id)
        .where(kept.expires_at > now())
        .where(kept.idle_expires_at > now())
        .order_by(kept.last_seen_at.desc(), kept.id)
    )
    return (await session.exec(statement)).all()


async def get_totp(session: AsyncSession, realm: Realm, subject_id: str, *, lock: bool = False) -> Any | None:
    return await session.get(realm.totp, subject_id, with_for_update=lock or None)


async def use_step(session: AsyncSession, realm: Realm, subject_id: str, step: int) -> bool:
    """True for whoever uses this step, or a later one, first."""
    factor = realm.totp
    done: CursorResult[Any] = await session.exec(
        update(factor).where(getattr(factor, realm.whose) == subject_id).where(factor.last_step < step).values(last_step=step)
    )
    return done.rowcount == 1


async def use_recovery_code(session: AsyncSession, realm: Realm, subject_id: str, code_hash: str) -> bool:
    code = realm.recovery
    done: CursorResult[Any] = await session.exec(
        update(code)
        .where(getattr(code, realm.whose) == subject_id)
        .where(code.code_hash == code_hash)
        .where(code.used_at.is_(None))
        .values(used_at=now())
    )
    return done.rowcount == 1


async def count_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    code = realm.recovery
    statement = select(code.id).where(getattr(code, realm.whose) == subject_id).where(code.used_at.is_(None))
    return len((await session.exec(statement)).all())


async def delete_factor(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    for table in (realm.recovery, realm.totp):
        await session.exec(delete(table).where(getattr(table, realm.whose) == subject_id))


async def delete_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    await session.exec(delete(realm.recovery).where(getattr(realm.recovery, realm.whose) == subject_id))


async def lock_challenge(session: AsyncSession, realm: Realm, token_hash: str) -> Any | None:
    statement = (
        select(realm.challenge)
        .where(realm.challenge.token_hash == token_hash)
        .where(realm.challenge.expires_at > now())
        .with_for_update()
    )
    return (await session.exec(statement)).first()


async def delete_challenges(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    await session.exec(delete(realm.challenge).where(getattr(realm.challenge, realm.whose) == subject_id))


async def get_user_token(session: AsyncSession, token_id: str, *, lock: bool = False) -> UserToken | None:
    return await session.get(UserToken, token_id, with_for_update=lock or None)


async def close_user_tokens(session: AsyncSession, user_id: str, purpose: str) -> None:
    await session.exec(
        update(UserToken)
        .where(col(UserToken.user_id) == user_id)
        .where(col(UserToken.purpose) == purpose)
        .where(col(UserToken.used_at).is_(None))
        .values(used_at=now())
    )


async def get_platform_key(session: AsyncSession, realm: Realm) -> PlatformKey | None:
    return await session.get(PlatformKey, realm.name)


async def list_operators(session: AsyncSession, realm: Realm) -> Sequence[Any]:
    return (await session.exec(select(realm.subject).order_by(realm.subject.name, realm.subject.id))).all()


async def lock_user_by_email(session: AsyncSession, email: str) -> User | None:
    return (await session.exec(select(User).where(User.email == email).with_for_update())).first()
