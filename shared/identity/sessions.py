"""Server-side sessions: an opaque token in a cookie, its hash in a row. Deleting the row ends the session everywhere.

A session has an idle and an absolute timeout; both are checked when the row is read. Signing in and every elevation
create a new row and delete the old one, so that no token survives a change of rights. `find` takes no lock, because a
lock would make the person's other tabs wait.

The apps' database roles cannot read the rows: functions find one session by its hash. A row without a valid proof, which
needs a master key, is no session (`session_proofs`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from shared.core import crypto, live_events
from shared.core.db import now
from shared.core.errors import NotSignedIn
from shared.identity import cookies, repository, session_proofs
from shared.identity.realms import Realm
from shared.identity.session_proofs import SessionFacts, read_facts

TOUCH_INTERVAL = timedelta(minutes=1)
MAX_AGENT_LENGTH = 300


@dataclass(frozen=True, slots=True)
class LiveSession:
    session_id: str
    session_hash: str = field(repr=False)
    subject_id: str
    factors: str
    last_seen_at: datetime
    person: Any = field(repr=False)  # User or Operator, read in the same statement


@dataclass(frozen=True, slots=True)
class Device:
    """A session for the account page."""

    id: str
    agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    current: bool


async def find(session: AsyncSession, realm: Realm, cookie_header: str) -> LiveSession | None:
    """The live session of the cookie. None for an expired, revoked or unknown one, and for a disabled person."""
    token_hash = get_token_hash(realm, cookie_header)
    session_and_person = token_hash and await _get_genuine_session(session, realm, token_hash)
    if not session_and_person:
        return None
    row, person = session_and_person
    return LiveSession(
        session_id=row.id,
        session_hash=row.token_hash,
        subject_id=person.id,
        factors=row.factors,
        last_seen_at=row.last_seen_at,
        person=person,
    )


def get_token_hash(realm: Realm, cookie_header: str) -> str:
    """Of the session that the cookies claim; "" where they claim none."""
    token = cookies.get_cookie_value(cookie_header, realm.session_cookie)
    return crypto.hash_token(token) if token else ""


async def is_live(session: AsyncSession, realm: Realm, session_hash: str) -> bool:
    return await _get_genuine_session(session, realm, session_hash) is not None


async def _get_genuine_session(
    session: AsyncSession, realm: Realm, session_hash: str
) -> tuple[Any, Any] | None:
    """The live session and its person."""
    session_and_person = await repository.get_live_session(session, realm, session_hash)
    if session_and_person is None:
        return None
    row, _ = session_and_person
    return session_and_person if await is_genuine(realm, read_facts(realm, row), row.proof) else None


async def is_genuine(realm: Realm, facts: SessionFacts, proof: str) -> bool:
    """False for a session without a valid proof, which is recorded as a security event."""
    if session_proofs.is_genuine(realm, facts, proof):
        return True
    await session_proofs.record_forgery(realm, facts.owner_id)
    return False


async def require_live(session: AsyncSession, realm: Realm, subject_id: str, session_hash: str) -> None:
    """Check the session under a lock, before changing how the person signs in. Raises NotSignedIn.

    The lock excludes concurrent account recovery, which would end this session.
    """
    await repository.lock_person_shared(session, realm, subject_id)
    if not await is_live(session, realm, session_hash):
        raise NotSignedIn


async def touch(session: AsyncSession, realm: Realm, live_session: LiveSession) -> None:
    """Extend the idle timeout, at most once a minute. For short transactions."""
    if is_touch_due(live_session.last_seen_at):
        await touch_by_hash(session, realm, live_session.session_hash)


def is_touch_due(last_seen_at: datetime) -> bool:
    return last_seen_at < now() - TOUCH_INTERVAL


async def touch_by_hash(session: AsyncSession, realm: Realm, session_hash: str) -> None:
    """Extend the idle timeout, unless another transaction has in the last minute."""
    await repository.touch_session(session, realm, session_hash, TOUCH_INTERVAL)


async def start(
    session: AsyncSession,
    realm: Realm,
    subject_id: str,
    factors: str = "password",
    address: str = "",
    agent: str = "",
    replaced_hash: str = "",
) -> str:
    """Create a session and return its token for the cookie. Ends the session with `replaced_hash`."""
    if replaced_hash:
        await end(session, realm, replaced_hash)
    token, started_at = crypto.new_token(), now()
    row = realm.session(
        **realm.owner_values(subject_id),
        token_hash=crypto.hash_token(token),
        idle_expires_at=started_at + realm.idle_timeout,
        expires_at=started_at + realm.absolute_timeout,
        address=address[:64],
        agent="".join(character for character in agent[:MAX_AGENT_LENGTH] if character.isprintable()),
        factors=factors,
    )
    row.proof = session_proofs.compute_proof(realm, row)
    await repository.add_session(session, realm, row)
    return token


async def end(session: AsyncSession, realm: Realm, session_hash: str) -> None:
    """End a session. Its open pages reload and redirect to sign-in."""
    if await repository.delete_session(session, realm, session_hash):
        await live_events.end_session(session, session_hash)


async def end_all(session: AsyncSession, realm: Realm, subject_id: str, except_hash: str = "") -> int:
    """End all sessions of a person except one. Returns their number."""
    ended_hashes = await repository.delete_sessions(session, realm, subject_id, except_hash)
    for session_hash in ended_hashes:
        await live_events.end_session(session, session_hash)
    return len(ended_hashes)


async def end_by_id(session: AsyncSession, realm: Realm, subject_id: str, session_id: str) -> str:
    """End one session of this person. Returns its hash, "" when it is unknown or foreign."""
    session_hash = await repository.delete_session_by_id(session, realm, subject_id, session_id)
    if session_hash:
        await live_events.end_session(session, session_hash)
    return session_hash


async def list_sessions(session: AsyncSession, realm: Realm, current_hash: str) -> Sequence[Device]:
    """Live sessions of the person whose session has this hash, most recently used first."""
    return [
        Device(row.id, row.agent, row.address, row.created_at, row.last_seen_at, row.is_current)
        for row in await repository.list_live_sessions(session, realm, current_hash)
    ]


def set_cookie(response: Response, realm: Realm, token: str) -> None:
    cookies.put(response, realm.session_cookie, token, realm.absolute_timeout)


def clear_cookie(response: Response, realm: Realm) -> None:
    cookies.clear(response, realm.session_cookie)
