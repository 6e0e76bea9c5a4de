"""Server-side sessions: an opaque token in a cookie, its hash in a table, read anew at every request and event.

`find` only reads: a transaction that holds a session row locked would make the person's other tabs wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto, notices
from shared.core.db import now
from shared.core.errors import NotFound
from shared.identity import repository
from shared.identity.realms import Realm

TOUCH_EVERY = timedelta(minutes=1)
LONGEST_AGENT = 200


@dataclass(frozen=True, slots=True)
class Found:
    session_id: str
    session_hash: str = field(repr=False)
    subject_id: str
    factors: str  # "password" or "password+totp"


def read_cookie(cookies: str, name: str) -> str:
    """Of a Cookie header; "" when it is missing or nonsense."""
    try:
        jar = SimpleCookie(cookies)
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


async def find(session: AsyncSession, realm: Realm, cookies: str) -> Found | None:
    """The live session of this realm's cookie, or None: unknown, idle too long, over, or of a disabled account."""
    token = read_cookie(cookies, realm.cookie)
    if not token:
        return None
    row = await repository.get_session(session, realm, crypto.digest(token), now())
    if row is None:
        return None
    kept, person = row
    return Found(kept.id, kept.token_hash, person.id, kept.factors)


async def touch(session: AsyncSession, realm: Realm, found: Found) -> None:
    """Moves the idle end on, at most once a minute. For short transactions only."""
    moment = now()
    await repository.touch_session(session, realm, found.session_hash, moment + realm.idle, moment - TOUCH_EVERY)


async def start(
    session: AsyncSession, realm: Realm, subject_id: str, *, factors: str, address: str, agent: str, replaces: str = ""
) -> str:
    """A new session; returns the token, which exists nowhere else. `replaces`: hash of the one it takes over from."""
    if replaces:
        await end(session, realm, replaces)
    token, moment = crypto.new_token(), now()
    session.add(
        realm.session(
            **{realm.whose: subject_id},
            token_hash=crypto.digest(token),
            idle_expires_at=moment + realm.idle,
            expires_at=moment + realm.longest,
            address=address[:60],
            agent=agent[:LONGEST_AGENT],
            factors=factors,
        )
    )
    return token


async def end(session: AsyncSession, realm: Realm, session_hash: str) -> None:
    """Deletes the row and closes the sockets that were opened with it."""
    await repository.delete_session(session, realm, session_hash)
    await notices.session(session, session_hash)


async def end_all(session: AsyncSession, realm: Realm, subject_id: str, *, except_hash: str = "") -> int:
    """Every session of a person but one; returns how many ended."""
    others = [one for one in await list_sessions(session, realm, subject_id) if one.token_hash != except_hash]
    for one in others:
        await end(session, realm, one.token_hash)
    return len(others)


async def end_one(session: AsyncSession, realm: Realm, subject_id: str, session_id: str) -> str:
    """One of a person's own sessions; returns its hash. Raises NotFound, also for somebody else's."""
    for one in await list_sessions(session, realm, subject_id):
        if one.id == session_id:
            await end(session, realm, one.token_hash)
            return str(one.token_hash)
    raise NotFound("This session has ended already.", "Reload the page.")


async def list_sessions(session: AsyncSession, realm: Realm, subject_id: str) -> Sequence[Any]:
    """The live ones, last used first."""
    return await repository.list_sessions(session, realm, subject_id)
