"""Server-side sessions: an opaque token in a cookie, its hash in a row. Deleted here means ended everywhere.

A session ends by two clocks, idle and absolute, both checked where the row is read. Signing in and every
elevation make a new row and delete the old one, so that no token survives a change of rights. `find` only reads:
a row held locked for a whole transaction would make the person's other tabs wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import Response

from shared.core import crypto, notices
from shared.core.db import now
from shared.core.errors import NotSignedIn
from shared.identity import cookies, repository
from shared.identity.realms import Realm

SEEN_EVERY = timedelta(minutes=1)
LONGEST_AGENT = 300


@dataclass(frozen=True, slots=True)
class Found:
    session_id: str
    session_hash: str = field(repr=False)
    subject_id: str
    factors: str
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """A session as its owner sees it."""

    id: str
    agent: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    current: bool


async def find(session: AsyncSession, realm: Realm, cookie_header: str) -> Found | None:
    """The live session of this cookie. Expired, revoked, unknown and of a disabled person look the same."""
    token = cookies.read(cookie_header, realm.cookie)
    row = token and await repository.get_live_session(session, realm, crypto.digest(token))
    if not row:
        return None
    return Found(row.id, row.token_hash, repository.owner_of(realm, row), row.factors, row.last_seen_at)


async def is_live(session: AsyncSession, realm: Realm, session_hash: str) -> bool:
    return await repository.get_live_session(session, realm, session_hash) is not None


async def hold(session: AsyncSession, realm: Realm, subject_id: str, session_hash: str) -> None:
    """Before changing how a person gets in. Raises NotSignedIn when the session ended since it was looked at.

    Until the transaction ends, nobody takes the account over; or somebody just has, and the session is gone.
    """
    await repository.hold_person(session, realm, subject_id)
    if not await is_live(session, realm, session_hash):
        raise NotSignedIn


async def touch(session: AsyncSession, realm: Realm, found: Found) -> None:
    """Moves the idle clock, at most once a minute. For short transactions."""
    if found.last_seen_at < now() - SEEN_EVERY:
        await repository.touch_session(session, realm, found.session_id, SEEN_EVERY)


async def start(
    session: AsyncSession,
    realm: Realm,
    subject_id: str,
    factors: str = "password",
    address: str = "",
    agent: str = "",
    replaces: str = "",
) -> str:
    """The token for the cookie. `replaces`: hash of the session that this browser had before; it ends."""
    if replaces:
        await end(session, realm, replaces)
    await repository.delete_expired_sessions(session, realm, subject_id)
    token, moment = crypto.new_token(), now()
    session.add(
        realm.session(
            **realm.of(subject_id),
            token_hash=crypto.digest(token),
            created_at=moment,
            last_seen_at=moment,
            idle_expires_at=moment + realm.idle,
            expires_at=moment + realm.absolute,
            address=address[:64],
            agent="".join(one for one in agent[:LONGEST_AGENT] if one.isprintable()),
            factors=factors,
        )
    )
    await session.flush()
    return token


async def end(session: AsyncSession, realm: Realm, session_hash: str) -> None:
    """Its open pages reload, and find themselves signed out."""
    if await repository.delete_session(session, realm, session_hash):
        await notices.session(session, session_hash)


async def end_all(session: AsyncSession, realm: Realm, subject_id: str, except_hash: str = "") -> int:
    """How many."""
    gone = await repository.delete_sessions(session, realm, subject_id, except_hash)
    for ended in gone:
        await notices.session(session, ended)
    return len(gone)


async def end_device(session: AsyncSession, realm: Realm, subject_id: str, session_id: str) -> str:
    """Ends one of this person's own sessions. Its hash, "" when it was not theirs or is gone."""
    ended = await repository.delete_device(session, realm, subject_id, session_id)
    if ended:
        await notices.session(session, ended)
    return ended


async def list_sessions(
    session: AsyncSession, realm: Realm, subject_id: str, current_hash: str = ""
) -> Sequence[Device]:
    """Live ones, the latest seen first."""
    return [
        Device(
            row.id, row.agent, row.address, row.created_at, row.last_seen_at, row.token_hash == current_hash
        )
        for row in await repository.list_live_sessions(session, realm, subject_id)
    ]


def set_cookie(response: Response, realm: Realm, token: str) -> None:
    cookies.put(response, realm.cookie, token, realm.absolute)


def clear_cookie(response: Response, realm: Realm) -> None:
    cookies.drop(response, realm.cookie)
